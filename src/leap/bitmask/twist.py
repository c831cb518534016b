"""bitmask as a Twisted service: `twist --reactor asyncio leap-mail` is the daemon, under Twisted's care.

It lives here and not in `leap.mail`, because an account with its sync, its way in and its way out is put together here.
The `bitmask` command talks to it as to any daemon: `bitmask user auth`, `bitmask mail settings`, `bitmask stop`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger, LogLevel
from twisted.python.usage import Options as UsageOptions
from twisted.python.usage import UsageError

from leap.bitmask.home import Home, HomeError, Lock, default_home
from leap.bitmask.local_api import CommandRefused
from leap.mail.twisted.bridge import WrongReactor, find_bridge, find_reactor, run

if TYPE_CHECKING:  # `twist --help` and a refusal need not load everything
    from leap.bitmask.daemon import Daemon

logger = logging.getLogger(__name__)


class Options(UsageOptions):
    """What `twist leap-mail` takes."""

    synopsis = "[options]   (needs twist --reactor asyncio, or --reactor uvloop)"
    optParameters = [
        ["home", None, None, "bitmask's folder  [default: $BITMASK_HOME, or the platform's]"],
        ["imap-port", None, None, "port on 127.0.0.1; 0: any  [default: the one used before]", int],
        ["smtp-port", None, None, "port on 127.0.0.1; 0: any  [default: the one used before]", int],
        [
            "passphrases",
            None,
            None,
            "file with a line ADDRESS:PASSPHRASE for each account to unlock, - for standard input; what it does not"
            " name is unlocked by `bitmask user auth`",
        ],
    ]


class BitmaskService(Service):
    """The daemon of one home. `passphrases` are (address, passphrase) of accounts to unlock."""

    def __init__(
        self,
        home: Home,
        *,
        imap_port: int | None = None,
        smtp_port: int | None = None,
        passphrases: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.home = home
        self._ports = (imap_port, smtp_port)
        self._passphrases = list(passphrases)
        self._daemon: Daemon | None = None
        self._work: list[asyncio.Task[None]] = []

    @property
    def addresses(self) -> dict[str, tuple[str, int]]:
        """Where "imap" and "smtp" listen; empty while they do not."""
        return dict(self._daemon.addresses) if self._daemon is not None else {}

    def startService(self) -> Deferred[None]:
        """Begins to serve; accounts are unlocked afterwards. StartFailure says in a sentence why it cannot.

        Before the reactor runs, it is raised; later it is what the Deferred fails with.
        """
        super().startService()  # type: ignore[no-untyped-call]
        loop = find_bridge().loop
        if loop.is_running():
            return run(self._start())
        loop.run_until_complete(self._start())
        return succeed(None)

    def stopService(self) -> Deferred[None]:
        """Says good-bye to mail programs, locks the accounts, and fires when everything is on disk."""
        super().stopService()  # type: ignore[no-untyped-call]
        return run(self._stop())

    async def _start(self) -> None:
        from leap.bitmask.daemon import Daemon, StartFailure

        try:
            async with contextlib.AsyncExitStack() as undoing:
                self.home.prepare()
                lock = Lock(self.home.daemon_lock)
                if not lock.take():
                    raise StartFailure("running", f"A bitmask runs on {self.home.path} already.")
                undoing.callback(lock.release)
                imap_port, smtp_port = self._ports
                daemon = Daemon(self.home, imap_port=imap_port, smtp_port=smtp_port)
                undoing.push_async_callback(daemon.close)
                await daemon.start()
                self._daemon, self._undoing = daemon, undoing.pop_all()
        except (HomeError, OSError) as error:
            raise StartFailure("home", f"bitmask cannot use {self.home.path}: {error}") from error
        for name, (host, port) in daemon.addresses.items():
            logger.info("%s listens on %s port %d", name.upper(), host, port)
        create_task = asyncio.get_running_loop().create_task
        self._work = [create_task(self._unlock(daemon)), create_task(self._watch(daemon))]

    async def _stop(self) -> None:
        if self._daemon is None:
            return
        self._daemon = None
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        await self._undoing.aclose()

    async def _unlock(self, daemon: Daemon) -> None:
        for address, passphrase in self._passphrases:
            try:
                await daemon.sessions.unlock(address, passphrase)
            except CommandRefused as refusal:
                logger.error("%s", refusal)
            else:
                logger.info("%s is unlocked", address)

    async def _watch(self, daemon: Daemon) -> None:
        """`bitmask stop` ends the reactor."""
        await daemon.stopping.wait()
        cast(Any, find_reactor()).stop()


class TwistService(BitmaskService):
    """The same, for a program which has nothing else to do: what keeps it from starting ends it."""

    def startService(self) -> Deferred[None]:
        from leap.bitmask.daemon import StartFailure

        try:
            return super().startService()
        except StartFailure as failure:
            raise SystemExit(f"leap-mail: {failure}") from None


class TwistedHandler(logging.Handler):
    """Puts what Python's logging gets into Twisted's log."""

    def emit(self, record: logging.LogRecord) -> None:
        level = LogLevel.levelWithName(
            {"WARNING": "warn"}.get(record.levelname, record.levelname.lower())
        )
        Logger(namespace=record.name).emit(level, "{text}", text=self.format(record))


def makeService(options: Options) -> BitmaskService:
    """What `twist` runs. Ends the program with a sentence when it cannot."""
    try:
        find_reactor()
    except WrongReactor:
        raise SystemExit(
            "leap-mail runs on asyncio: start it with `twist --reactor asyncio leap-mail`."
        ) from None
    home = Home(Path(options["home"]) if options["home"] else default_home())
    logging.basicConfig(handlers=[TwistedHandler()], level=logging.INFO, format="%(message)s")
    try:
        return TwistService(
            home,
            imap_port=options["imap-port"],
            smtp_port=options["smtp-port"],
            passphrases=read_pairs(home, options["passphrases"]),
        )
    except UsageError as error:
        raise SystemExit(f"leap-mail: {error}") from None


def read_pairs(home: Home, name: str | None) -> list[tuple[str, str]]:
    """(address, passphrase) of the lines of a file. Raises UsageError."""
    if name is None:
        return []
    import click

    from leap.bitmask.cli.launch import pair_lines

    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text()
        return pair_lines(text.splitlines(), home.accounts())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{name} cannot be read: {error}") from error
    except click.UsageError as error:
        raise UsageError(error.message) from error
