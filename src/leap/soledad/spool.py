"""A spool: sealed records in files beside the store, for what is promised now and written into the database soon.

    0      format  0x01
    1..32  salt    32 random octets
    33..   records, each: length (4 octets, big-endian), AES-256-GCM of the record, 16 octets of tag at its end

A file is called by the number of its first record (16 hex digits); those behind it count up from there.

Invariants:
* key = HKDF-SHA256(key of the spool, salt, label and number of the first record), used for one file; nonce = the
  place of the record in the file. So no two seals share key and nonce, and no record can be moved or repeated.
* A file is never written again by another process: what a crash cut off at its end stays the end.
* A record is whole in the file (of the system, not yet of the disk) before `append` returns, as a COMMIT in WAL with
  NORMAL is: it outlives a kill, but the last ones may be missing after a loss of power.
* Nothing is plaintext. Files are 0600, the folder 0700.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from leap.soledad.blobs.files import disk_errors
from leap.soledad.envelope import SALT_SIZE, TAG_SIZE, RandomBytes, derive_key, with_lengths

FORMAT = 1
FILE_OCTETS = 16 * 1024 * 1024  # after which the next records go into another file
_HEADER_SIZE = 1 + SALT_SIZE
_LABEL = b"leap.soledad spool 1"
_NAME = re.compile(r"^[0-9a-f]{16}$")

_log = logging.getLogger(__name__)


class Record(NamedTuple):
    """A record as it was read."""

    number: int
    body: bytes

    def __repr__(self) -> str:
        return f"Record({self.number})"


class Spool:
    """The writing side; its methods block, and belong to one thread at a time."""

    def __init__(
        self, folder: Path, key: bytes, following: int, random_bytes: RandomBytes = os.urandom
    ) -> None:
        """`following`: the number of the next record, larger than any which was used before."""
        self._folder = folder
        self._key = key
        self._random_bytes = random_bytes
        self._following = following
        self._files: dict[Path, int] = {}  # with the number of the last record of each
        self._file: _File | None = None

    def append(self, bodies: Sequence[bytes]) -> int:
        """Writes records, all or none; answers the number of the first one. Raises StoreFull, SoledadError."""
        file = self._file
        if file is None or file.size >= FILE_OCTETS:
            self._let_go()
            with disk_errors():
                file = self._file = self._begin()
        first = self._following
        try:
            with disk_errors():
                file.append(bodies)
        except BaseException:
            self._let_go()  # whatever lies at its end, nothing is to come behind it
            if file.path not in self._files:  # the next one has the same name
                file.path.unlink(missing_ok=True)
            raise
        self._following += len(bodies)
        self._files[file.path] = self._following - 1
        return first

    def release_with(self, earlier: Sequence[Path], number: int) -> None:
        """Files of an earlier process, which go when all up to this number is released."""
        self._files.update(dict.fromkeys(earlier, number))

    def release(self, number: int) -> None:
        """Removes files which hold nothing above this number, but not the one that is written to until it is large."""
        current = self._file
        if current is not None and current.size >= FILE_OCTETS:
            self._let_go()
            current = None
        for path, last in list(self._files.items()):
            if last <= number and (current is None or path != current.path):
                path.unlink(missing_ok=True)
                del self._files[path]

    def close(self, number: int) -> None:
        """Writes no more, and removes all files which hold nothing above this number."""
        self._let_go()
        self.release(number)

    def _begin(self) -> _File:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _File(self._folder, self._key, self._following, self._random_bytes(SALT_SIZE))

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class _File:
    """One file being written."""

    def __init__(self, folder: Path, key: bytes, first: int, salt: bytes) -> None:
        self.path = folder / f"{first:016x}"
        self._header = bytes((FORMAT,)) + salt
        self._cipher = _cipher(key, self._header, first)
        self._count = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._descriptor = os.open(self.path, flags, 0o600)
        self.size = 0
        try:
            self._write(self._header)
        except BaseException:
            self.close()
            self.path.unlink(missing_ok=True)
            raise

    def append(self, bodies: Sequence[bytes]) -> None:
        pieces: list[bytes] = []
        for place, body in enumerate(bodies, self._count):
            sealed = self._cipher.encrypt(_nonce(place), body, self._header)
            pieces += (len(sealed).to_bytes(4, "big"), sealed)
        self._write(b"".join(pieces))
        self._count += len(bodies)

    def _write(self, data: bytes) -> None:
        """All of it; what is cut short is taken back."""
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            raise
        self.size += len(data)

    def close(self) -> None:
        os.close(self._descriptor)


def load(folder: Path, key: bytes, above: int) -> list[Record]:
    """The records above this number, of all files in their order; a file is read up to where it is whole."""
    return [
        record
        for path in files(folder)
        for record in _read(path, int(path.name, 16), key)
        if record.number > above
    ]


def files(folder: Path) -> list[Path]:
    """The files of a spool, in the order in which they were written; each is called by its first number, in hex."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if _NAME.match(path.name))


def _read(path: Path, first: int, key: bytes) -> Iterator[Record]:
    data = path.read_bytes()
    header = data[:_HEADER_SIZE]
    if len(header) < _HEADER_SIZE or header[0] != FORMAT:
        if data:
            _log.warning("a file of the spool has no beginning that this version knows")
        return
    cipher = _cipher(key, header, first)
    at, place = _HEADER_SIZE, 0
    while at + 4 <= len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data) or end - at < 4 + TAG_SIZE:
            break
        try:
            body = cipher.decrypt(_nonce(place), data[at + 4 : end], header)
        except InvalidTag:
            break
        yield Record(first + place, body)
        at, place = end, place + 1
    if at < len(data):
        _log.warning("the last %d octets of a file of the spool are no record", len(data) - at)


def _cipher(key: bytes, header: bytes, first: int) -> AESGCM:
    info = with_lengths(_LABEL, first.to_bytes(8, "big"))
    return AESGCM(derive_key(key, header[1:], info))


def _nonce(place: int) -> bytes:
    return place.to_bytes(12, "big")
