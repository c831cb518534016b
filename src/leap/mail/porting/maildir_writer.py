"""Writes a Maildir++: each file name carries the id of its message, so that a second run adds only what is new.

    SECONDS.ID.bitmask,S=OCTETS:2,FLAGS      the internal date, the row's id, the size as Dovecot and Courier have it

A file is written in "tmp" and renamed into "cur" (https://cr.yp.to/proto/maildir.html): whatever happens, what is in
"cur" is whole.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from leap.mail.contract import RowId
from leap.mail.porting.file_names import maildir_folder
from leap.mail.porting.found import Oddity, Tell, shown_path
from leap.mail.porting.maildir import KEYWORDS_FILE, read_keywords
from leap.mail.porting.private_folders import make_folder, new_file, replace_file, sync_folder
from leap.mail.porting.writing import Outgoing

_NAME = re.compile(r"-?\d+\.([0-9a-z]+)\.bitmask[,:]")
_LETTERS = {
    "\\Draft": "D",
    "\\Flagged": "F",
    "$Forwarded": "P",
    "\\Answered": "R",
    "\\Seen": "S",
    "\\Deleted": "T",
}
_MOST_KEYWORDS = 26


class MaildirTarget:
    """A Maildir++ at `root`, made where it is not. Several mailboxes: INBOX is `root` itself."""

    def __init__(self, root: Path, *, single: bool = False) -> None:
        self._root = root
        self._single = single

    def writer(self, mailbox: str) -> MaildirWriter:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = "" if self._single else maildir_folder(mailbox)
        return MaildirWriter(self._root / name if name else self._root, is_root=not name)


class MaildirWriter:
    """One folder of a Maildir++."""

    def __init__(self, folder: Path, *, is_root: bool) -> None:
        self._folder = folder
        if not is_root:
            make_folder(folder)
        for part in ("cur", "new", "tmp"):
            make_folder(folder / part)
        if not is_root:
            (folder / "maildirfolder").touch(0o600)  # Maildir++: it is a folder of another one
        self._there = {
            RowId(found[1])
            for part in ("cur", "new")
            for name in os.listdir(folder / part)
            if (found := _NAME.match(name))
        }
        self._keywords = {keyword: letter for letter, keyword in read_keywords(folder).items()}

    def has(self, row_id: RowId) -> bool:
        return row_id in self._there

    def add(self, messages: Sequence[Outgoing], tell: Tell) -> list[Outgoing]:
        written = []
        for one in messages:
            if one.row_id in self._there:
                continue
            if not one.row_id.isalnum():
                raise ValueError("a row's id is letters and digits")
            name = f"{one.internal_date}.{one.row_id}.bitmask,S={len(one.octets)}"
            letters = self._letters(one, name, tell)
            part, whole = self._folder / "tmp" / name, self._folder / "cur" / f"{name}:2,{letters}"
            part.unlink(missing_ok=True)
            with os.fdopen(new_file(part), "wb") as file:
                file.write(one.octets)
            os.utime(part, (one.internal_date, one.internal_date), follow_symlinks=False)
            part.rename(whole)
            self._there.add(one.row_id)
            written.append(one)
        return written

    def close(self) -> None:
        sync_folder(self._folder / "cur")

    def _letters(self, one: Outgoing, name: str, tell: Tell) -> str:
        """The flags as letters in ASCII order, as the format wants them."""
        letters = set()
        for flag in one.flags:
            letter = _LETTERS.get(flag) or self._keywords.get(flag) or self._new_keyword(flag)
            if letter is None:
                tell(Oddity("flag", shown_path(name), f"A Maildir has no letter for {flag}."))
            else:
                letters.add(letter)
        return "".join(sorted(letters))

    def _new_keyword(self, flag: str) -> str | None:
        taken = set(self._keywords.values())
        free = (chr(ord("a") + at) for at in range(_MOST_KEYWORDS))
        letter = next((one for one in free if one not in taken), None)
        if letter is None or flag.startswith("\\"):
            return None
        self._keywords[flag] = letter
        lines = sorted((letter, keyword) for keyword, letter in self._keywords.items())
        text = "".join(f"{ord(letter) - ord('a')} {keyword}\n" for letter, keyword in lines)
        replace_file(self._folder / KEYWORDS_FILE, text.encode())
        return letter
