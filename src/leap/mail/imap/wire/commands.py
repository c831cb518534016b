"""Every command of the server as a value; `parsing` makes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from leap.mail.imap.wire.fetching import FetchItem
from leap.mail.imap.wire.listing import ListRequest, StatusItem
from leap.mail.imap.wire.metadata import GetMetadata, SetMetadata
from leap.mail.imap.wire.notify import Notify
from leap.mail.imap.wire.numbers import NumberSet
from leap.mail.imap.wire.partial import PartialRange
from leap.mail.imap.wire.quota import GetQuota as GetQuota
from leap.mail.imap.wire.quota import GetQuotaRoot as GetQuotaRoot
from leap.mail.imap.wire.resync import Resync
from leap.mail.imap.wire.searching import SearchProgram
from leap.mail.imap.wire.sorting import Sort as Sort
from leap.mail.imap.wire.sorting import Thread as Thread


@dataclass(frozen=True, slots=True)
class Simple:
    """A command without arguments."""

    name: Literal[
        "CAPABILITY",
        "NOOP",
        "LOGOUT",
        "STARTTLS",
        "CHECK",
        "CLOSE",
        "UNSELECT",
        "EXPUNGE",
        "IDLE",
        "NAMESPACE",
    ]


@dataclass(frozen=True, slots=True, repr=False)
class Login:
    user: str
    password: str


@dataclass(frozen=True, slots=True, repr=False)
class Authenticate:
    mechanism: str
    initial: bytes | None


@dataclass(frozen=True, slots=True)
class Id:
    """RFC 2971; what the client says of itself is read and not used."""


@dataclass(frozen=True, slots=True)
class Enable:
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Select:
    """SELECT, or EXAMINE; `condstore` and `resync` are its parameters (RFC 7162 3.1.8, 3.2.5)."""

    mailbox: str
    read_only: bool
    condstore: bool = False
    resync: Resync | None = None


@dataclass(frozen=True, slots=True)
class Create:
    mailbox: str
    special_use: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Delete:
    mailbox: str


@dataclass(frozen=True, slots=True)
class Rename:
    mailbox: str
    new: str


@dataclass(frozen=True, slots=True)
class Subscribe:
    mailbox: str
    wanted: bool


@dataclass(frozen=True, slots=True)
class List:
    request: ListRequest


@dataclass(frozen=True, slots=True)
class Lsub:
    reference: str
    pattern: str


@dataclass(frozen=True, slots=True)
class Status:
    mailbox: str
    items: tuple[StatusItem, ...]


@dataclass(frozen=True, slots=True, repr=False)
class AppendedMessage:
    raw: bytes
    flags: tuple[str, ...]
    internal_date: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Append:
    mailbox: str
    messages: tuple[AppendedMessage, ...]


@dataclass(frozen=True, slots=True)
class Replace:
    """RFC 8508: puts a message into the mailbox, and takes the one with that number away."""

    numbers: NumberSet
    by_uid: bool
    mailbox: str
    message: AppendedMessage


@dataclass(frozen=True, slots=True)
class UidExpunge:
    numbers: NumberSet


@dataclass(frozen=True, slots=True)
class Fetch:
    """`changed_since`, `vanished` and `partial` are its modifiers (RFC 7162 3.1.4.1, 3.2.6; RFC 9394 3.3)."""

    numbers: NumberSet
    by_uid: bool
    items: tuple[FetchItem, ...]
    changed_since: int | None = None
    vanished: bool = False
    partial: PartialRange | None = None


@dataclass(frozen=True, slots=True)
class Store:
    """`unchanged_since` is its modifier (RFC 7162 3.1.3)."""

    numbers: NumberSet
    by_uid: bool
    op: Literal["set", "add", "remove"]
    silent: bool
    flags: tuple[str, ...]
    unchanged_since: int | None = None


@dataclass(frozen=True, slots=True)
class Search:
    program: SearchProgram
    by_uid: bool


@dataclass(frozen=True, slots=True)
class Transfer:
    """COPY, or MOVE (RFC 6851)."""

    numbers: NumberSet
    by_uid: bool
    mailbox: str
    move: bool


Command = (
    Simple
    | Login
    | Authenticate
    | Id
    | Enable
    | Select
    | Create
    | Delete
    | Rename
    | Subscribe
    | List
    | Lsub
    | Status
    | Append
    | Replace
    | UidExpunge
    | Fetch
    | Store
    | Search
    | Sort
    | Thread
    | Transfer
    | GetMetadata
    | SetMetadata
    | Notify
    | GetQuota
    | GetQuotaRoot
)
