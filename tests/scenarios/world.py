"""A provider and bitmask daemons as real processes, for the scenario tests, the kill tests and the soak runs."""

from __future__ import annotations

import asyncio
import imaplib
import json
import os
import signal
import smtplib
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from leap.bitmask.control import ask
from leap.bitmask.home import Home

DOMAIN = "example.test"
READY_TIMEOUT = 60.0
PASSPHRASES = {
    "alice": "correct horse battery",
    "bob": "staple under the oak",
    "carol": "third of the three",
    "dave": "fourth behind the hill",
}


class StartFailed(Exception):
    """The process ended, or said it cannot start."""


class Process:
    """A child that says one JSON line when it is ready."""

    def __init__(self, arguments: list[str], log: Path, stdin: bytes | None = None) -> None:
        self.arguments = arguments
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.said: dict[str, Any] = {}

    def start(self) -> dict[str, Any]:
        reading, writing = os.pipe()
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    *self.arguments,
                    "--ready-fd",
                    str(writing),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(writing,),
            )
        os.close(writing)
        with os.fdopen(reading, "rb") as file:
            line = file.readline()
        try:
            self.said = json.loads(line)
        except ValueError:
            raise StartFailed(self.log.read_text(errors="replace")[-2000:]) from None
        if self.said.get("ready") is False:
            self._process.wait(10)
            raise StartFailed(self.said["message"])
        return self.said

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int:
        """SIGTERM; answers the exit code. Fails if it takes over ten seconds."""
        if self._process is None:
            return 0
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        return self._process.wait(10)


class Device:
    """One bitmask home with its daemon."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.home = Home(world.folder / name)
        self.process = Process(
            [
                "leap.bitmask",
                "--home",
                str(self.home.path),
                "--imap-port",
                "0",
                "--smtp-port",
                "0",
            ],
            world.folder / f"{name}.log",
        )
        self.logins: dict[str, dict[str, Any]] = {}

    def start(self) -> None:
        self.process.start()

    def restart(self) -> None:
        """Starts again after a kill, and unlocks what was there."""
        self.process.start()
        for person in self.logins:
            self.unlock(person)

    def ask(self, command: str, **arguments: Any) -> Any:
        return asyncio.run(ask(self.home, command, **arguments))

    def create(self, person: str) -> dict[str, Any]:
        return self._log_in("user-create", person)

    def auth(self, person: str) -> dict[str, Any]:
        return self._log_in("user-auth", person)

    def unlock(self, person: str) -> dict[str, Any]:
        address = f"{person}@{self.world.domain}"
        self.logins[person] = self.ask("user-auth", address=address, passphrase=PASSPHRASES[person])
        return self.logins[person]

    def _log_in(self, command: str, person: str) -> dict[str, Any]:
        provider = self.world.provider.said
        self.logins[person] = self.ask(
            command,
            address=f"{person}@{self.world.domain}",
            passphrase=PASSPHRASES[person],
            api=provider["api"],
            ca=Path(provider["ca"]).read_text(),
            device_name=self.name,
        )
        return self.logins[person]

    @contextmanager
    def imap(self, person: str, timeout: float = 60.0) -> Iterator[imaplib.IMAP4]:
        server = self.logins[person]["imap"]
        imaplib._MAXLINE = 100_000_000  # type: ignore[attr-defined]
        imap = imaplib.IMAP4(server["host"], server["port"], timeout=timeout)
        try:
            imap.login(server["user"], server["password"])
            yield imap
        finally:
            imap.shutdown()

    @contextmanager
    def smtp(self, person: str, timeout: float = 60.0) -> Iterator[smtplib.SMTP]:
        server = self.logins[person]["smtp"]
        smtp = smtplib.SMTP(server["host"], server["port"], timeout=timeout)
        try:
            smtp.login(server["user"], server["password"])
            yield smtp
        finally:
            smtp.close()

    def messages(self, person: str, mailbox: str = "INBOX") -> dict[int, bytes]:
        """uid -> the octets served, of a whole mailbox."""
        with self.imap(person) as imap:
            typ, _ = imap.select(f'"{mailbox}"', readonly=True)
            assert typ == "OK"
            _, data = imap.uid("FETCH", "1:*", "(UID BODY.PEEK[])")
            return fetched(data)

    def wait_for(self, person: str, count: int, timeout: float = 120.0) -> dict[int, bytes]:
        """The INBOX once it holds `count` messages; fails when it does not in time."""
        deadline = time.monotonic() + timeout
        with self.imap(person) as imap:
            while time.monotonic() < deadline:
                _, data = imap.select("INBOX", readonly=True)
                if int(data[0] or b"0") >= count:
                    break
                time.sleep(0.1)
            else:
                raise AssertionError(
                    f"{int(data[0] or b'0')} of {count} mails arrived in {timeout:.0f} s"
                )
        return self.messages(person)


class World:
    """One provider and any number of devices in one folder."""

    def __init__(self, folder: Path, domain: str = DOMAIN, arguments: tuple[str, ...] = ()) -> None:
        self.folder = folder
        self.domain = domain
        self.provider = Process(
            [
                "leap.provider.cli",
                "serve",
                "--data",
                str(folder / "provider"),
                "--domain",
                domain,
                *arguments,
            ],
            folder / "provider.log",
        )
        self.devices: list[Device] = []

    def device(self, name: str) -> Device:
        device = Device(self, name)
        self.devices.append(device)
        device.start()
        return device

    def close(self) -> None:
        for process in [*(device.process for device in self.devices), self.provider]:
            if process.alive:
                process.stop()

    def logs(self) -> str:
        return "\n".join(path.read_text(errors="replace") for path in self.folder.glob("*.log"))


@contextmanager
def world(folder: Path, domain: str = DOMAIN, arguments: tuple[str, ...] = ()) -> Iterator[World]:
    """A world with its provider running; on leaving, every process has ended in an orderly way."""
    made = World(folder, domain, arguments)
    try:
        made.provider.start()
        yield made
    finally:
        made.close()


def append(imap: imaplib.IMAP4, mailbox: str, raw: bytes) -> tuple[str, list[Any]]:
    """APPEND of exactly these octets; imaplib's own would change bare CRs."""
    imap.literal = raw  # type: ignore[attr-defined]
    return imap._simple_command("APPEND", mailbox)  # type: ignore[attr-defined,no-any-return]


def fetched(data: list[Any]) -> dict[int, bytes]:
    """uid -> literal, from imaplib's answer to a UID FETCH of one body item."""
    found = {}
    for part in data:
        if isinstance(part, tuple):
            words = part[0].replace(b"(", b" ").split()
            found[int(words[words.index(b"UID") + 1])] = part[1]
    return found
