"""How mail lies in Soledad: mailbox documents, rows of messages, header records and contents as blobs.

    document "mailbox-<id>"   {"type": "mailbox", "name", "special_use", "subscribed"}          mutable, merged by field
    row in `mail_row`         mailbox, flags, tags (mutable); message, blobs, date, size (fixed)
    blob, header record       HeaderRecord as MessagePack: made once, at storage
    blob, content             the exact octets served; a second one for the original of an encrypted mail, or of an
                              imported one whose lines end in LF and in CRLF

Invariants:
* What is immutable (octets, header record) is never written twice; what is mutable is small.
* Documents of mailboxes with a fixed id hold only what differs from the default, so that two devices which make
  them at the same moment do not undo each other's change.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from typing import Any

import msgspec

from leap.mail.answers import PartTree
from leap.mail.contract import (
    INBOX,
    SPECIAL_USE,
    ContentUnavailable,
    MailboxId,
    MailboxInfo,
    MessageMetadata,
    RowId,
    SecurityStatus,
)
from leap.mail.message import Message, Part, metadata_of
from leap.mail.message.header import message_ids
from leap.mail.message.kept_fields import MOST_KEPT, kept_fields
from leap.soledad.blobs import BlobRef
from leap.soledad.rows import RowSchema

MAILBOX_TYPE = "mailbox"
_DOC_PREFIX = "mailbox-"
MAX_REFERENCES = 200  # a conversation longer than this still hangs together by the newest ones

MAIL_ROWS = RowSchema(
    name="mail_row",
    fixed=(
        "message_id",
        "header_id",
        "header_sha256",
        "header_size",
        "content_id",
        "content_sha256",
        "content_size",
        "original_id",
        "original_sha256",
        "original_size",
        "internal_date",
        "zone",
        "size",
    ),
    scalars=("mailbox",),
    sets=("flags", "tags"),
    place="mailbox",
    blobs=(
        ("header_id", "header_sha256", "header_size"),
        ("content_id", "content_sha256", "content_size"),
        ("original_id", "original_sha256", "original_size"),
    ),
    newest="internal_date",
)

HEADERS = 1  # of the blobs of a row, so many stay on each device: lists and searches of headers read them all

# Mailboxes every account has from the start, without any document: two devices agree on them unasked
DEFAULTS: dict[MailboxId, MailboxInfo] = {
    INBOX: MailboxInfo(mailbox_id=INBOX, name="INBOX"),
    **{
        mailbox_id: MailboxInfo(mailbox_id=mailbox_id, name=name, special_use=use)
        for mailbox_id, (name, use) in SPECIAL_USE.items()
    },
}


def new_mailbox_id(random: Callable[[int], bytes] = secrets.token_bytes) -> MailboxId:
    """A random id. It begins with "x", behind all fixed ids: of two with one name the lowest wins."""
    return MailboxId("x" + random(16).hex())


def mailbox_doc_id(mailbox_id: MailboxId) -> str:
    return _DOC_PREFIX + mailbox_id


def mailbox_id_of(doc_id: str) -> MailboxId | None:
    """The mailbox a document is about, or None when it is about something else."""
    return MailboxId(doc_id[len(_DOC_PREFIX) :]) if doc_id.startswith(_DOC_PREFIX) else None


def mailbox_info(mailbox_id: MailboxId, content: dict[str, Any] | None) -> MailboxInfo | None:
    """What a mailbox's document says, defaults filled in; None when it is deleted or says nothing usable."""
    default = DEFAULTS.get(mailbox_id)
    if content is None:
        return default
    if content.get("deleted") is True and mailbox_id != INBOX:
        return None
    name = content.get("name", default.name if default else None)
    if not isinstance(name, str) or not name:
        return default
    use = content.get("special_use", default.special_use if default else None)
    return MailboxInfo(
        mailbox_id=mailbox_id,
        name="INBOX" if mailbox_id == INBOX else name,
        special_use=use if isinstance(use, str) else None,
        subscribed=content.get("subscribed", True) is not False,
    )


def mailbox_content(info: MailboxInfo) -> dict[str, Any]:
    """The document of a mailbox: all of it for one with a random id, else what differs from the default."""
    content: dict[str, Any] = {"type": MAILBOX_TYPE}
    default = DEFAULTS.get(info.mailbox_id)
    if default is None or info.name != default.name:
        content["name"] = info.name
    if info.special_use != (default.special_use if default else None):
        content["special_use"] = info.special_use
    if info.subscribed is not (default.subscribed if default else True) or default is None:
        content["subscribed"] = info.subscribed
    return content


class PartRecord(msgspec.Struct, frozen=True, array_like=True):
    """One part of the MIME tree as stored: offsets into the content blob."""

    header_start: int
    body_start: int
    end: int
    content_type: str
    encoding: str
    children: tuple[PartRecord, ...] = ()


class HeaderRecord(msgspec.Struct, frozen=True, kw_only=True):
    """All that lists, IMAP and threads ask about a message without opening its content."""

    format: int = 1
    size: int
    sha256: bytes  # of the octets served
    header_size: int
    envelope: bytes
    body: bytes
    body_structure: bytes
    subject: str
    preview: str
    date: int | None  # what its Date field says, seconds since 1970
    internet_id: str  # its Message-ID, "" without one
    references: tuple[str, ...]
    security: SecurityStatus
    tree: PartRecord
    fields: bytes = b""  # of its header those that lists ask for: `leap.mail.message.kept_fields`
    imported_as: str = ""  # line ends at the source of an import: `leap.mail.porting.line_ends`

    def metadata(self, row_id: RowId) -> MessageMetadata:
        return MessageMetadata(
            row_id=row_id,
            envelope=self.envelope,
            body=self.body,
            body_structure=self.body_structure,
            header_size=self.header_size,
            subject=self.subject,
            preview=self.preview,
            security=self.security,
        )


def header_record(raw: bytes, security: SecurityStatus) -> HeaderRecord:
    """Everything derived from a message at storage; CPU about 1 ms for 100 kB, never raises."""
    return record_of(Message(raw), security)


def record_of(message: Message, security: SecurityStatus) -> HeaderRecord:
    """The same of a message already at hand, whose tree is then scanned only once."""
    raw = message.raw
    made = metadata_of(message, RowId(""), security)
    date = message.date
    own = message.field("message-id")
    ids = message_ids(own.value) if own else []
    fields = kept_fields(raw[: made.header_size])
    return HeaderRecord(
        size=len(raw),
        sha256=hashlib.sha256(raw).digest(),
        header_size=made.header_size,
        envelope=made.envelope,
        body=made.body,
        body_structure=made.body_structure,
        subject=made.subject,
        preview=made.preview,
        date=date.seconds if date else None,
        internet_id=ids[0] if ids else "",
        references=tuple(message.references[-MAX_REFERENCES:]),
        security=security,
        tree=_part_record(message.root),
        fields=fields if len(fields) <= MOST_KEPT else b"",
    )


def encode_record(record: HeaderRecord) -> bytes:
    return msgspec.msgpack.encode(record)


def decode_record(data: bytes) -> HeaderRecord:
    """Raises ContentUnavailable for what is no header record of a format this version knows."""
    try:
        return msgspec.msgpack.decode(data, type=HeaderRecord)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ContentUnavailable(
            "A message's header record cannot be read by this version."
        ) from error


def part_tree(record: PartRecord) -> PartTree:
    """The tree of a header record as an account answers it."""
    return PartTree(
        header_start=record.header_start,
        body_start=record.body_start,
        end=record.end,
        content_type=record.content_type,
        encoding=record.encoding,
        children=tuple(part_tree(child) for child in record.children),
    )


def _part_record(part: Part) -> PartRecord:
    return PartRecord(
        part.header_start,
        part.body_start,
        part.end,
        part.content_type,
        part.encoding,
        tuple(_part_record(child) for child in part.children),
    )


def blob_values(kind: str, ref: BlobRef | None) -> dict[str, Any]:
    """The columns of a row which refer to a blob."""
    if ref is None:
        return {}
    return {f"{kind}_id": ref.blob_id, f"{kind}_sha256": ref.sha256, f"{kind}_size": ref.size}
