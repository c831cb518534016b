"""Writes mbox files (mboxrd); a second run reads what is there, and adds only messages whose octets are not.

Beside a file that grows lies NAME.growing with the length up to which it is whole. After a crash the file is cut to
that length, and goes on from there.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from leap.mail.contract import RowId
from leap.mail.porting.file_names import mbox_path
from leap.mail.porting.found import Oddity, Tell, shown_path
from leap.mail.porting.mbox import MboxFile
from leap.mail.porting.mbox_kinds import quoted, separator_line
from leap.mail.porting.private_folders import make_folder, replace_file
from leap.mail.porting.writing import Outgoing

_ANY_SIZE = 1 << 62
_EARLIEST, _LATEST = (
    -62_135_596_800,
    253_402_300_799,
)  # years 1 to 9999, as a separator line has them


class MboxTarget:
    """A folder of mbox files, or with `single` the file itself."""

    def __init__(self, path: Path, *, single: bool = False, status: bool = False) -> None:
        """`status`: flags are written as Status, X-Status and X-Keywords; then messages are not byte for byte."""
        self._path = path
        self._single = single
        self._status = status

    def writer(self, mailbox: str) -> MboxWriter:
        if self._single:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return MboxWriter(self._path, status=self._status)
        self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = self._path
        *above, last = mbox_path(mailbox)
        for level in above:
            folder /= level
            make_folder(folder)
        return MboxWriter(folder / last, status=self._status)


class MboxWriter:
    """One mbox that grows."""

    def __init__(self, path: Path, *, status: bool) -> None:
        self._path = path
        self._growing = path.with_name(path.name + ".growing")
        self._status = status
        self._descriptor = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600
        )
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, self._descriptor)
            self._length = self._recovered()
            self._there = self._read_there()
            undo.pop_all()

    def has(self, row_id: RowId) -> bool:
        return False  # only octets tell

    def add(self, messages: Sequence[Outgoing], tell: Tell) -> list[Outgoing]:
        written, pieces = [], []
        for one in messages:
            octets = self._with_status(one) if self._status else one.octets
            if not octets.endswith(b"\n"):
                where = f"{shown_path(self._path)}, {one.row_id}"
                tell(Oddity("no-line-end", where, "A line end was added at its end."))
                octets += b"\n"
            name = hashlib.sha256(octets).digest()
            if self._there[name] > 0:
                self._there[name] -= 1
                continue
            date = min(max(one.internal_date, _EARLIEST), _LATEST)
            pieces.append(separator_line(date) + quoted(octets) + b"\n")
            written.append(one)
        if pieces:
            self._append(b"".join(pieces))
        return written

    def close(self) -> None:
        os.close(self._descriptor)
        self._growing.unlink(missing_ok=True)

    def _append(self, data: bytes) -> None:
        replace_file(self._growing, b"%d\n" % self._length)
        view = memoryview(data)
        at = self._length
        while view:
            count = os.pwrite(self._descriptor, view, at)
            at, view = at + count, view[count:]
        os.fsync(self._descriptor)
        self._length = at

    def _recovered(self) -> int:
        """The length of the file, after what a crash left in it is cut off."""
        size = os.fstat(self._descriptor).st_size
        try:
            whole = int(self._growing.read_bytes()[:30])
        except FileNotFoundError:
            return size
        except ValueError:
            return size
        if 0 <= whole < size:
            os.ftruncate(self._descriptor, whole)
            return whole
        return size

    def _read_there(self) -> Counter[bytes]:
        if self._length == 0:
            return Counter()
        with MboxFile(self._path, "mboxrd") as box:
            return Counter(
                hashlib.sha256(one.raw).digest() for one in box.messages(lambda _: None, _ANY_SIZE)
            )

    def _with_status(self, one: Outgoing) -> bytes:
        """The message with its flags in front, as mutt, Dovecot and others read them."""
        end = b"\r\n" if one.octets.partition(b"\n")[0].endswith(b"\r") else b"\n"
        letters = "".join(
            letter
            for flag, letter in (
                ("\\Answered", "A"),
                ("\\Flagged", "F"),
                ("\\Draft", "T"),
                ("\\Deleted", "D"),
            )
            if flag in one.flags
        )
        keywords = " ".join(flag for flag in one.flags if not flag.startswith("\\"))
        fields = ["Status: RO" if "\\Seen" in one.flags else "Status: O"]
        if letters:
            fields.append(f"X-Status: {letters}")
        if keywords:
            fields.append(f"X-Keywords: {keywords}")
        return b"".join(field.encode() + end for field in fields) + one.octets
