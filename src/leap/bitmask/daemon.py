"""The bitmask daemon: local IMAP and SMTP servers for all accounts of a home, and what keeps them going.

One process a home, held by a lock. It starts without any account unlocked, and serves each account
from the moment its passphrase is given.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import errno
import json
import logging
import os
import secrets
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import uvloop

from leap.bitmask.commands import Commands
from leap.bitmask.home import Home, HomeError, Lock
from leap.bitmask.local_api import CommandRefused, LocalApi
from leap.bitmask.sessions import AccountSessions
from leap.keymanager.openpgp import offload
from leap.mail.contract import AccountBackend
from leap.mail.imap.transport import ImapServer, serve_imap
from leap.mail.outgoing.gateway import gateway_handler
from leap.mail.rpc import AccountServer, serve_accounts
from leap.mail.smtp.contract import SmtpConfig
from leap.mail.smtp.transport import SmtpServer, serve_smtp
from leap.soledad.private_file import write_private
from leap.soledad.wire import MAX_MESSAGE_BYTES

logger = logging.getLogger(__name__)

LOOPBACK = "127.0.0.1"
DEFAULT_PORTS = {"imap": 1984, "smtp": 2013}  # those of the original Bitmask, which people know


class StartFailure(Exception):
    """The daemon cannot start; `kind` is a word for programs."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Daemon:
    """Everything that runs in the process, started and ended in one place."""

    def __init__(
        self, home: Home, *, imap_port: int | None = None, smtp_port: int | None = None
    ) -> None:
        self.home = home
        self.sessions = AccountSessions(home)
        self.stopping = asyncio.Event()
        self._asked_ports = {"imap": imap_port, "smtp": smtp_port}
        self.addresses: dict[str, tuple[str, int]] = {}
        self._imap: ImapServer | None = None
        self._smtp: SmtpServer | None = None
        self._accounts: AccountServer | None = None
        self._api: LocalApi | None = None

    async def start(self) -> None:
        """Listens everywhere, then writes daemon.json. Raises StartFailure."""
        ports = self._ports()
        self._imap = await self._listen("imap", ports)
        self._smtp = await self._listen("smtp", ports)
        settings = self.home.settings()
        ports_now = {name: port for name, (_, port) in self.addresses.items()}
        if settings.get("ports") != ports_now:
            self.home.save_settings({**settings, "ports": ports_now})
        token = secrets.token_urlsafe(32)
        runtime = self.home.runtime_folder()
        self._accounts = await serve_accounts(runtime / "accounts.sock", token, self._find)
        self._api = LocalApi(runtime / "control.sock", token, Commands(self).table())
        await self._api.start()
        record = {
            "pid": os.getpid(),
            "control": str(self._api.path),
            "accounts": str(runtime / "accounts.sock"),
            "token": token,
        }
        write_private(self.home.daemon_file, json.dumps(record).encode())

    async def close(self) -> None:
        """Ends servers first, so that nothing new is accepted, then the accounts."""
        self.home.daemon_file.unlink(missing_ok=True)
        for server in (self._api, self._imap, self._smtp, self._accounts):
            if server is not None:
                await server.close()
        await self.sessions.close()
        await offload.close()

    def _find(self, address: str) -> AccountBackend | None:
        session = self.sessions.find(address)
        return session.account if session is not None else None

    async def _listen(self, name: str, ports: dict[str, list[int]]) -> Any:
        for port in ports[name]:
            try:
                server = await (
                    self._serve_imap(port) if name == "imap" else self._serve_smtp(port)
                )
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
                if port == ports[name][-1]:
                    word = (
                        "in use by another program"
                        if error.errno == errno.EADDRINUSE
                        else "not allowed"
                    )
                    raise StartFailure(
                        "port-in-use",
                        f"Port {port} for {name.upper()} is {word}; free it, or choose another with "
                        f"`bitmask start --{name}-port N` (0: any).",
                    ) from error
            else:
                self.addresses[name] = _host_and_port(server.address)
                return server
        raise AssertionError("there is always a port to try")

    def _ports(self) -> dict[str, list[int]]:
        """The ports to try, in order: what was asked, else what was kept, else the usual one or any."""
        kept = self.home.settings().get("ports", {})
        ports = {}
        for name, usual in DEFAULT_PORTS.items():
            asked = self._asked_ports[name]
            if asked == 0 and name in kept:
                ports[name] = [kept[name], 0]
            elif asked is not None:
                ports[name] = [asked]
            elif name in kept:
                ports[name] = [kept[name]]
            else:
                ports[name] = [usual, 0]
        return ports

    async def _serve_imap(self, port: int) -> ImapServer:
        return await serve_imap(self.sessions.authenticate, host=LOOPBACK, port=port)

    async def _serve_smtp(self, port: int) -> SmtpServer:
        config = SmtpConfig(
            hostname="localhost", max_size=MAX_MESSAGE_BYTES, auth="required", auth_needs_tls=False
        )
        return await serve_smtp(lambda: gateway_handler(self.sessions), config, LOOPBACK, port)


def _host_and_port(address: str | tuple[str, int]) -> tuple[str, int]:
    assert not isinstance(address, str), "these servers listen on TCP"
    return address[0], address[1]


async def _run(home: Home, options: argparse.Namespace, passphrases: Sequence[str]) -> int:
    loop = asyncio.get_running_loop()
    daemon = Daemon(home, imap_port=options.imap_port, smtp_port=options.smtp_port)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.stopping.set)
    try:
        try:
            await daemon.start()
        except StartFailure as failure:
            return _say(
                options.ready_fd, {"ready": False, "kind": failure.kind, "message": str(failure)}
            )
        except OSError as error:
            full = error.errno == errno.ENOSPC
            return _say(
                options.ready_fd,
                {
                    "ready": False,
                    "kind": "storage-full" if full else "home",
                    "message": f"The disk of {home.path} is full; free some space, then start again."
                    if full
                    else f"bitmask cannot use {home.path}: {error.strerror}.",
                },
            )
        for address, passphrase in _pairs(home, passphrases):
            try:
                await daemon.sessions.unlock(address, passphrase)
            except CommandRefused as refusal:
                print(f"bitmask: {refusal}", file=sys.stderr)
        _say(options.ready_fd, {"ready": True, "pid": os.getpid()})
        await daemon.stopping.wait()
    finally:
        await daemon.close()
    return 0


def _pairs(home: Home, lines: Sequence[str]) -> list[tuple[str, str]]:
    from leap.bitmask.cli.launch import pair_lines

    return pair_lines(list(lines), home.accounts()) if lines else []


def _say(descriptor: int | None, message: dict[str, Any]) -> int:
    """Tells whoever started us, once; answers the exit code."""
    if descriptor is not None:
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps(message).encode() + b"\n")
    elif message["ready"]:
        print("bitmask is ready.", flush=True)
    if not message["ready"]:
        print(f"bitmask: {message['message']}", file=sys.stderr, flush=True)
        return 7 if message["kind"] == "port-in-use" else 1
    return 0


def _give_memory_back() -> None:
    """Asks glibc for few arenas: with one for each thread, a large mail's memory would never be given back.

    The thresholds are a compromise: memory that is given back at once has to be cleared by the system when it is asked
    for again, which took a third of the time of opening a mail of some megabytes.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(-8, 2)  # M_ARENA_MAX
        libc.mallopt(-1, 16 * 1024 * 1024)  # M_TRIM_THRESHOLD, octets at the top of the heap
        libc.mallopt(
            -3, 8 * 1024 * 1024
        )  # M_MMAP_THRESHOLD: what is larger goes back when it is freed


def main(arguments: Sequence[str] | None = None, passphrases: Sequence[str] = ()) -> int:
    """Runs the daemon until SIGTERM, SIGINT or `bitmask stop`; answers the exit code."""
    parser = argparse.ArgumentParser(prog="bitmask-daemon")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--imap-port", type=int)
    parser.add_argument("--smtp-port", type=int)
    parser.add_argument("--ready-fd", type=int)
    options, _ = parser.parse_known_args(arguments)
    _give_memory_back()
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.INFO
    )
    home = Home(options.home)
    lock = Lock(home.daemon_lock)
    try:
        home.prepare()
        taken = lock.take()
    except (HomeError, OSError) as error:
        return _say(options.ready_fd, {"ready": False, "kind": "home", "message": str(error)})
    if not taken:
        return _say(
            options.ready_fd,
            {
                "ready": False,
                "kind": "running",
                "message": f"A bitmask runs on {home.path} already.",
            },
        )
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_run(home, options, passphrases))
    finally:
        lock.release()
