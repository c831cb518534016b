"""A file without a name for octets that are in clear in memory only: sealed as they are written, gone with the process.

    file  = chunk...
    chunk = AES-256-GCM(key, nonce = number of the chunk in 12 octets, plaintext of `CHUNK` octets)

The key is 32 random octets, drawn for one file, kept in memory only and forgotten with it: no nonce is used
twice, and who finds the file's blocks later finds noise. How many chunks there are is known here, not read
from the file, so that none can be missing, moved or of another file without `chunks` failing.

Everything here blocks on the disk.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

CHUNK = 256 * 1024  # octets, a tenth of a millisecond of AES
_TAG = 16


class SealedFile:
    """`folder` is where the file is made, the system's temporary folder by default. Raises OSError."""

    def __init__(self, folder: Path | None = None) -> None:
        self._key: AESGCM | None = AESGCM(AESGCM.generate_key(256))
        self._written = 0
        self._file: int | None = None
        self._file = _nameless_file(folder)

    def write(self, chunk: bytes | memoryview) -> None:
        """Adds `CHUNK` octets. Raises OSError; then the file is as long as before."""
        assert self._file is not None
        assert self._key is not None
        assert len(chunk) == CHUNK
        sealed = memoryview(self._key.encrypt(_nonce(self._written), chunk, None))
        at = self._written * (CHUNK + _TAG)
        while sealed:
            done = os.pwrite(self._file, sealed, at)
            sealed = sealed[done:]
            at += done
        self._written += 1

    def chunks(self) -> Iterator[bytes]:
        """What was written. Raises OSError, also when the file is not as it was left."""
        assert self._file is not None
        assert self._key is not None
        for number in range(self._written):
            sealed = os.pread(self._file, CHUNK + _TAG, number * (CHUNK + _TAG))
            try:
                yield self._key.decrypt(_nonce(number), sealed, None)
            except InvalidTag:
                raise OSError("a temporary file was damaged") from None

    def close(self) -> None:
        """Gives the file back and forgets the key."""
        file, self._file, self._key = self._file, None, None
        self._written = 0
        if file is not None:
            os.close(file)

    def __del__(self) -> None:
        self.close()


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _nameless_file(folder: Path | None) -> int:
    where = tempfile.gettempdir() if folder is None else str(folder)
    if hasattr(os, "O_TMPFILE"):
        try:
            return os.open(where, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
        except OSError:
            pass  # a file system without it, or a folder that mkstemp will complain of
    file, name = tempfile.mkstemp(prefix=".sealed-", dir=where)  # 0600
    os.unlink(name)
    return file
