"""The octets of one mail on their way in: in memory at first, in a sealed file when there are many.

Invariants:
* `append` and `discard` do no IO; `spill` and `read` may, and run in a thread.
* What cannot be written makes the body `broken`, never shorter.
* The file goes with the body, whoever held it last.
"""

from __future__ import annotations

import io
from pathlib import Path

from leap.soledad.sealed_file import CHUNK, SealedFile

IN_MEMORY = 1024 * 1024  # octets; the mails of a usual day never reach the disk


class Body:
    """One mail's octets. `folder` is where the file is made, the system's temporary one by default."""

    def __init__(self, folder: Path | None = None, in_memory: int = IN_MEMORY) -> None:
        self._folder = folder
        self._in_memory = in_memory
        self._pieces: list[bytes] = []
        self._file: SealedFile | None = None
        self._dropped = False
        self.held = 0  # octets in memory
        self.spilled = 0  # octets in the file
        self.broken = False

    def __len__(self) -> int:
        return self.spilled + self.held

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
        """Forgets everything in memory, and all that will be appended."""
        self._dropped = True
        self._pieces.clear()
        self.held = 0

    def spill(self) -> None:
        """Writes whole chunks from memory into the file. Blocks."""
        data = memoryview(b"".join(self._pieces))
        whole = len(data) - len(data) % CHUNK
        try:
            if self._file is None:
                self._file = SealedFile(self._folder)
            for start in range(0, whole, CHUNK):
                self._file.write(data[start : start + CHUNK])
        except OSError:
            self.broken = True
            self._pieces.clear()
            self.held = 0
            return
        self._pieces = [bytes(data[whole:])]
        self.held = len(data) - whole
        self.spilled += whole

    def read(self) -> bytes:
        """The whole mail. Blocks when there is a file; raises OSError when that is damaged."""
        if self._file is None:
            if len(self._pieces) != 1:
                self._pieces = [b"".join(self._pieces)]
            return self._pieces[0]
        whole = io.BytesIO()  # gives up its buffer without a copy
        for chunk in self._file.chunks():
            whole.write(chunk)
        for piece in self._pieces:
            whole.write(piece)
        return whole.getvalue()

    def close(self) -> None:
        """Forgets everything. Not while `spill` or `read` runs: who gives a body up then lets go of it."""
        self.discard()
        self._file = None
        self.spilled = 0
