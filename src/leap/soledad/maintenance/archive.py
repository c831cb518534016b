"""The file of an export: one stream of records, sealed under a passphrase in chunks that cannot be moved or cut off.

    0       magic     "leap.soledad export" 0x0a
    20      format    0x01
    21..32  costs     time, memory in KiB, lanes of Argon2id: 4 octets each, big-endian
    33..64  salt      32 random octets
    65..80  check     16 octets from the key: tells a wrong passphrase from a damaged file
    81..    chunks    AES-256-GCM of 64 KiB of the stream each, the last one of what is left (at least one octet)

The stream is records, each with its length (4 octets) before it; a record is MessagePack of a tagged array.

Invariants:
* key = HKDF-SHA256(Argon2id(passphrase, salt), label), the check likewise under a label of its own: every file has its
  own salt, thereby its own key.
* nonce = 3 zeros ‖ chunk number (8 octets) ‖ last (1), as in STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015):
  no chunk can be moved, repeated, left out or cut off. The first 81 octets are authenticated with every chunk.
* Costs below the floor or above the ceiling are refused before anything is computed.
* A file appears under its name whole and durable (0600), or not at all.
* Nothing but `NotAnExport` and `WrongKey` comes from bytes of a file.
Functions block: callers run them in threads.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import struct
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from leap.soledad.envelope import TAG_SIZE, RandomBytes, derive_key
from leap.soledad.errors import SoledadError, WrongKey
from leap.soledad.private_file import sync_folder
from leap.soledad.vault import (
    LANES,
    MAX_LANES,
    MAX_MEMORY_KIB,
    MAX_TIME_COST,
    MEMORY_KIB,
    MIN_MEMORY_KIB,
    MIN_TIME_COST,
    TIME_COST,
)

MAGIC = b"leap.soledad export\n"
FORMAT = 1
HEADER = struct.Struct(f">{len(MAGIC)}sBIII32s16s")
CHUNK = 64 * 1024
MAX_RECORD = 32 * 1024 * 1024  # a document with all its conflicts; pieces of blobs are far smaller
_LABEL, _CHECK = b"leap.soledad export 1", b"leap.soledad export check 1"
SALT_SIZE, CHECK_SIZE = 32, 16
_LENGTH = struct.Struct(">I")


class NotAnExport(SoledadError):
    """The file is not an export, or not as it was written: cut short, altered, or of a newer format."""


class ArchiveWriter:
    """Writes a new file; `finish` makes it appear, `discard` (always call it) removes what was not finished."""

    def __init__(
        self,
        path: Path,
        passphrase: str,
        *,
        random_bytes: RandomBytes = secrets.token_bytes,
        costs: tuple[int, int, int] = (TIME_COST, MEMORY_KIB, LANES),
    ) -> None:
        """Raises SoledadError if there is such a file already or it cannot be made, WrongKey without a passphrase."""
        if not passphrase:
            raise WrongKey("the passphrase of an export is empty")
        if path.exists():
            raise SoledadError(f"{path} is there already; choose another name")
        self._path = path
        self._new: Path | None = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        salt = random_bytes(SALT_SIZE)
        self._cipher, check = _derived(passphrase, costs, salt)
        self._header = HEADER.pack(MAGIC, FORMAT, *costs, salt, check)
        try:
            self._descriptor = os.open(
                self._new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
            )
        except OSError as error:
            raise SoledadError(f"{path} cannot be written: {error.strerror}") from error
        self._waiting = bytearray()
        self._number = 0
        self.octets = 0
        self._write(self._header)

    def add(self, record: Any) -> None:
        """Appends one record."""
        data = msgspec.msgpack.encode(record)
        if len(data) > MAX_RECORD:
            raise SoledadError("a record is too large for an export")
        self._waiting += _LENGTH.pack(len(data)) + data
        # One octet stays: which chunk is the last one is known only at the end.
        while len(self._waiting) > CHUNK:
            self._seal(bytes(self._waiting[:CHUNK]), last=False)
            del self._waiting[:CHUNK]

    def finish(self) -> int:
        """Seals the last chunk, makes the file durable and gives it its name; answers its octets."""
        assert self._new is not None
        self._seal(bytes(self._waiting), last=True)
        os.fsync(self._descriptor)
        try:
            os.link(self._new, self._path)  # unlike a rename, it replaces nothing
        except FileExistsError:
            raise SoledadError(f"{self._path} is there already; choose another name") from None
        except OSError:  # a file system without links
            self._new.rename(self._path)
        else:
            self._new.unlink()
        self._new = None
        sync_folder(self._path.parent)
        return self.octets

    def discard(self) -> None:
        """Closes the file, and removes it unless it was finished."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        if self._new is not None:
            self._new.unlink(missing_ok=True)
            self._new = None

    def _seal(self, chunk: bytes, *, last: bool) -> None:
        self._write(self._cipher.encrypt(_nonce(self._number, last), chunk, self._header))
        self._number += 1

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except OSError as error:
                raise SoledadError(f"the export cannot be written: {error.strerror}") from error
        self.octets += len(data)


class ArchiveReader:
    """Reads a file; `records` may be called several times, and each time all of it is verified again."""

    def __init__(self, path: Path, passphrase: str) -> None:
        """Raises NotAnExport, WrongKey. CPU: a quarter of a second for Argon2id."""
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise NotAnExport(f"{path} cannot be read: {error.strerror}") from error
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(self.close)
            self._header = os.pread(self._descriptor, HEADER.size, 0)
            if len(self._header) < HEADER.size or not self._header.startswith(MAGIC):
                raise NotAnExport(f"{path} is not an export of a store")
            _, number, *costs, salt, check = HEADER.unpack(self._header)
            if number != FORMAT:
                raise NotAnExport(
                    f"{path.name} was written by a newer version of the program (format {number})"
                )
            time_cost, memory_kib, lanes = costs
            if not (
                MIN_TIME_COST <= time_cost <= MAX_TIME_COST
                and MIN_MEMORY_KIB <= memory_kib <= MAX_MEMORY_KIB
                and 1 <= lanes <= MAX_LANES
            ):
                raise NotAnExport(
                    f"{path.name} asks for key derivation outside the permitted range"
                )
            self._cipher, right = _derived(passphrase, (time_cost, memory_kib, lanes), salt)
            if not hmac.compare_digest(check, right):
                raise WrongKey(f"the passphrase does not open {path.name}")
            on_failure.pop_all()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def records(self, kind: Any) -> Iterator[Any]:
        """Every record, decoded as `kind`; raises NotAnExport where the file is not as it was written."""
        decoder = msgspec.msgpack.Decoder(kind)
        waiting = bytearray()
        for chunk in self._chunks():
            waiting += chunk
            start = 0
            while len(waiting) - start >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(waiting, start)
                if length > MAX_RECORD:
                    raise NotAnExport("the export holds a record that is too large")
                end = start + _LENGTH.size + length
                if end > len(waiting):
                    break
                try:
                    record = decoder.decode(memoryview(waiting)[start + _LENGTH.size : end])
                except (msgspec.MsgspecError, ValueError, RecursionError):
                    raise NotAnExport("the export holds a record that cannot be read") from None
                yield record
                start = end
            del waiting[:start]
        if waiting:
            raise NotAnExport("the export ends within a record")

    def _chunks(self) -> Iterator[bytes]:
        offset, number = HEADER.size, 0
        size = os.fstat(self._descriptor).st_size
        while True:
            data = os.pread(self._descriptor, CHUNK + TAG_SIZE, offset)
            offset += len(data)
            last = offset >= size
            try:
                yield self._cipher.decrypt(_nonce(number, last), data, self._header)
            except (InvalidTag, ValueError):
                raise NotAnExport(
                    "the export is damaged: it was altered, or cut short; nothing more is taken from it"
                ) from None
            if last:
                return
            number += 1


def _nonce(number: int, last: bool) -> bytes:
    return bytes(3) + number.to_bytes(8, "big") + bytes((last,))


def _derived(passphrase: str, costs: tuple[int, int, int], salt: bytes) -> tuple[AESGCM, bytes]:
    """The cipher of a file, and the check in its header."""
    time_cost, memory_kib, lanes = costs
    typed = unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogateescape")
    stretched = Argon2id(
        salt=salt, length=32, iterations=time_cost, lanes=lanes, memory_cost=memory_kib
    ).derive(typed)
    cipher = AESGCM(derive_key(stretched, b"", _LABEL))
    return cipher, derive_key(stretched, b"", _CHECK, CHECK_SIZE)
