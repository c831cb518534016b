"""The folder of an account that is new on this device, and what its store has from the first moment.

Invariant: it appears whole or not at all: it is made under another name and renamed.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from pathlib import Path

from leap.keymanager.keys import KeyManager
from leap.keymanager.openpgp import OpenPGPError, SecretKey
from leap.mail.local import open_mail_store
from leap.soledad.enrol import Enrolled
from leap.soledad.private_file import sync_folder
from leap.soledad.store import Soledad
from leap.soledad.vault import create_vault


async def make_account_folder(
    folder: Path,
    passphrase: str,
    enrolled: Enrolled,
    token: str | None,
    fill: Callable[[Soledad], Awaitable[None]] | None = None,
) -> None:
    """The account's folder with vault and store, complete before it has its name."""
    made = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))  # 0700
    with ExitStack() as undoing:
        undoing.callback(shutil.rmtree, made, ignore_errors=True)
        key = await create_vault(made / "vault.json", passphrase)
        store = await open_mail_store(made / "store.db", key)
        try:
            await store.save_material(enrolled.material.with_token(token))
            if fill is not None:
                await fill(store)
        finally:
            await store.close()
        if folder.exists():  # remains without a vault, of a time before this order was kept
            shutil.rmtree(folder)
        made.rename(folder)
        await asyncio.to_thread(sync_folder, folder.parent)
        undoing.pop_all()


async def give_key(store: Soledad, address: str, key: tuple[SecretKey, str] | None) -> None:
    """The key of a new account: in its store from the first moment, so that no other is made after a crash."""
    manager = KeyManager(store, address)
    try:
        if key is not None:
            await manager.own.add(key[0], source=key[1], use=True)
        else:
            with contextlib.suppress(OpenPGPError):  # made later, by the care for keys
                await manager.own.ensure()
    finally:
        manager.close()
