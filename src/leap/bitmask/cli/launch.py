"""Starting the daemon in the background, waiting for it, and unlocking accounts in it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import click

from leap.bitmask.cli.passphrase import read_passphrase
from leap.bitmask.control import ControlError, NotRunning, ask
from leap.bitmask.home import Home

START_TIMEOUT = 30.0  # seconds; a cold start on a slow disk takes a few


@dataclass(frozen=True)
class Launch:
    """How to start a daemon; None keeps what the settings say."""

    imap_port: int | None = None
    smtp_port: int | None = None
    autoconfig_port: int | None = None
    tls: bool | None = None
    listen: str | None = None

    def arguments(self, home: Home) -> list[str]:
        arguments = ["--home", str(home.path)]
        if self.imap_port is not None:
            arguments += ["--imap-port", str(self.imap_port)]
        if self.smtp_port is not None:
            arguments += ["--smtp-port", str(self.smtp_port)]
        if self.autoconfig_port is not None:
            arguments += ["--autoconfig-port", str(self.autoconfig_port)]
        if self.tls is not None:
            arguments.append("--tls" if self.tls else "--no-tls")
        if self.listen is not None:
            arguments += ["--listen", self.listen]
        return arguments


async def ensure_daemon(home: Home, launch: Launch | None = None) -> bool:
    """Starts the daemon if none runs; True if it did. Raises ControlError with the daemon's reason."""
    try:
        await ask(home, "ping")
    except NotRunning:
        pass
    else:
        return False
    home.prepare()
    reading, writing = os.pipe()
    command = [sys.executable, "-m", "leap.bitmask", *(launch or Launch()).arguments(home)]
    process = await asyncio.to_thread(
        _detached, [*command, "--ready-fd", str(writing)], home, writing
    )
    os.close(writing)
    try:
        line = await asyncio.wait_for(asyncio.to_thread(_first_line, reading), START_TIMEOUT)
    except TimeoutError as error:
        process.kill()
        raise ControlError(
            "start", f"bitmask did not start within {START_TIMEOUT:.0f} s."
        ) from error
    try:
        said: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise ControlError("start", f"bitmask did not start; {home.log_file} says why.") from error
    if not said.get("ready"):
        raise ControlError(said.get("kind", "start"), said.get("message", "bitmask did not start."))
    process.returncode = 0  # it lives on by design: no warning that it was left running
    return True


def _detached(command: list[str], home: Home, descriptor: int) -> subprocess.Popen[bytes]:
    """A process of its own session, which outlives this command and logs into the home."""
    with home.log_file.open("ab") as log:
        home.log_file.chmod(0o600)
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=(descriptor,),
        )


def _first_line(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        return file.readline()


async def wait_until_gone(home: Home, record: dict[str, Any] | None, timeout: float = 15.0) -> None:
    """Until the daemon which wrote `record` has ended; raises ControlError after `timeout` seconds."""
    if record is None:
        return
    from leap.bitmask.home import Lock

    deadline = asyncio.get_running_loop().time() + timeout
    lock = Lock(home.daemon_lock)
    while not lock.take():  # the daemon holds it until its process ends
        if asyncio.get_running_loop().time() > deadline:
            raise ControlError(
                "stop", f"bitmask (process {record.get('pid')}) did not end in time."
            )
        await asyncio.sleep(0.02)
    lock.release()


async def unlock_each(home: Home, lines: list[str], *, interactive: bool) -> None:
    """Unlocks locked accounts with given lines, or by asking; raises ControlError when a passphrase is wrong."""
    locked = [a["address"] for a in await ask(home, "user-list") if not a["unlocked"]]
    given = dict(pair_lines(lines, locked))
    for address in locked:
        passphrase = given.get(address)
        if passphrase is None and interactive:
            passphrase = read_passphrase(f"Passphrase for {address}")
        if passphrase is not None:
            await ask(home, "user-auth", address=address, passphrase=passphrase)


def pair_lines(lines: list[str], locked: list[str]) -> list[tuple[str, str]]:
    """(address, passphrase) of each line; a bare passphrase is for the only locked account."""
    pairs = []
    for line in filter(None, lines):
        address, colon, passphrase = line.partition(":")
        if colon and address.strip().lower() in locked:
            pairs.append((address.strip().lower(), passphrase))
        elif len(locked) == 1:
            pairs.append((locked[0], line))
        else:
            raise click.UsageError("With several accounts each line must read ADDRESS:PASSPHRASE.")
    return pairs
