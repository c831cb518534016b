"""How a program comes to an account: through the daemon that holds its store, or by opening the store itself."""

from __future__ import annotations

import os
from pathlib import Path

from leap.mail.contract import AccountBackend, AccountUnavailable
from leap.mail.daemon_record import find_daemon


def default_home() -> Path:
    """$BITMASK_HOME, or the platform's folder for application data."""
    if given := os.environ.get("BITMASK_HOME"):
        return Path(given)
    import platformdirs

    return Path(platformdirs.user_data_dir("bitmask", appauthor=False))


async def open_backend(address: str, home: Path | None, passphrase: str | None) -> AccountBackend:
    """The account, from the running daemon if it has it, else from the store. Raises AccountUnavailable."""
    folder = (home or default_home()).expanduser().absolute()
    name = address.strip().lower()
    if not name or "/" in name or "\0" in name or name in (".", ".."):
        raise AccountUnavailable(f"{address!r} is not a mail address.")
    refused: AccountUnavailable | None = None
    try:
        found = await _ask_daemon(folder, name)
    except AccountUnavailable as error:
        found, refused = None, error
    if found is not None:
        return found
    if not (folder / "accounts" / name / "vault.json").is_file():
        raise AccountUnavailable(
            f"{name} is not set up here; use `bitmask user create` or `bitmask user auth`."
        )
    if passphrase is None:
        raise refused or AccountUnavailable(
            "No bitmask daemon runs: start it with `bitmask start`, or give the passphrase."
        )
    return await _open_store(folder / "accounts" / name, name, passphrase)


async def _ask_daemon(folder: Path, address: str) -> AccountBackend | None:
    """The account at the daemon of this home; None when no daemon runs."""
    from leap.mail.remote import RemoteAccount

    record = find_daemon(folder)
    if record is None:
        return None
    return await RemoteAccount.connect(Path(record["accounts"]), record["token"], address)


async def _open_store(folder: Path, address: str, passphrase: str) -> AccountBackend:
    from leap.mail.local import OwnedAccount
    from leap.soledad.errors import SoledadError, StoreLocked
    from leap.soledad.vault import open_vault

    try:
        key = await open_vault(folder / "vault.json", passphrase)
        return await OwnedAccount.open_path(folder / "store.db", key, address)
    except StoreLocked as error:
        raise AccountUnavailable(
            "Another program holds this account's store; use it through the daemon, or end it."
        ) from error
    except SoledadError as error:
        raise AccountUnavailable(f"{address} cannot be opened: {error}.") from error
