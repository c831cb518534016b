"""Accounts on a real store, for the tests under trial and for the programs."""

from __future__ import annotations

from pathlib import Path

from leap.mail.local import OwnedAccount, open_mail_store
from leap.soledad.vault import create_vault

ALICE = "alice@example.test"
PASSPHRASE = "correct horse battery"
RAW = b"From: Bob <bob@example.test>\r\nTo: alice@example.test\r\nSubject: Nests\r\n\r\nThree herons.\r\n"


async def make_home(home: Path) -> Path:
    """A home of bitmask with alice's account in it, which has no provider."""
    folder = home / "accounts" / ALICE
    folder.mkdir(parents=True)
    key = await create_vault(folder / "vault.json", PASSPHRASE)
    async with await open_mail_store(folder / "store.db", key):
        pass
    return home


async def open_store(folder: Path) -> OwnedAccount:
    """Alice's account on a new store, without the time that a passphrase takes."""
    folder.mkdir()
    return await OwnedAccount.open_path(folder / "store.db", bytes(32), ALICE)
