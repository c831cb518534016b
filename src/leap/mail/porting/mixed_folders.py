"""Reads folders in which Maildirs lie beside mbox files and single messages: each is read as what it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from leap.mail.porting.eml import FolderSource
from leap.mail.porting.found import Found, SourceMailbox, Tell
from leap.mail.porting.maildir import MaildirSource, is_maildir
from leap.mail.porting.mbox_kinds import MboxKind


class MixedSource:
    """All mail at and below a folder: in Maildirs, in mbox files and in files of their own.

    Other files beside the "cur" and "new" of a Maildir are its programs' own. `kind` and `kinds` are of mbox files.
    """

    def __init__(
        self, root: Path, kind: MboxKind | None = None, tell: Tell = lambda _: None
    ) -> None:
        self._maildirs = MaildirSource(root)  # what is odd in the folders is told once
        self._files = FolderSource(root, kind, tell, is_other=is_maildir)
        self.kinds = self._files.kinds

    def mailboxes(self) -> list[SourceMailbox]:
        return list(dict.fromkeys([*self._maildirs.mailboxes(), *self._files.mailboxes()]))

    def messages(self, mailbox: SourceMailbox, tell: Tell, limit: int) -> Iterator[Found]:
        yield from self._maildirs.messages(mailbox, tell, limit)
        yield from self._files.messages(mailbox, tell, limit)
