"""FETCH answers made in columns: the values of one item for many messages, then one format for all lines.

Invariants: UID stands first in every answer, whoever asked for it; the other items follow in the order asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from leap.mail.contract import MessageMetadata, MessageRow, RowId, Uid
from leap.mail.imap.session.sections import sliced
from leap.mail.imap.tracker import MailboxView, SeqNum
from leap.mail.imap.wire.dates import format_date_time
from leap.mail.imap.wire.fetching import BodySection, FetchItem, Preview
from leap.mail.imap.wire.responses import flag_list, literal, nstring, object_id

Metadata = Mapping[RowId, MessageMetadata]
Fields = Mapping[tuple[bytes, ...], Mapping[RowId, bytes]]  # by names
Saved = Mapping[Uid, bytes]  # SAVEDATE as it is told


def lines(
    view: MailboxView,
    numbers: Sequence[SeqNum],
    rows: Sequence[MessageRow],
    items: Sequence[FetchItem],
    metadata: Metadata,
    fields: Fields,
    *,
    saved: Saved,
    uid_only: bool,
) -> bytes:
    """The whole answers, for items that need no content; `items` are without UID."""
    head = b"* %d UIDFETCH (UID %d" if uid_only else b"* %d FETCH (UID %d"  # RFC 9586 3.3
    form = head + b"".join(b" " + form_of(item) for item in items) + b")\r\n"
    columns = [column(item, view, rows, metadata, fields, saved) for item in items]
    uids = [row.uid for row in rows]
    firsts: Sequence[int] = uids if uid_only else numbers
    return b"".join([form % values for values in zip(firsts, uids, *columns, strict=True)])


def value(
    item: FetchItem, view: MailboxView, row: MessageRow, metadata: Metadata, saved: Saved
) -> bytes:
    """One item of one message."""
    made: bytes = form_of(item) % column(item, view, [row], metadata, {}, saved)[0]
    return made


def form_of(item: FetchItem) -> bytes:
    if isinstance(item, BodySection):
        return label(item).replace(b"%", b"%%") + b" %b"
    if isinstance(item, Preview):
        return b"PREVIEW %b"
    match item:
        case "RFC822.SIZE":
            return b"RFC822.SIZE %d"
        case "MODSEQ":
            return b"MODSEQ (%d)"
        case "EMAILID":  # RFC 8474 5.1
            return b"EMAILID (%b)"
        case "SAVEDATE":
            return b"%b"
        case _:
            return item.encode("ascii") + b" %b"


def column(
    item: FetchItem,
    view: MailboxView,
    rows: Sequence[MessageRow],
    metadata: Metadata,
    fields: Fields,
    saved: Saved,
) -> list[Any]:
    """The values of an item, for `form_of`."""
    if isinstance(item, BodySection):
        its = fields[item.fields]
        return [literal(sliced(its[row.row_id], item.partial)) for row in rows]
    if isinstance(
        item, Preview
    ):  # RFC 8970 3.1: NIL only to those who said that they can ask again
        found = [metadata.get(row.row_id) for row in rows]
        return [nstring(its.preview.encode("utf-8", "replace") if its else None) for its in found]
    match item:
        case "FLAGS":
            return flags(view, rows)
        case "MODSEQ":
            return [row.modseq for row in rows]
        case "EMAILID":
            return [object_id(row.message_id) for row in rows]
        case "THREADID":  # RFC 8474 5.2: threads have no ids here
            return [b"NIL"] * len(rows)
        case "INTERNALDATE":
            return [format_date_time(row.internal_date, row.zone) for row in rows]
        case "SAVEDATE":
            return [saved[row.uid] for row in rows]
        case "RFC822.SIZE":
            return [row.size for row in rows]
        case "ENVELOPE":
            return [metadata[row.row_id].envelope for row in rows]
        case "BODY":
            return [metadata[row.row_id].body for row in rows]
        case _:
            return [metadata[row.row_id].body_structure for row in rows]


def flags(view: MailboxView, rows: Sequence[MessageRow]) -> list[bytes]:
    """Few different sets of flags among many messages: each is written once."""
    kinds = {row.flags for row in rows}
    written = {kind: flag_list(kind) for kind in kinds}
    recent = view.recent
    if not recent:
        return [written[row.flags] for row in rows]
    shown = {kind: flag_list((*kind, "\\Recent")) for kind in kinds}
    return [(shown if row.uid in recent else written)[row.flags] for row in rows]


def label(item: BodySection) -> bytes:
    """What an answer calls a section."""
    return item.label if item.partial is None else item.label + b"<%d>" % item.partial[0]
