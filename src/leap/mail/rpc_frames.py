"""How an account is asked over the daemon's unix socket: frames, and the methods with their types.

    frame = length (4 octets, big-endian) message      message = MessagePack array, its first element the kind
    client: Hello, then any of Call, Piece, Cancel     server: Welcome or Failure 0, then any of Piece, Failure, Changed

A call has a body (its arguments), and so has its answer; both are MessagePack and cut into pieces, so that a 50 MB
message neither makes a large frame nor holds up the other calls of the connection.

Invariants:
* No frame is longer than `MAX_FRAME`, before the token was checked none longer than `MAX_HELLO`.
* What does not decode to the types stated here ends the connection; it never reaches an account.
* An error travels as the name of its class and its sentence; only classes of the contract are made from a name.
"""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass
from typing import Any

import msgspec

from leap.mail import contract
from leap.mail.answers import AccountSpace, PartTree, QueryCount
from leap.mail.contacts.model import ContactUse
from leap.mail.contract import (
    AccountError,
    Appended,
    Change,
    FlagOp,
    FoundMessage,
    MailboxId,
    MailboxInfo,
    MailboxStatus,
    MessageId,
    MessageMetadata,
    MessageRow,
    ModSeq,
    NewMessage,
    OutboxEntry,
    RowId,
    SearchedText,
    SearchResult,
    Stored,
    SyncStatus,
    Transferred,
    Uid,
)
from leap.mail.delivery_wishes import DeliveryWishes
from leap.mail.outbox_contract import SendingRules
from leap.mail.sorting.model import SortKey, ThreadAlgorithm, ThreadLine
from leap.mail.threads.model import ThreadId, ThreadSummary
from leap.soledad.wire import MAX_MESSAGE_BYTES

VERSION = 3
PIECE = 256 * 1024  # octets: half a millisecond of copying, so that other calls get their turn
MAX_FRAME = PIECE + 4096
MAX_HELLO = 4096
MAX_BODY = 3 * MAX_MESSAGE_BYTES  # one call; `add_many` of the facade cuts larger ones
INLINE_BODY = 64 * 1024  # octets; more is encoded or decoded outside the event loop
MAX_CALLS = 1000  # running at once on one connection
CHANGES = "changes"  # the one method whose answer is a stream
_LENGTH = struct.Struct(">I")


class ProtocolError(Exception):
    """The other side sent what this protocol does not know."""


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=0):
    version: int
    token: str
    address: str

    def __repr__(self) -> str:
        return f"Hello(address={self.address!r})"


class Call(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """The beginning of a call, with the first piece of its body."""

    call_id: int
    method: str
    data: bytes
    last: bool


class Piece(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """The next piece of the body of a call or of its answer."""

    call_id: int
    data: bytes
    last: bool


class Cancel(msgspec.Struct, frozen=True, array_like=True, tag=3):
    call_id: int


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag=4):
    address: str


class Failure(msgspec.Struct, frozen=True, array_like=True, tag=5):
    call_id: int
    error: str
    text: str


class Changed(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """One element of the stream of a call of `changes`; None ends it."""

    call_id: int
    change: Change | None


ToServer = Call | Piece | Cancel
ToClient = Piece | Failure | Changed


@dataclass(frozen=True)
class Method:
    """One method of the contract: the types of its arguments, in order, and of what it answers."""

    arguments: Any
    result: Any


METHODS: dict[str, Method] = {
    "list_mailboxes": Method(tuple[()], list[MailboxInfo]),
    "create_mailbox": Method(tuple[str, str | None], MailboxInfo),
    "rename_mailbox": Method(tuple[MailboxId, str], None),
    "delete_mailbox": Method(tuple[MailboxId], None),
    "set_subscribed": Method(tuple[MailboxId, bool], None),
    "status": Method(tuple[MailboxId], MailboxStatus),
    "rows": Method(tuple[MailboxId, Uid, Uid | None, ModSeq], list[MessageRow]),
    "expunged": Method(tuple[MailboxId, ModSeq], list[Uid]),
    "claim_recent": Method(tuple[MailboxId], list[Uid]),
    "metadata": Method(tuple[list[RowId]], list[MessageMetadata]),
    "read": Method(tuple[RowId, int, int | None], bytes),
    "read_many": Method(tuple[list[RowId]], list[bytes]),
    "header_fields": Method(tuple[list[RowId], list[bytes]], list[bytes]),
    "append": Method(tuple[MailboxId, list[NewMessage]], list[Appended]),
    "store_flags": Method(
        tuple[MailboxId, list[Uid], FlagOp, list[str], ModSeq | None],
        Stored,
    ),
    "copy": Method(tuple[MailboxId, list[Uid], MailboxId], Transferred),
    "move": Method(tuple[MailboxId, list[Uid], MailboxId], Transferred),
    "expunge": Method(tuple[MailboxId, list[Uid] | None], list[Uid]),
    "search_text": Method(tuple[MailboxId, list[Uid], SearchedText, str], list[Uid]),
    "search_header": Method(tuple[MailboxId, list[Uid], str, str], list[Uid]),
    "search": Method(tuple[str, int, int], SearchResult),
    "count": Method(tuple[str], QueryCount),
    "read_original": Method(tuple[RowId], bytes | None),
    "structure": Method(tuple[RowId], PartTree),
    "rows_of": Method(tuple[list[MessageId]], list[FoundMessage]),
    "replace": Method(tuple[MailboxId, Uid, NewMessage, MailboxId | None], Appended),
    "submit": Method(tuple[bytes, str, list[str], int | None, DeliveryWishes], str),
    "outbox": Method(tuple[str | None], list[OutboxEntry]),
    "cancel": Method(tuple[str], bool),
    "retry": Method(tuple[str | None], None),
    "send_delay": Method(tuple[()], int),
    "set_send_delay": Method(tuple[int], None),
    "sending_rules": Method(tuple[()], SendingRules),
    "set_sending_rules": Method(tuple[SendingRules], None),
    "addresses": Method(tuple[()], list[str]),
    "thread_ids": Method(tuple[list[RowId]], list[ThreadId]),
    "save_dates": Method(tuple[MailboxId, list[Uid]], list[int | None]),
    "space": Method(tuple[()], AccountSpace),
    "sorted_uids": Method(tuple[MailboxId, list[Uid], list[SortKey]], list[Uid]),
    "threaded_uids": Method(tuple[MailboxId, list[Uid], ThreadAlgorithm], list[ThreadLine]),
    "threads": Method(tuple[MailboxId | None, int, int], list[ThreadSummary]),
    "thread_rows": Method(tuple[ThreadId], list[FoundMessage]),
    "contacts": Method(tuple[str, int], list[ContactUse]),
    "annotations": Method(tuple[MailboxId | None], dict[str, bytes]),
    "annotate": Method(tuple[MailboxId | None, dict[str, bytes | None]], None),
    "sync_now": Method(tuple[()], None),
    "sync_status": Method(tuple[()], SyncStatus),
}

_ERRORS: dict[str, type[AccountError]] = {
    name: found
    for name, found in vars(contract).items()
    if isinstance(found, type) and issubclass(found, AccountError)
}


def error_named(name: str, text: str) -> AccountError:
    """The error that travelled; a class this version does not know is an AccountError."""
    return _ERRORS.get(name, AccountError)(text)


def error_name(error: AccountError) -> str:
    """The nearest class of the contract."""
    return next(cls.__name__ for cls in type(error).__mro__ if cls.__name__ in _ERRORS)


def pack(frame: msgspec.Struct) -> bytes:
    """A frame with its length."""
    message = msgspec.msgpack.encode(frame)
    return _LENGTH.pack(len(message)) + message


async def read_frame(reader: asyncio.StreamReader, limit: int = MAX_FRAME) -> bytes:
    """The message of the next frame. Raises ProtocolError, and IncompleteReadError at the end."""
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > limit:
        raise ProtocolError(f"a frame of {length} octets is longer than {limit}")
    return await reader.readexactly(length)


def pieces(body: bytes) -> list[tuple[memoryview, bool]]:
    """A body cut for frames; the last one is marked. An empty body is one empty piece."""
    view = memoryview(body)
    starts = range(0, max(1, len(body)), PIECE)
    return [(view[start : start + PIECE], start + PIECE >= len(body)) for start in starts]


class Bodies:
    """Bodies that arrive in pieces, bounded together."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._parts: dict[int, bytearray] = {}
        self._held = 0

    def add(self, call_id: int, data: bytes, last: bool) -> bytes | None:
        """The whole body with its last piece, else None. Raises ProtocolError over the limit."""
        if last and call_id not in self._parts:
            return data
        self._held += len(data)
        if self._held > self._limit:
            raise ProtocolError("the bodies that are on their way are too large")
        part = self._parts.setdefault(call_id, bytearray())
        part += data
        if not last:
            return None
        self.drop(call_id)
        return bytes(part)

    def drop(self, call_id: int) -> None:
        self._held -= len(self._parts.pop(call_id, b""))
