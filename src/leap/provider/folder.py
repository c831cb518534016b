"""The provider's folder: checked, made private, and what must be the same after a restart.

`DIR/provider.json` holds the domain and the ports last used, so that programs pointed at this provider
still find it. Nothing in it is secret.

Invariants:
* A folder with other things in it is never taken over, nor are its permissions changed.
* A folder serves one domain for ever.
Functions here block; they are called before serving.
"""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from leap.soledad.private_file import write_private

STATE_FILE = "provider.json"
_VERSION = 1
# what a first start that was interrupted may have left
_OURS = re.compile(
    r"^(?:\.?provider\.json\.[0-9a-f]+(?:\.new)?|provider\.sqlite.*|blobs|tls|dkim|lost\+found)$"
)


class BadFolder(Exception):
    """The folder cannot be used; the text says why."""


class FolderState(msgspec.Struct, kw_only=True):
    """What `provider.json` says; ports by name ("api", "mx", "submission")."""

    version: int = _VERSION
    domain: str
    ports: dict[str, int] = {}


def prepare_folder(folder: Path, domain: str) -> FolderState:
    """Makes or checks the folder and reads its state. Raises BadFolder."""
    state_file = folder / STATE_FILE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not state_file.exists():
            if not all(_OURS.match(path.name) for path in folder.iterdir()):
                raise BadFolder(f"{folder} is not empty and is not the folder of a provider")
            folder.chmod(0o700)
            state = FolderState(domain=domain)
            save_state(folder, state)
            return state
        folder.chmod(0o700)
        state = load_state(folder)
    except FileExistsError:
        raise BadFolder(f"{folder} is a file, not a folder") from None
    except OSError as error:
        raise BadFolder(f"cannot use {folder}: {error.strerror}") from None
    if state.domain != domain:
        raise BadFolder(f"{folder} is the folder of {state.domain}, not of {domain}")
    return state


def load_state(folder: Path) -> FolderState:
    """What a provider's folder says of itself. Raises BadFolder, OSError."""
    state_file = folder / STATE_FILE
    try:
        state = msgspec.json.decode(state_file.read_bytes(), type=FolderState)
    except FileNotFoundError:
        raise BadFolder(f"{folder} is not the folder of a provider") from None
    except (msgspec.MsgspecError, ValueError):
        raise BadFolder(f"{state_file} is damaged") from None
    if state.version != _VERSION:
        raise BadFolder(f"{folder} was written by another version of leap-provider")
    return state


def save_state(folder: Path, state: FolderState) -> None:
    """Replaces `provider.json` in one step. Raises OSError."""
    write_private(folder / STATE_FILE, msgspec.json.encode(state) + b"\n")
