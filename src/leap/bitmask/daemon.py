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
from leap.bitmask.local_servers import LocalServers, ServerOptions
from leap.bitmask.local_servers import StartFailure as StartFailure
from leap.bitmask.sessions import AccountSessions
from leap.keymanager.openpgp import offload
from leap.mail.contract import AccountBackend
from leap.mail.rpc import AccountServer, serve_accounts
from leap.soledad.private_file import write_private

logger = logging.getLogger(__name__)


class Daemon:
    """Everything that runs in the process, started and ended in one place."""

    def __init__(
        self,
        home: Home,
        *,
        imap_port: int | None = None,
        smtp_port: int | None = None,
        autoconfig_port: int | None = None,
        tls: bool | None = None,
        listen: str | None = None,
    ) -> None:
        options = ServerOptions(imap_port, smtp_port, autoconfig_port, tls, listen)
        self.home = home
        self.sessions = AccountSessions(home)
        self.stopping = asyncio.Event()
        self.servers = LocalServers(home, self.sessions, options)
        self._accounts: AccountServer | None = None
        self._api: LocalApi | None = None

    @property
    def addresses(self) -> dict[str, tuple[str, int]]:
        """Host and port of "imap" and "smtp"."""
        return {name: self.servers.addresses[name] for name in ("imap", "smtp")}

    async def start(self) -> None:
        """Listens everywhere, then writes daemon.json. Raises StartFailure."""
        runtime = self.home.runtime_folder()
        await self.servers.start(runtime)
        token = secrets.token_urlsafe(32)
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
        for server in (self._api, self.servers, self._accounts):
            if server is not None:
                await server.close()
        await self.sessions.close()
        await offload.close()

    def _find(self, address: str) -> AccountBackend | None:
        session = self.sessions.find(address)
        return session.account if session is not None else None


async def _run(home: Home, options: argparse.Namespace, passphrases: Sequence[str]) -> int:
    loop = asyncio.get_running_loop()
    daemon = Daemon(
        home,
        imap_port=options.imap_port,
        smtp_port=options.smtp_port,
        autoconfig_port=options.autoconfig_port,
        tls=options.tls,
        listen=options.listen,
    )
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
    parser.add_argument("--autoconfig-port", type=int)
    parser.add_argument("--tls", action=argparse.BooleanOptionalAction)
    parser.add_argument("--listen")
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
