"""The steps of the demo, each of which must hold, and what is told of them."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from leap.bitmask.control import ask
from leap.bitmask.demo.letters import Letter, Received, read, send
from leap.bitmask.demo.processes import Child, DemoFailure
from leap.bitmask.home import Home
from leap.soledad.private_file import write_private

DOMAIN = "example.test"
PEOPLE = ("alice", "bob")


class Journey:
    """One run of the demo in one folder. `words` goes where people read."""

    def __init__(self, folder: Path, words: Console) -> None:
        self.folder = folder
        self.home = Home(folder / "bitmask")
        self._words = words
        self._kept = folder / "demo.json"
        self.seconds: dict[str, float] = {}
        self.provider: dict[str, Any] = {}
        self.daemon_pid = 0
        self.accounts: list[dict[str, Any]] = []
        self.children: list[Child] = []

    @contextmanager
    def _step(self, name: str, told: str) -> Iterator[None]:
        began = time.perf_counter()
        with self._words.status(f"{told} …"):
            yield
        took = time.perf_counter() - began
        self.seconds[name] = round(took, 3)
        self._words.print(f"[green]✓[/] {told} [dim]({took:.2f} s)[/]")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """The whole journey; on leaving, both processes have ended."""
        try:
            await self._travel()
            yield
        finally:
            await asyncio.gather(*(child.end() for child in reversed(self.children)))

    async def _travel(self) -> None:
        with self._step("provider", "A provider starts; it stores mail that it cannot read"):
            child, self.provider = await Child.start(
                "The provider",
                [
                    "leap.provider.cli",
                    "serve",
                    "--data",
                    str(self.folder / "provider"),
                    "--domain",
                    DOMAIN,
                ],
                self.folder / "provider.log",
            )
            self.children.append(child)
        with self._step("daemon", "bitmask starts on this computer: local IMAP and SMTP"):
            child, said = await Child.start(
                "bitmask",
                [
                    "leap.bitmask",
                    "--home",
                    str(self.home.path),
                    "--imap-port",
                    "0",
                    "--smtp-port",
                    "0",
                ],
                self.folder / "bitmask.log",
            )
            self.children.append(child)
            self.daemon_pid = said["pid"]
        for person in PEOPLE:
            with self._step(
                f"account {person}", f"{person} has an account, with keys made on this computer"
            ):
                self.accounts.append(await self._account(f"{person}@{DOMAIN}"))
        alice, bob = self.accounts
        secret = f"the treasure is under the old oak, {secrets.token_hex(8)}"
        first = await self._carry(
            alice,
            bob,
            Letter(alice["address"], bob["address"], "A map", f"Dear bob,\n\n{secret}.\n\nalice\n"),
        )
        await self._carry(
            bob,
            alice,
            Letter(
                bob["address"],
                alice["address"],
                "Re: A map",
                f"Dear alice,\n\n> {secret}\n\nFound!\n",
                answers=first,
            ),
        )
        with self._step("provider searched", "The provider's files hold no word of it"):
            if found := await asyncio.to_thread(
                _files_with, self.folder / "provider", secret.encode()
            ):
                raise DemoFailure(f"The provider's {found} holds the text of the mail.")

    async def _account(self, address: str) -> dict[str, Any]:
        """Signs up, or unlocks what an earlier run left here."""
        kept = self._read_kept()
        if address in self.home.accounts() and address in kept:
            passphrase = kept[address]["passphrase"]
            made = await ask(self.home, "user-auth", address=address, passphrase=passphrase)
        else:
            passphrase = "-".join(secrets.token_hex(2) for _ in range(5))
            made = await ask(
                self.home,
                "user-create",
                address=address,
                passphrase=passphrase,
                api=self.provider["api"],
                ca=Path(self.provider["ca"]).read_text(),
                device_name="demo",
            )
            kept[address] = {"passphrase": passphrase, "recovery_code": made["recovery_code"]}
            write_private(self._kept, json.dumps(kept, indent=1).encode())
        return {
            "address": address,
            "passphrase": passphrase,
            "fingerprint": made["fingerprint"],
            "imap": made["imap"],
            "smtp": made["smtp"],
        }

    def _read_kept(self) -> dict[str, Any]:
        try:
            kept = json.loads(self._kept.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as error:
            raise DemoFailure(
                f"{self._kept} is damaged; remove {self.folder}, or mend it."
            ) from error
        return kept if isinstance(kept, dict) else {}

    async def _carry(
        self, sender: dict[str, Any], recipient: dict[str, Any], letter: Letter
    ) -> str:
        """Answers its Message-ID."""
        names = [account["address"].partition("@")[0] for account in (sender, recipient)]
        told = f"{names[0]}'s mail program sends “{letter.subject}”; {names[1]}'s shows it"
        with self._step(f"{names[0]} to {names[1]}", told):
            message_id = await asyncio.to_thread(send, letter, sender["smtp"])
            received = await asyncio.to_thread(read, message_id, recipient["imap"])
            _check(letter, received)
        assert received is not None
        self._words.print(f"  [dim]X-Leap-Encryption: {received.encryption}[/]")
        self._words.print(f"  [dim]X-Leap-Signature: {received.signature}[/]")
        return message_id

    def report(self) -> dict[str, Any]:
        """The line that `--json` prints."""
        names = ("api", "ca", "data", "pid", "mx", "submission")
        return {
            "provider": {name: self.provider[name] for name in names},
            "daemon": {"home": str(self.home.path), "pid": self.daemon_pid},
            "accounts": self.accounts,
            "seconds": self.seconds,
        }

    def invitation(self) -> None:
        """Tells how to point a mail program at the accounts."""
        table = Table(title="Point your mail program here (no TLS: it never leaves this computer)")
        for column in ("", "host", "port", "user", "password"):
            table.add_column(column)
        for account in self.accounts:
            for protocol in ("imap", "smtp"):
                s = account[protocol]
                row = (protocol.upper(), s["host"], str(s["port"]), s["user"], s["password"])
                table.add_row(*row)
        self._words.print(table)


def _check(letter: Letter, received: Received | None) -> None:
    if received is None:
        raise DemoFailure(f"“{letter.subject}” did not arrive.")
    if received.text.replace("\r\n", "\n").strip() != letter.text.strip():
        raise DemoFailure(f"“{letter.subject}” arrived with another text.")
    if received.subject != letter.subject:
        raise DemoFailure(f"“{letter.subject}” arrived with another subject.")
    if not received.encryption.startswith("decrypted"):
        raise DemoFailure(
            f"“{letter.subject}” was not encrypted end to end: {received.encryption!r}."
        )
    if not received.signature.startswith("valid"):
        raise DemoFailure(f"“{letter.subject}” has no valid signature: {received.signature!r}.")


def _files_with(folder: Path, needle: bytes) -> Path | None:
    for path in folder.rglob("*"):
        if path.is_file() and needle in path.read_bytes():
            return path
    return None
