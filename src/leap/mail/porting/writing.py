"""What an export hands to whoever writes files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from leap.mail.contract import RowId
from leap.mail.porting.found import Tell


class Outgoing(NamedTuple):
    """One message on its way out; `octets` are as they shall be in the file."""

    row_id: RowId
    octets: bytes
    flags: tuple[str, ...]
    internal_date: int  # seconds since 1970, UTC


class MailboxWriter(Protocol):
    """One mailbox of an export. Methods block, so they run in a thread; they raise OSError."""

    def has(self, row_id: RowId) -> bool:
        """Whether the message is known to be there from before, without a look at its octets."""

    def add(self, messages: Sequence[Outgoing], tell: Tell) -> list[Outgoing]:
        """Writes those that are not there; answers them."""

    def close(self) -> None:
        """Makes sure that all of it is on the disk."""


class ExportTarget(Protocol):
    """Where an export goes."""

    def writer(self, mailbox: str) -> MailboxWriter: ...
