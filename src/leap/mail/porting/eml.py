"""Reads folders of single messages (.eml files), and of mbox files such as Thunderbird's: folders become mailboxes.

Each file is looked at: one that begins with the separator of an mbox is one, whatever it is called; what else lies
there (indexes and settings of mail programs, anything at all) is passed over. A file named by a person is always read.
Apple Mail's
"Name.mbox/mbox" and Thunderbird's "Name.sbd/" are read as the mailbox "Name".
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from leap.mail.porting.found import Found, Oddity, SourceMailbox, Tell, shown_path
from leap.mail.porting.mailbox_naming import decoded_level, folder_of
from leap.mail.porting.mbox import MboxFile
from leap.mail.porting.mbox_kinds import MboxKind, is_field, is_mbox
from leap.mail.porting.reading_files import open_plain, read_plain, unreadable, walk

_SUFFIXES = (".mbox", ".sbd", ".mbx")


def one_message(path: Path, limit: int, tell: Tell) -> Iterator[Found]:
    """The message that a file is, dated by the file."""
    content = read_plain(path, limit, tell)
    if content is not None:
        yield Found(content.data, shown_path(path), (), content.modified)


class FolderSource:
    """One file, or all files at and below a folder.

    `is_other`: whether a folder is one of another kind, in which only what is mail by its name or beginning counts.
    """

    def __init__(
        self,
        root: Path,
        kind: MboxKind | None = None,
        tell: Tell = lambda _: None,
        is_other: Callable[[Path], bool] = lambda _: False,
    ) -> None:
        self._kind = kind
        self.kinds: dict[str, str] = {}  # what each mbox was read as
        self._files: dict[SourceMailbox, list[Path]] = {}
        if not root.is_dir():
            self._files[folder_of(())] = [root]
            return
        for folder, levels, _, names in walk(root, tell):
            programs_own = is_other(folder)
            for name in names:
                path = folder / name
                beginning = _beginning(path)
                if programs_own and not (is_mbox(beginning) or name.lower().endswith(".eml")):
                    continue
                if name.startswith(".") or not _holds_mail(name, beginning):
                    tell(Oddity("skipped", shown_path(path), "It is no mail by its name."))
                    continue
                mailbox = _mailbox(path, levels, is_box=is_mbox(beginning))
                self._files.setdefault(mailbox, []).append(path)

    def mailboxes(self) -> list[SourceMailbox]:
        return list(self._files)

    def messages(self, mailbox: SourceMailbox, tell: Tell, limit: int) -> Iterator[Found]:
        for path in self._files.get(mailbox, ()):
            if not is_mbox(_beginning(path)):
                yield from one_message(path, limit, tell)
                continue
            try:
                with MboxFile(path, self._kind) as box:
                    self.kinds[shown_path(path)] = box.kind
                    yield from box.messages(tell, limit)
            except OSError as error:
                tell(unreadable(path, error))


def _beginning(path: Path) -> bytes:
    """What a file begins with; nothing when it cannot be read, which is told when its messages are asked for."""
    try:
        with os.fdopen(open_plain(path), "rb") as file:
            return file.read(4096)
    except OSError:
        return b""


def _holds_mail(name: str, beginning: bytes) -> bool:
    """An mbox under any name; a message as .eml, under a number (MH), or without any suffix if it begins like one."""
    if is_mbox(beginning) or name.lower().endswith(".eml") or name.isdecimal():
        return True
    return "." not in name and is_field(beginning)


def _mailbox(path: Path, levels: tuple[str, ...], *, is_box: bool) -> SourceMailbox:
    cleaned = [decoded_level(_stem(level)) for level in levels]
    apples = bool(levels) and levels[-1].lower().endswith(".mbox") and path.name == "mbox"
    if is_box and not path.name.lower().endswith(".eml") and not apples:
        cleaned.append(decoded_level(_stem(path.name)))
    return folder_of(() if [level.upper() for level in cleaned] == ["INBOX"] else cleaned)


def _stem(level: str) -> str:
    for suffix in _SUFFIXES:
        if level.lower().endswith(suffix) and len(level) > len(suffix):
            return level[: -len(suffix)]
    return level
