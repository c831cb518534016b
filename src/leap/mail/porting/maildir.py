"""Reads Maildirs: one folder, Maildir++ (folders named ".A.B"), or folders in folders as mbsync and Dovecot's "fs".

What a message is: https://cr.yp.to/proto/maildir.html. Files that begin with a dot, and files beside "cur" and "new"
(dovecot-uidlist, .uidvalidity, courierimapkeywords ...), are the programs' own and no mail. Mail in "tmp" is not
delivered yet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from leap.mail.porting.found import Found, SourceMailbox, Tell, shown_path
from leap.mail.porting.mailbox_naming import decoded_level, folder_of
from leap.mail.porting.reading_files import entries, open_plain, read_plain, walk

# The info part of a file name: ":2," and letters. ";" and "!" stand for ":" where a file system has none.
_INFO = re.compile(r"[:;!]2,([A-Za-z]*)[^/]*$")
_FLAGS = {
    "D": "\\Draft",
    "F": "\\Flagged",
    "P": "$Forwarded",  # "passed"; the keyword of RFC 5788
    "R": "\\Answered",
    "S": "\\Seen",
    "T": "\\Deleted",
}
KEYWORDS_FILE = "dovecot-keywords"  # lines "0 $Label1": number 0 is the letter "a" in file names
_MOST_KEYWORDS = 26


def is_maildir(folder: Path) -> bool:
    """Whether it is one Maildir folder."""
    return (folder / "cur").is_dir() or (folder / "new").is_dir()


class MaildirSource:
    """The Maildirs at and below a folder."""

    def __init__(self, root: Path, tell: Tell = lambda _: None) -> None:
        self._folders: dict[SourceMailbox, list[Path]] = {}
        for folder, levels in _maildirs(root, tell):
            self._folders.setdefault(folder_of(levels), []).append(folder)

    def mailboxes(self) -> list[SourceMailbox]:
        return list(self._folders)

    def messages(self, mailbox: SourceMailbox, tell: Tell, limit: int) -> Iterator[Found]:
        for folder in self._folders.get(mailbox, ()):
            keywords = read_keywords(folder)
            for part in ("cur", "new"):
                if not (folder / part).is_dir():
                    continue
                _, names = entries(folder / part, tell)
                for name in names:
                    if name.startswith("."):
                        continue
                    path = folder / part / name
                    content = read_plain(path, limit, tell)
                    if content is not None:
                        yield Found(
                            content.data,
                            shown_path(path),
                            _flags(name, keywords) if part == "cur" else (),
                            content.modified,
                        )


def _maildirs(root: Path, tell: Tell) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """(folder, levels of its mailbox), the root first."""
    for folder, levels, folders, _ in walk(root, tell):
        above = _without_inbox(levels)
        if is_maildir(folder):
            yield folder, above
        elif levels:
            continue
        for name in folders:
            # Maildir++: the folders of a Maildir lie flat in it, the levels divided by dots
            if name.startswith(".") and name.strip(".") and is_maildir(folder / name):
                yield folder / name, (*above, *map(decoded_level, name[1:].split(".")))


def _without_inbox(levels: tuple[str, ...]) -> tuple[str, ...]:
    """An "INBOX" folder is INBOX itself, and what lies below it too keeps its name."""
    return (
        ()
        if len(levels) == 1 and levels[0].upper() == "INBOX"
        else tuple(map(decoded_level, levels))
    )


def read_keywords(folder: Path) -> dict[str, str]:
    """The keywords Dovecot gave to the letters a-z of file names."""
    try:
        with open(open_plain(folder / KEYWORDS_FILE), "rb") as file:
            lines = file.read(10_000).decode("utf-8", "replace").splitlines()
    except OSError:
        return {}
    out = {}
    for line in lines:
        number, _, keyword = line.partition(" ")
        if number.isascii() and number.isdigit() and int(number) < _MOST_KEYWORDS and keyword:
            out[chr(ord("a") + int(number))] = keyword
    return out


def _flags(name: str, keywords: dict[str, str]) -> tuple[str, ...]:
    found = _INFO.search(name)
    if found is None:
        return ()
    letters = dict.fromkeys(found[1])
    return tuple(flag for letter in letters if (flag := _FLAGS.get(letter) or keywords.get(letter)))
