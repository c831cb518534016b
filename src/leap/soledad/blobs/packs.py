"""Packs: files in which small sealed blobs lie one behind the other, beside the encrypted database.

What lies here is sealed already; within the database it would be enciphered and authenticated a second time, page by
page, for each read and each write.

Invariants:
* Nothing here is plaintext: a blob's key lies in the encrypted database. Files are 0600, the folder 0700.
* Only the writer thread writes, and only behind everything that was written before: no octet a row names changes.
* A row is committed after its octets were handed to the system, so a killed process loses nothing. Before a durable
  COMMIT they are synced to the disk.
* After a loss of power, octets may be missing of rows that were not followed by a durable COMMIT. `find_lost` names
  those when the store is opened: whatever lies behind the mark, which says how far everything was synced.
* A pack goes when no row names it, and those that were moved out of it are durable elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from leap.soledad.blobs.files import disk_errors
from leap.soledad.private_file import sync_folder
from leap.soledad.sqlite import Connection

PACK_BYTES = 64 * 1024 * 1024  # then a new one begins; thousands of mails, and copied in a second
MOVED_BYTES = 2 * 1024 * 1024  # in one transaction: the writer is busy for some milliseconds
OPEN_FILES = 32  # for reading
READ_BYTES = 1024 * 1024  # in one go
GAP = 8 * 1024  # octets that are read for nothing rather than that the system is asked once more
_MOST_BUFFERS = 512  # in one call; IOV_MAX is 1,024
_NAME = re.compile(r"^[0-9]{8}$")

_LAST = "SELECT pack, place + length FROM blob WHERE pack IS NOT NULL ORDER BY pack DESC, place DESC LIMIT 1"
_BEHIND = (
    "SELECT blob_id, sha256, pack, place, length FROM blob WHERE pack IS NOT NULL AND (pack, place) >= (?, ?)"
    " ORDER BY pack, place"
)
_USED = "SELECT pack, sum(length) FROM blob WHERE pack IS NOT NULL GROUP BY pack"
_OF_PACK = "SELECT blob_id, place, length FROM blob WHERE pack = ? ORDER BY place LIMIT ?"
_MARK = "soledad.packs.synced"

K = TypeVar("K", bound=Hashable)


class Placed(NamedTuple):
    """Where sealed bytes lie: the number of a pack, and the first octet in it."""

    pack: int
    place: int
    length: int


class _OpenPack:
    """A pack that is read: closed when nobody holds it any more, not before."""

    def __init__(self, path: Path) -> None:
        """Raises FileNotFoundError."""
        self.descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "descriptor"):
            os.close(self.descriptor)


class Packs:
    """The packs of one store. `read` may be called in any thread, the rest by the writer's jobs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._current = 1
        self._end = 0
        self._writing: BinaryIO | None = None
        self._unsynced = False
        self.thinned = True  # whether blobs may have gone since `find_sparse` looked
        self._lock = threading.Lock()
        self._reading: OrderedDict[int, _OpenPack] = OrderedDict()

    # -- opening ------------------------------------------------------------------------------

    def begin(self, connection: Connection) -> None:
        """Finds where to go on, and removes packs that no row names."""
        found = connection.execute(_LAST).fetchone()
        self._current, self._end = (1, 0) if found is None else found
        used = {pack for (pack,) in _distinct(connection)}
        for number in self._numbers():
            if number not in used:
                self._path(number).unlink(missing_ok=True)

    def find_lost(self, connection: Connection) -> list[str]:
        """Blobs whose octets did not reach the disk before the power went."""
        marked = connection.execute("SELECT value FROM setting WHERE name = ?", (_MARK,)).fetchone()
        pack, place = (0, 0) if marked is None else map(int, marked[0].split(":"))
        return [
            blob_id
            for blob_id, sha256, *where in connection.execute(_BEHIND, (pack, place))
            if hashlib.sha256(self.read(Placed(*where)) or b"").hexdigest() != sha256
        ]

    # -- writing ------------------------------------------------------------------------------

    def add(self, connection: Connection, sealed: Sequence[bytes]) -> list[Placed]:
        """Writes blobs behind the last one; answers where each lies. Raises StoreFull."""
        size = sum(map(len, sealed))
        if self._end and self._end + size > PACK_BYTES:
            self.turn(connection)
        with disk_errors():
            file = self._writing or self._open()
            _write(file.fileno(), sealed, self._end)
        placed = []
        for one in sealed:
            placed.append(Placed(self._current, self._end, len(one)))
            self._end += len(one)  # never back: a COMMIT that failed may turn out to have happened
        self._unsynced = True
        return placed

    def sync(self, connection: Connection) -> None:
        """Brings all that was written to the disk, before a durable COMMIT, and notes that."""
        if not self._unsynced or self._writing is None:
            return
        with disk_errors():
            os.fdatasync(self._writing.fileno())
        connection.execute(
            "INSERT OR REPLACE INTO setting (name, value) VALUES (?, ?)",
            (_MARK, f"{self._current}:{self._end}"),
        )
        self._unsynced = False

    @property
    def unsynced(self) -> bool:
        """Whether something would be lost with the power."""
        return self._unsynced

    def close(self) -> None:
        """Gives files back; nothing is written any more."""
        self._close()
        with self._lock:
            self._reading.clear()

    def _open(self) -> BinaryIO:
        path = self._path(self._current)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._writing = os.fdopen(descriptor, "r+b", buffering=0)
        sync_folder(self.folder)
        sync_folder(self.folder.parent)
        return self._writing

    def _close(self) -> None:
        if self._writing is not None:
            self._writing.close()
            self._writing = None

    # -- reading ------------------------------------------------------------------------------

    def read(self, where: Placed) -> bytes | None:
        """The octets there, fewer where the file was cut; None when the pack is gone."""
        file = self._file(where.pack)
        return None if file is None else os.pread(file.descriptor, where.length, where.place)

    def read_many(self, places: Mapping[K, Placed]) -> dict[K, memoryview]:
        """The same of several blobs, without those whose pack is gone; what lies close together is read in one go."""
        found: dict[K, memoryview] = {}
        ordered = sorted(places.items(), key=lambda one: one[1])
        first = 0
        while first < len(ordered):
            pack, begin, length = ordered[first][1]
            end, last = begin + length, first + 1
            while last < len(ordered):
                its = ordered[last][1]
                if its.pack != pack or its.place > end + GAP or its.place - begin > READ_BYTES:
                    break
                end, last = max(end, its.place + its.length), last + 1
            octets = self.read(Placed(pack, begin, end - begin))
            if octets is not None:
                view = memoryview(octets)
                for key, (_, place, length) in ordered[first:last]:
                    found[key] = view[place - begin : place - begin + length]
            first = last
        return found

    def _file(self, number: int) -> _OpenPack | None:
        with self._lock:
            file = self._reading.get(number)
            if file is None:
                try:
                    file = _OpenPack(self._path(number))
                except FileNotFoundError:
                    return None
                self._reading[number] = file
                if len(self._reading) > OPEN_FILES:
                    self._reading.popitem(last=False)
            self._reading.move_to_end(number)
        return file

    # -- room ---------------------------------------------------------------------------------

    def find_sparse(self, connection: Connection, share: float = 0.5) -> list[int]:
        """Packs of which less than this share is still named, but for the one that is written."""
        if not self.thinned:
            return []
        self.thinned = False
        used = dict(connection.execute(_USED).fetchall())
        return [
            number
            for number in self._numbers()
            if number != self._current
            and used.get(number, 0) < share * self._path(number).stat().st_size
        ]

    def turn(self, connection: Connection) -> None:
        """Ends the pack that is written, in a durable job; the next blob begins a new one."""
        if self._end:
            self.sync(connection)
            self._close()
            self._current, self._end = self._current + 1, 0
        self.thinned = True

    def move_some(self, connection: Connection, number: int) -> bool:
        """Moves blobs out of a pack, in a durable job; False when none is left in it."""
        some: list[tuple[str, Placed]] = []
        size = 0
        for blob_id, place, length in connection.execute(_OF_PACK, (number, 1_000)).fetchall():
            size += length
            if some and size > MOVED_BYTES:
                break
            some.append((blob_id, Placed(number, place, length)))
        if not some:
            return False
        octets = [(self.read(where) or b"").ljust(where.length, b"\0") for _, where in some]
        placed = self.add(connection, octets)
        connection.executemany(
            "UPDATE blob SET pack = ?, place = ? WHERE blob_id = ?",
            [(to.pack, to.place, blob_id) for (blob_id, _), to in zip(some, placed, strict=True)],
        )
        return True

    def remove(self, connection: Connection, number: int) -> bool:
        """Removes the file of a pack, unless a row names it; in a job behind the durable one that moved the last.

        Who is reading it goes on; who looked up a place in it before, and comes now, looks it up again.
        """
        if number == self._current or any(number == pack for (pack,) in _distinct(connection)):
            return False
        self._path(number).unlink(missing_ok=True)
        with self._lock:
            self._reading.pop(number, None)
        return True

    def octets(self) -> int:
        """How large all of them are."""
        return sum(self._path(number).stat().st_size for number in self._numbers())

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:08}"

    def _numbers(self) -> list[int]:
        if not self.folder.is_dir():
            return []
        return sorted(int(path.name) for path in self.folder.iterdir() if _NAME.match(path.name))


def _distinct(connection: Connection) -> Iterator[tuple[int]]:
    """The packs that rows name, each found by one look into the index."""
    pack = 0
    while True:
        found = connection.execute("SELECT min(pack) FROM blob WHERE pack > ?", (pack,)).fetchone()
        if found[0] is None:
            return
        pack = found[0]
        yield (pack,)


def _write(descriptor: int, sealed: Sequence[bytes], place: int) -> None:
    """All of it, one behind the other."""
    for first in range(0, len(sealed), _MOST_BUFFERS):
        some = sealed[first : first + _MOST_BUFFERS]
        size = sum(map(len, some))
        written = os.pwritev(descriptor, some, place)
        if written < size:
            left = memoryview(b"".join(some))[written:]
            while left:
                count = os.pwrite(descriptor, left, place + written)
                left, written = left[count:], written + count
        place += size
