"""Exports mail: the messages of mailboxes, byte for byte, to whoever writes files.

Which octets: those of the source for a message that was imported from files; else those that are served, with LF for
CRLF as programs on Unix keep mail, where that can be undone. `line_ends` "crlf" gives what is served, "lf" the other.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from leap.mail.contract import ContentUnavailable, MailboxInfo, MessageRow, NoSuchMessage, RowId
from leap.mail.local import LocalAccount
from leap.mail.model import decode_record
from leap.mail.porting.found import Oddity
from leap.mail.porting.importing import Progress
from leap.mail.porting.line_ends import source_form, unix_form
from leap.mail.porting.report import PortingReport
from leap.mail.porting.writing import ExportTarget, MailboxWriter, Outgoing
from leap.mail.storing import account_errors
from leap.soledad.blobs import BlobRef
from leap.soledad.sqlite import Connection

LineEnds = Literal["source", "lf", "crlf"]
MOST_MESSAGES = 100
MOST_OCTETS = 8 * 1024 * 1024


@dataclass(frozen=True)
class ExportOptions:
    """`line_ends`: "source", "lf", "crlf"; see the module."""

    line_ends: LineEnds = "source"
    dry_run: bool = False


class _Places(NamedTuple):
    """Where the record and the octets of a message lie."""

    header: BlobRef
    content: BlobRef
    original: BlobRef | None


async def export_mail(
    account: LocalAccount,
    target: ExportTarget,
    mailboxes: Sequence[MailboxInfo],
    options: ExportOptions,
    report: PortingReport,
    *,
    progress: Progress = lambda what, done, total: None,
) -> None:
    """Writes what is not there yet; `report` says what happened, also when this raises OSError or AccountError."""
    rows = [(info, await account.rows(info.mailbox_id)) for info in mailboxes]
    total = sum(len(of_one) for _, of_one in rows)
    done = 0
    for info, of_one in rows:
        if options.dry_run:
            report.add(info.name, len(of_one), sum(row.size for row in of_one))
            continue
        if not of_one:
            continue  # no empty folders
        writer = await asyncio.to_thread(target.writer, info.name)
        try:
            missing = [row for row in of_one if not writer.has(row.row_id)]
            report.present += len(of_one) - len(missing)
            done += len(of_one) - len(missing)
            for batch in _batches(missing):
                await _write(account, writer, info, batch, options, report)
                done += len(batch)
                progress("messages", done, total)
        finally:
            await asyncio.to_thread(writer.close)


def _batches(rows: Sequence[MessageRow]) -> list[list[MessageRow]]:
    out: list[list[MessageRow]] = []
    octets = 0
    for row in rows:
        if not out or len(out[-1]) >= MOST_MESSAGES or octets + row.size > MOST_OCTETS:
            out.append([])
            octets = 0
        out[-1].append(row)
        octets += row.size
    return out


async def _write(
    account: LocalAccount,
    writer: MailboxWriter,
    info: MailboxInfo,
    rows: Sequence[MessageRow],
    options: ExportOptions,
    report: PortingReport,
) -> None:
    with account_errors():
        places = await account.store.read(lambda c: _places(c, [row.row_id for row in rows]))
    messages = []
    for row in rows:
        place = places.get(row.row_id)
        if place is None:
            continue  # it was expunged meanwhile
        try:
            octets = await _octets(account, place, options.line_ends)
        except NoSuchMessage:
            continue
        except ContentUnavailable as error:
            report.tell(Oddity("unavailable", f"{info.name}, uid {row.uid}", str(error)))
            continue
        messages.append(Outgoing(row.row_id, octets, row.flags, row.internal_date))
    odd: list[Oddity] = []
    written = await asyncio.to_thread(writer.add, messages, odd.append)
    for oddity in odd:
        report.tell(oddity)
    report.present += len(messages) - len(written)
    if written:
        report.add(info.name, len(written), sum(len(one.octets) for one in written))


async def _octets(account: LocalAccount, place: _Places, line_ends: LineEnds) -> bytes:
    with account_errors():
        served = await account.store.read_blob(place.content)
        if line_ends == "crlf":
            return served
        if line_ends == "lf":
            return unix_form(served)
        imported_as = decode_record(await account.store.read_blob(place.header)).imported_as
        if imported_as == "mixed" and place.original is not None:
            return await account.store.read_blob(place.original)
    return source_form(served, imported_as) if imported_as else unix_form(served)


def _places(connection: Connection, row_ids: Sequence[RowId]) -> dict[RowId, _Places]:
    out: dict[RowId, _Places] = {}
    for row_id, *refs in connection.execute(
        "SELECT r.row_id, r.header_id, r.header_sha256, r.header_size, r.content_id, r.content_sha256,"
        " r.content_size, r.original_id, r.original_sha256, r.original_size FROM json_each(?) j"
        " CROSS JOIN mail_row r ON r.row_id = j.value WHERE r.deleted = 0 AND r.content_id IS NOT NULL",
        (json.dumps(list(row_ids)),),
    ):
        original = BlobRef(*refs[6:]) if refs[6] else None
        out[RowId(row_id)] = _Places(BlobRef(*refs[:3]), BlobRef(*refs[3:6]), original)
    return out
