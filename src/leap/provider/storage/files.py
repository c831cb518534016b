"""Large sealed bytes as files: `DIR/<two hex digits>/<name>`, written so that a crash leaves all or nothing.

Invariants:
* A name that exists holds all its bytes, and is on the disk when `write` or `Upload.keep` returned:
  the file is synced, then renamed, then its folder is synced.
* Each file gets a fresh random name and is never written twice, so removing one never hits another.
* A file counts only when a row of the database names it; one without a row is an orphan of a crash.
* Files are 0600, folders 0700. Half-written files lie in `DIR/incoming` and go at the next start; those of uploads
  which may be resumed lie in `DIR/partial`, and go when nobody went on with them for a day.
All functions block; callers run them in a thread. They raise OSError as the system does.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Collection
from pathlib import Path

from leap.soledad.private_file import sync_folder

_NAME = re.compile(r"^[0-9a-f]{32}$")
_KEY = re.compile(r"^[0-9]{1,19}-[0-9a-f]{32}$")
_HASH_PIECE = 1024 * 1024


class FileStore:
    """A folder of immutable files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._incoming = folder / "incoming"
        self._partial = folder / "partial"
        for path in (folder, self._incoming, self._partial):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        for left_over in self._incoming.iterdir():
            left_over.unlink()

    def path_of(self, name: str) -> Path:
        """Where the file of this name is."""
        if not _NAME.match(name):
            raise ValueError("not a name of a stored file")
        return self.folder / name[:2] / name

    def write(self, data: bytes) -> str:
        """Stores `data` durably and answers the name it got."""
        upload = self.begin()
        try:
            upload.write(data)
            return upload.keep()
        finally:
            upload.discard()

    def read(self, name: str) -> bytes:
        """All bytes of a file."""
        return self.path_of(name).read_bytes()

    def remove(self, name: str) -> None:
        """Forgets a file; one that is not there is forgotten already."""
        self.path_of(name).unlink(missing_ok=True)

    def begin(self) -> Upload:
        """Begins a file whose bytes come piece by piece."""
        return Upload(self.folder, self._incoming / secrets.token_hex(16))

    def resume(self, key: str) -> Upload:
        """Goes on with the file begun under this key, or begins it; what is there is hashed again."""
        return Upload(self.folder, self._partial / _checked_key(key), lasting=True)

    def partial_size(self, key: str) -> int:
        """How many bytes have come under this key."""
        try:
            return (self._partial / _checked_key(key)).stat().st_size
        except FileNotFoundError:
            return 0

    def remove_partial(self, key: str) -> None:
        """Forgets what came under this key."""
        (self._partial / _checked_key(key)).unlink(missing_ok=True)

    def partials(self) -> list[tuple[str, float]]:
        """Keys of uploads that were begun, and when each was last written."""
        return [(entry.name, entry.stat().st_mtime) for entry in os.scandir(self._partial)]

    def names(self, older_than: float) -> list[str]:
        """Names of files last written before the time `older_than`, in no order."""
        found = []
        for folder in self.folder.glob("[0-9a-f][0-9a-f]"):
            for entry in os.scandir(folder):
                if _NAME.match(entry.name) and entry.stat().st_mtime < older_than:
                    found.append(entry.name)
        return found

    def remove_orphans(self, names: Collection[str], in_use: Collection[str]) -> int:
        """Removes those of `names` which are not `in_use`; how many.

        `in_use` must have been read after `names`, or a file just stored would count as an orphan.
        """
        orphans = set(names) - set(in_use)
        for name in orphans:
            self.remove(name)
        return len(orphans)


class Upload:
    """One file on its way in; `discard` must follow in any case and spares what `keep` kept.

    A `lasting` one is there still after `discard`, for another to go on with.
    """

    def __init__(self, folder: Path, path: Path, *, lasting: bool = False) -> None:
        self._folder = folder
        self._name = secrets.token_hex(16)
        self._path: Path | None = path
        self._lasting = lasting
        flags = os.O_RDWR | os.O_APPEND if lasting else os.O_WRONLY | os.O_EXCL
        self._file = os.open(path, flags | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._hash = hashlib.sha256()
        self.size = 0
        if lasting:
            while piece := os.pread(self._file, _HASH_PIECE, self.size):
                self._hash.update(piece)
                self.size += len(piece)

    @property
    def sha256(self) -> bytes:
        """The hash of what was written so far."""
        return self._hash.digest()

    def write(self, data: bytes) -> None:
        """Appends `data`."""
        self._hash.update(data)
        self.size += len(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._file, view) :]

    def keep(self) -> str:
        """Makes the file durable and answers its name."""
        if self._path is None:
            raise ValueError("this upload has ended")
        os.fsync(self._file)
        target = self._folder / self._name[:2] / self._name
        try:
            self._path.rename(target)
        except FileNotFoundError:
            target.parent.mkdir(mode=0o700, exist_ok=True)
            sync_folder(self._folder)
            self._path.rename(target)
        self._path = None
        sync_folder(target.parent)
        return self._name

    def discard(self) -> None:
        """Closes the file and, unless it was kept, removes it."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self._path is not None and not self._lasting:
            self._path.unlink(missing_ok=True)
        self._path = None


def _checked_key(key: str) -> str:
    if not _KEY.match(key):
        raise ValueError("not the key of an upload")
    return key
