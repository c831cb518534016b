"""Reads folders of single messages (.eml files), and of mbox files such as Thunderbird's: folders become mailboxes.

Each file is looked at: one that begins with the separator of an mbox is one, whatever it is called. Apple Mail's
"Name.mbox/mbox" and Thunderbird's "Name.sbd/" are read as the mailbox "Name".
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from leap.mail.porting.found import Found, Oddity, SourceMailbox, Tell, shown_path
from leap.mail.porting.mailbox_naming import decoded_level, folder_of
from leap.mail.porting.mbox import MboxFile
from leap.mail.porting.mbox_kinds import MboxKind, is_mbox
from leap.mail.porting.reading_files import open_plain, read_plain, unreadable, walk

# Indexes and settings of mail programs, which lie among the mail
_NO_MAIL = (".msf", ".dat", ".json", ".plist", ".html", ".index", ".snm", ".toc", ".log", ".lock")
_SUFFIXES = (".mbox", ".sbd", ".mbx")


def one_message(path: Path, limit: int, tell: Tell) -> Iterator[Found]:
    """The message that a file is, dated by the file."""
    content = read_plain(path, limit, tell)
    if content is not None:
        yield Found(content.data, shown_path(path), (), content.modified)


class FolderSource:
    """One file, or all files at and below a folder."""

    def __init__(
        self, root: Path, kind: MboxKind | None = None, tell: Tell = lambda _: None
    ) -> None:
        self._kind = kind
        self.kinds: dict[str, str] = {}  # what each mbox was read as
        self._files: dict[SourceMailbox, list[Path]] = {}
        if not root.is_dir():
            self._files[folder_of(())] = [root]
            return
        for folder, levels, _, names in walk(root, tell):
            for name in names:
                path = folder / name
                if name.startswith(".") or name.lower().endswith(_NO_MAIL):
                    tell(Oddity("skipped", shown_path(path), "It is no mail by its name."))
                    continue
                self._files.setdefault(self._mailbox(path, levels), []).append(path)

    def _mailbox(self, path: Path, levels: tuple[str, ...]) -> SourceMailbox:
        cleaned = [decoded_level(_stem(level)) for level in levels]
        if (
            not path.name.lower().endswith(".eml")
            and self._opens_as_mbox(path)
            and not (levels and levels[-1].lower().endswith(".mbox") and path.name == "mbox")
        ):
            cleaned.append(decoded_level(_stem(path.name)))
        if [level.upper() for level in cleaned] == ["INBOX"]:
            return folder_of(())
        return folder_of(cleaned)

    def _opens_as_mbox(self, path: Path) -> bool:
        try:
            with os.fdopen(open_plain(path), "rb") as file:
                return is_mbox(file.read(4096))
        except OSError:
            return False

    def mailboxes(self) -> list[SourceMailbox]:
        return list(self._files)

    def messages(self, mailbox: SourceMailbox, tell: Tell, limit: int) -> Iterator[Found]:
        for path in self._files[mailbox]:
            if not self._opens_as_mbox(path):
                yield from one_message(path, limit, tell)
                continue
            try:
                with MboxFile(path, self._kind) as box:
                    self.kinds[shown_path(path)] = box.kind
                    yield from box.messages(tell, limit)
            except OSError as error:
                tell(unreadable(path, error))


def _stem(level: str) -> str:
    for suffix in _SUFFIXES:
        if level.lower().endswith(suffix) and len(level) > len(suffix):
            return level[: -len(suffix)]
    return level
