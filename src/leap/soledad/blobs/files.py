"""The folder of sealed blobs that are files: `<two digits>/<blob id>`, and `incoming/` for what is not complete.

Invariants:
* A file under its blob's id is complete and on the disk: it is synced, then renamed, then its folder is synced.
* Nothing here is plaintext. Files are 0600, folders 0700.
* In `incoming/`, `<blob id>.part` is a download that goes on later, `<random>.seal` is lost when its process ends.
All functions block; a full disk raises StoreFull.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from leap.soledad.errors import SoledadError, StoreFull
from leap.soledad.private_file import sync_folder

PIECE = 1024 * 1024  # read and hashed at a time
_NAME = re.compile(r"^[0-9a-f]{32}$")
_FOLDER = re.compile(r"^[0-9a-f]{2}$")
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class BlobFiles:
    """The blob folder of one store; it is made when the first file is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._incoming = folder / "incoming"

    def path(self, blob_id: str) -> Path:
        """Where the file of this blob is, or would be."""
        if not _NAME.match(blob_id):
            raise ValueError("not a blob id")
        return self.folder / blob_id[:2] / blob_id

    def part(self, blob_id: str) -> Path:
        """Where a download of this blob gathers."""
        if not _NAME.match(blob_id):
            raise ValueError("not a blob id")
        return self._incoming / f"{blob_id}.part"

    def create(self) -> Path:
        """A new empty file for a blob that is being sealed."""
        path = self._incoming / f"{secrets.token_hex(16)}.seal"
        with disk_errors():
            self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        return path

    def open_part(self, blob_id: str) -> BinaryIO:
        """The download of this blob, to be gone on with at its end."""
        path = self.part(blob_id)
        with disk_errors():
            self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            return os.fdopen(descriptor, "r+b", buffering=0)

    def write(self, blob_id: str, sealed: bytes) -> None:
        """A file in one step."""
        path = self.create()
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(path.unlink, missing_ok=True)
            with disk_errors(), path.open("wb") as file:
                file.write(sealed)
                file.flush()
                os.fsync(file.fileno())
            self.adopt(path, blob_id)
            on_failure.pop_all()

    def adopt(self, path: Path, blob_id: str) -> None:
        """Gives a complete and synced file its blob's name. Doing it twice is harmless."""
        target = self.path(blob_id)
        with disk_errors():
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                path.replace(target)
            except FileNotFoundError:
                if not target.exists():
                    raise SoledadError("a blob's file is gone; seal it again") from None
            sync_folder(target.parent)

    def remove(self, blob_id: str) -> None:
        """Forgets a file; one that is not there is forgotten already."""
        self.path(blob_id).unlink(missing_ok=True)

    def names(self, older_than: float) -> list[str]:
        """The blobs that have a file, last written before this time."""
        found: list[str] = []
        for folder in self._folders():
            with os.scandir(folder) as entries:
                for entry in entries:
                    with contextlib.suppress(FileNotFoundError):
                        if _NAME.match(entry.name) and entry.stat().st_mtime < older_than:
                            found.append(entry.name)
        return found

    def sweep(self, kept: Collection[str], wanted: Callable[[str], bool]) -> None:
        """Removes all files but those of `kept`, and downloads that are not `wanted`; only where nothing is written."""
        for folder in self._folders():
            for file in folder.iterdir():
                if file.name not in kept and _NAME.match(file.name.removesuffix(".part")):
                    file.unlink(missing_ok=True)
        if self._incoming.is_dir():
            for file in self._incoming.iterdir():
                if file.suffix != ".part" or not wanted(file.stem):
                    file.unlink(missing_ok=True)

    def sweep_incoming(self, older_than: float) -> None:
        """Removes what nobody wrote to since this time."""
        if self._incoming.is_dir():
            for file in self._incoming.iterdir():
                with contextlib.suppress(FileNotFoundError):
                    if file.stat().st_mtime < older_than:
                        file.unlink()

    def free(self) -> int:
        """How many octets the file system has left."""
        folder = self.folder if self.folder.is_dir() else self.folder.parent
        found = os.statvfs(folder)
        return found.f_bavail * found.f_frsize

    def _folders(self) -> Iterator[Path]:
        if self.folder.is_dir():
            for folder in self.folder.iterdir():
                if _FOLDER.match(folder.name) and folder.is_dir():
                    yield folder


def hash_file(path: Path) -> str:
    """The SHA-256 (hex) of a file, read piece by piece."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()


@contextlib.contextmanager
def disk_errors() -> Iterator[None]:
    """Turns what the disk says into this package's errors."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFull("the disk is full; nothing was changed") from error
        raise SoledadError(
            f"the disk failed while the store was in use: {error.strerror}"
        ) from error
