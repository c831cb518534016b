"""What a source of mail gives, and what every source has in common. Values only.

Invariant: `raw` are the octets as they lie at the source; only what the source's format put in between (the quoting of
"From " lines in an mbox) has been taken off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol


class SourceMailbox(NamedTuple):
    """A folder of the source. `name` has "/" between levels; `special_use` is an attribute of RFC 6154 or None."""

    name: str
    special_use: str | None = None


class Found(NamedTuple):
    """One message of a source. `where` names it to people; `internal_date` is in seconds since 1970, UTC."""

    raw: bytes
    where: str
    flags: tuple[str, ...] = ()
    internal_date: int | None = None
    zone: int = 0
    uid: int = 0  # at an IMAP server, else 0


class Oddity(NamedTuple):
    """Something a person may want to know. `kind` is a word for programs (see `leap.mail.porting.report`)."""

    kind: str
    where: str
    sentence: str


Tell = Callable[[Oddity], None]


class FileSource(Protocol):
    """Mail in files. Its methods block, so they run in a thread; nothing but OSError is raised."""

    def mailboxes(self) -> list[SourceMailbox]: ...

    def messages(self, mailbox: SourceMailbox, tell: Tell, limit: int) -> Iterator[Found]:
        """The messages of a mailbox, in order; those above `limit` octets are told and passed over."""


def shown_path(path: object) -> str:
    """A file's name on one line, whatever octets it has."""
    text = str(path).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
