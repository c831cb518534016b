"""The octets of one mail on their way in: in memory at first, in an encrypted file when there are many.

    file    = chunk...                     made without a name (0600), so that it goes with the process
    chunk   = AES-256-GCM(key, nonce = number of the chunk in 12 octets, 256 KiB of the mail)

The key is 32 random octets, drawn for one body, kept in memory only and forgotten with it: no nonce is used
twice, and who finds the file's blocks later finds noise. How many chunks there are is known here, not read
from the file, so that none can be missing, moved or of another mail without `read` failing.

Invariants:
* `append` and `discard` do no IO; `spill`, `read` and `close` may, and run in a thread.
* What cannot be written makes the body `broken`, never shorter.
"""

from __future__ import annotations

import io
import os
import tempfile
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

IN_MEMORY = 1024 * 1024  # octets; the mails of a usual day never reach the disk
CHUNK = 256 * 1024  # octets, a tenth of a millisecond of AES
_TAG = 16


class Body:
    """One mail's octets. `folder` is where the file is made, the system's temporary one by default."""

    def __init__(self, folder: Path | None = None, in_memory: int = IN_MEMORY) -> None:
        self._folder = folder
        self._in_memory = in_memory
        self._pieces: list[bytes] = []
        self._spilled = 0  # octets in the file
        self._chunks = 0
        self._file: int | None = None
        self._key: AESGCM | None = None
        self._dropped = False
        self.held = 0  # octets in memory
        self.broken = False

    def __len__(self) -> int:
        return self._spilled + self.held

    @property
    def spilled(self) -> int:
        """Octets in the file."""
        return self._spilled

    @property
    def is_heavy(self) -> bool:
        """Whether so much is in memory that `spill` is due."""
        return self.held > self._in_memory

    def append(self, piece: bytes) -> None:
        """Takes the next octets; they cost nothing once the body is broken or was discarded."""
        if piece and not self.broken and not self._dropped:
            self._pieces.append(piece)
            self.held += len(piece)

    def discard(self) -> None:
        """Forgets everything that was and will be appended."""
        self._dropped = True
        self._pieces.clear()
        self.held = 0

    def spill(self) -> None:
        """Writes whole chunks from memory into the file. Blocks."""
        data = memoryview(b"".join(self._pieces))
        whole = len(data) - len(data) % CHUNK
        try:
            if self._file is None:
                self._file = _nameless_file(self._folder)
                self._key = AESGCM(AESGCM.generate_key(256))
            for start in range(0, whole, CHUNK):
                self._write(data[start : start + CHUNK])
        except OSError:
            self.broken = True
            self._pieces.clear()
            self.held = 0
            return
        self._pieces = [bytes(data[whole:])]
        self.held = len(data) - whole

    def _write(self, chunk: memoryview) -> None:
        assert self._file is not None
        assert self._key is not None
        sealed = memoryview(self._key.encrypt(_nonce(self._chunks), chunk, None))
        at = self._chunks * (CHUNK + _TAG)
        while sealed:
            written = os.pwrite(self._file, sealed, at)
            sealed = sealed[written:]
            at += written
        self._chunks += 1
        self._spilled += CHUNK

    def read(self) -> bytes:
        """The whole mail. Blocks when there is a file; raises OSError or InvalidTag when that is damaged."""
        if self._file is None or self._key is None:
            if len(self._pieces) != 1:
                self._pieces = [b"".join(self._pieces)]
            return self._pieces[0]
        whole = io.BytesIO()  # gives up its buffer without a copy
        for number in range(self._chunks):
            sealed = os.pread(self._file, CHUNK + _TAG, number * (CHUNK + _TAG))
            whole.write(self._key.decrypt(_nonce(number), sealed, None))
        for piece in self._pieces:
            whole.write(piece)
        return whole.getvalue()

    def close(self) -> None:
        """Gives the file back and forgets the key."""
        self.discard()
        file, self._file, self._key = self._file, None, None
        self._spilled = self._chunks = 0
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
            pass  # a file system without it
    file, name = tempfile.mkstemp(prefix=".mail-", dir=where)  # 0600
    os.unlink(name)
    return file
