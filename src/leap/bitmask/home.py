"""Where bitmask keeps its things on disk.

Layout of a home (all 0700 or 0600):
    settings.json              ports, chosen once and then kept
    daemon.json                pid, sockets and token, while a daemon runs
    accounts/ADDRESS/vault.json  the store's key, wrapped by the passphrase
    accounts/ADDRESS/vault.json.next  the same under a new passphrase, while a change of it is under way
    accounts/ADDRESS/store.db    everything else, encrypted (SQLCipher); folders beside it: sealed blobs, the spool
    accounts/ADDRESS/lock        held by whoever has the store open
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

from leap.soledad.private_file import write_private

_ADDRESS = re.compile(
    r"^[a-z0-9](?:[a-z0-9._+-]{0,62}[a-z0-9])?@[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$"
)


class HomeError(Exception):
    """Something about the home directory prevents the work; the text says what and what to do."""


def normal_address(text: str) -> str:
    """The address in the one form used for accounts (lower case); raises HomeError if it is none."""
    address = text.strip().lower()
    if not _ADDRESS.match(address) or ".." in address:
        raise HomeError(f"{text!r} is not a mail address of the form name@domain.")
    return address


def default_home() -> Path:
    """$BITMASK_HOME, or the platform's folder for application data."""
    if given := os.environ.get("BITMASK_HOME"):
        return Path(given)
    import platformdirs

    return Path(platformdirs.user_data_dir("bitmask", appauthor=False))


class Home:
    """One home directory; made when missing, with access for its owner only."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()

    def prepare(self) -> None:
        """Makes the folders; raises HomeError when that cannot be."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.path / "accounts").mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise HomeError(
                f"Cannot use {self.path} as bitmask's home: {error.strerror}."
            ) from error
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise HomeError(f"Cannot write to bitmask's home {self.path}.")

    @property
    def settings_file(self) -> Path:
        return self.path / "settings.json"

    @property
    def daemon_file(self) -> Path:
        return self.path / "daemon.json"

    @property
    def daemon_lock(self) -> Path:
        return self.path / "daemon.lock"

    @property
    def log_file(self) -> Path:
        return self.path / "bitmask.log"

    def account(self, address: str) -> Path:
        return self.path / "accounts" / normal_address(address)

    def vault(self, address: str) -> Path:
        return self.account(address) / "vault.json"

    def store(self, address: str) -> Path:
        return self.account(address) / "store.db"

    def accounts(self) -> list[str]:
        """Addresses that have a vault here, sorted."""
        folder = self.path / "accounts"
        if not folder.is_dir():
            return []
        return sorted(entry.name for entry in folder.iterdir() if (entry / "vault.json").is_file())

    def settings(self) -> dict[str, Any]:
        """What was kept in settings.json; raises HomeError if the file is damaged."""
        try:
            found = json.loads(self.settings_file.read_bytes())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise HomeError(
                f"{self.settings_file} cannot be read ({error}); mend or remove it."
            ) from error
        if not isinstance(found, dict):
            raise HomeError(f"{self.settings_file} is not a JSON object; mend or remove it.")
        return found

    def save_settings(self, settings: dict[str, Any]) -> None:
        write_private(self.settings_file, json.dumps(settings, indent=1).encode() + b"\n")

    def runtime_folder(self) -> Path:
        """A folder for unix sockets whose path is short enough (sun_path holds 108 bytes)."""
        if len(os.fsencode(self.path)) <= 80:
            return self.path
        return Path(tempfile.mkdtemp(prefix="bitmask-"))  # 0700


class Lock:
    """An exclusive lock on a file, given back when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def take(self) -> bool:
        """False if another process holds it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
