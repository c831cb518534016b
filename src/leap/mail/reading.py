"""Reads messages of an account: ranges of the octets, and opened header records.

Header records of messages that came by sync are opened in the background, newest first, and at once when somebody asks.
While sync fetches them by itself, they are opened as they come; else they are fetched from here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from typing import Literal

import msgspec

from leap.mail.answers import PartTree
from leap.mail.contract import (
    ContentUnavailable,
    MessageMetadata,
    NoSuchMessage,
    RowId,
    SecurityStatus,
)
from leap.mail.message.chosen_fields import chosen_fields, field_names
from leap.mail.message.kept_fields import MOST_KEPT, are_kept, kept_fields
from leap.mail.model import decode_record, part_tree
from leap.mail.projection import DirectoryReader
from leap.mail.remembered import Remembered
from leap.mail.sorting.keys import sort_keys
from leap.mail.storing import account_errors, keep_fields, keep_metadata
from leap.mail.threads.facts import facts_of
from leap.mail.threads.listed import follow_listed
from leap.soledad.blobs import BlobRef
from leap.soledad.blobs.packs import Placed
from leap.soledad.blobs.reader import FindSpans, Span
from leap.soledad.errors import BlobAltered, SoledadError
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad, work_in_background

METADATA_KEPT = 16 * 1024 * 1024  # octets: some 10,000 messages
FIELDS_KEPT = 8 * 1024 * 1024  # of each list of names
FIELD_LISTS = 2  # every program has its own list of names, and asks for it again and again
BATCH = 200  # header records opened in one go: about 2 MB at most, mostly 200 kB
RETRY_SECONDS = 30.0  # between attempts while the provider cannot be reached

_log = logging.getLogger(__name__)
_METADATA = (
    "SELECT j.value, i.header_id, m.envelope, m.body, m.body_structure, m.header_size, m.subject, m.preview,"
    " m.security FROM json_each(?) j LEFT JOIN mail_index i ON i.row_id = j.value"
    " LEFT JOIN mail_metadata m ON m.header_id = i.header_id ORDER BY j.key"
)
_FIELDS = (
    "SELECT j.value, i.header_id, h.fields FROM json_each(?) j LEFT JOIN mail_index i ON i.row_id = j.value"
    " LEFT JOIN mail_header h ON h.header_id = i.header_id"
)
_CONTENTS = (
    "SELECT r.row_id, r.content_id, r.content_sha256, r.content_size FROM json_each(?) j"
    " CROSS JOIN mail_row r ON r.row_id = j.value WHERE r.deleted = 0"
)
# The same with where each lies, if it is what was kept: one question where thousands are read
_PLACED = (
    "SELECT r.row_id, r.content_id, r.content_sha256, r.content_size, b.pack, b.place, b.length FROM json_each(?) j"
    " CROSS JOIN mail_row r ON r.row_id = j.value LEFT JOIN blob b"
    " ON b.blob_id = r.content_id AND b.sha256 = r.content_sha256 WHERE r.deleted = 0"
)
_HEADERS = (
    "SELECT DISTINCT r.header_id, r.header_sha256, r.header_size FROM json_each(?) j"
    " CROSS JOIN mail_row r ON r.row_id = j.value"
)
_WANTED = (
    "SELECT r.header_id, r.header_sha256, r.header_size FROM"
    " (SELECT header_id, internal_date FROM mail_header_wanted ORDER BY internal_date DESC LIMIT ? OFFSET ?) w"
    " CROSS JOIN mail_index i ON i.header_id = w.header_id CROSS JOIN mail_row r ON r.row_id = i.row_id"
    " GROUP BY r.header_id ORDER BY max(w.internal_date) DESC"
)
_ARRIVED = "SELECT w.header_id FROM json_each(?) j CROSS JOIN mail_header_wanted w ON w.header_id = j.value"

_SHOWN = "SELECT 1 FROM mail_index WHERE header_id = ? LIMIT 1"


class MessageReader:
    """The reading side of one account."""

    def __init__(self, store: Soledad, on_read: Callable[[Sequence[BlobRef]], None]) -> None:
        """`on_read` hears of contents that were read, and so are here."""
        self._store = store
        self._on_read = on_read
        self._directory = DirectoryReader()
        self._more = asyncio.Event()
        self._filling: asyncio.Task[None] | None = None
        self._arrived: list[BlobRef] = []  # blobs that sync brought, some of them header records
        self._arrived_at = float("-inf")
        self._metadata = Remembered[MessageMetadata](METADATA_KEPT, _octets)
        self._fields: dict[
            frozenset[bytes], Remembered[bytes]
        ] = {}  # by names; last asked comes last

    async def content_ref(
        self, row_id: RowId, kind: Literal["content", "original", "header"] = "content"
    ) -> BlobRef | None:
        """Where a message's octets lie; None when it has no original. Raises NoSuchMessage."""
        with account_errors():
            return await self._store.read(lambda c: _ref(c, row_id, kind))

    async def read(self, row_id: RowId, start: int, length: int | None) -> bytes:
        """A range of the octets served; beyond the end there is nothing."""

        def find(connection: Connection) -> list[Span]:
            ref = _content(connection, row_id)
            begin = min(max(0, start), ref.size)
            end = ref.size if length is None else min(ref.size, begin + max(0, length))
            return [Span(ref, begin, end)] if begin < end else []

        return b"".join(await self._read_spans(find))

    async def read_many(self, row_ids: Sequence[RowId]) -> list[bytes]:
        """All octets of each, by one hop for those that are here."""

        return await self._read_spans(lambda connection: _whole(connection, row_ids))

    async def _read_spans(self, find: FindSpans) -> list[bytes]:
        spans: list[Span] = []

        def noting(connection: Connection) -> Sequence[Span]:
            spans[:] = find(connection)
            return spans

        with account_errors():
            found = await self._store.read_spans(noting)
        self._on_read([span.ref for span in spans])
        return found

    async def header_fields(self, row_ids: Sequence[RowId], names: Sequence[bytes]) -> list[bytes]:
        """The fields of these names of each message, in the order asked."""
        chosen = field_names(names)
        remembered = self._fields.pop(chosen, None) or Remembered[bytes](FIELDS_KEPT, _octets_of)
        self._fields[chosen] = remembered
        if len(self._fields) > FIELD_LISTS:
            del self._fields[next(iter(self._fields))]
        load = self._load_kept if are_kept(chosen) else self._load_headers
        return await remembered.find(row_ids, partial(load, chosen=chosen))

    async def _load_headers(
        self, row_ids: Sequence[RowId], chosen: frozenset[bytes]
    ) -> list[bytes]:
        """From the messages."""
        return [chosen_fields(header, chosen) for header in await self._headers(row_ids)]

    async def _headers(self, row_ids: Sequence[RowId]) -> list[bytes]:
        described = await self.metadata(row_ids)

        def find(connection: Connection) -> list[Span]:
            refs = _contents(connection, [its.row_id for its in described])
            sizes = [its.header_size for its in described]
            return [
                Span(ref, 0, min(size, ref.size)) for ref, size in zip(refs, sizes, strict=True)
            ]

        return await self._read_spans(find)

    async def _load_kept(self, row_ids: Sequence[RowId], chosen: frozenset[bytes]) -> list[bytes]:
        """From what is kept beside the metadata; what an older version stored without is kept from now on."""
        fields, absent = await self._kept_fields(row_ids)
        if absent:
            await self.metadata(list(absent))  # opens header records, which may have them
            more, absent = await self._kept_fields(list(absent))
            fields.update(more)
        if absent:
            made = [kept_fields(header) for header in await self._headers(list(absent))]
            fields.update(zip(absent, made, strict=True))
            kept = [
                (header_id, its)
                for header_id, its in zip(absent.values(), made, strict=True)
                if len(its) <= MOST_KEPT
            ]
            with account_errors():
                await self._store.write(lambda c: keep_fields(c, kept))
        return [chosen_fields(fields[row_id], chosen) for row_id in row_ids]

    async def _kept_fields(
        self, row_ids: Sequence[RowId]
    ) -> tuple[dict[RowId, bytes], dict[RowId, str]]:
        """Those that are kept, and the header records of the other rows."""
        listed = json.dumps(list(row_ids))
        with account_errors():
            found = await self._store.read(lambda c: c.execute(_FIELDS, (listed,)).fetchall())
        if any(header_id is None for _, header_id, _ in found):
            raise NoSuchMessage("The message was expunged.")
        return (
            {RowId(row_id): fields for row_id, _, fields in found if fields},
            {RowId(row_id): header_id for row_id, header_id, fields in found if not fields},
        )

    def forget(self, row_ids: Iterable[RowId]) -> None:
        """These rows went, or show another message."""
        gone = list(row_ids)
        self._metadata.forget(gone)
        for remembered in self._fields.values():
            remembered.forget(gone)

    async def structure(self, row_id: RowId) -> PartTree:
        """From the header record. Raises NoSuchMessage, ContentUnavailable."""
        ref = await self.content_ref(row_id, "header")
        if ref is None:
            raise ContentUnavailable("This message has no header record.")
        with account_errors():
            data = await self._store.read_blob(ref)
        return part_tree(decode_record(data).tree)

    async def metadata(self, row_ids: Sequence[RowId]) -> list[MessageMetadata]:
        """In the order asked. Raises NoSuchMessage, ContentUnavailable."""
        return await self._metadata.find(row_ids, self._load_metadata)

    async def _load_metadata(self, row_ids: Sequence[RowId]) -> list[MessageMetadata]:
        listed = json.dumps(list(row_ids))
        for _ in range(2):
            with account_errors():
                found, absent = await self._store.read(
                    lambda connection: _find_metadata(connection, listed)
                )
            if not absent:
                return found
            await self.open_headers([RowId(row_id) for row_id in absent])
        raise ContentUnavailable("A message's header record cannot be found.")

    # -- header records that came by sync

    def start(self) -> None:
        """Opens header records in the background from now on."""
        self._more.set()
        self._unsubscribe = self._store.on_fetched(self._follow)
        self._filling = asyncio.create_task(self._fill(), name="mail header records")

    def more_arrived(self) -> None:
        self._more.set()

    def _follow(self, refs: Sequence[BlobRef]) -> None:
        self._arrived += refs
        self._arrived_at = asyncio.get_running_loop().time()
        self._more.set()

    async def close(self) -> None:
        if self._filling is not None:
            self._unsubscribe()
            self._filling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._filling

    async def _fill(self) -> None:
        work_in_background()
        complete = True
        while True:
            with contextlib.suppress(TimeoutError):
                # What the provider did not give may come without a change that we would hear of
                async with asyncio.timeout(None if complete else RETRY_SECONDS):
                    await self._more.wait()
            self._more.clear()
            try:
                complete = await self._fill_once()
            except (SoledadError, ContentUnavailable) as error:
                _log.debug("header records wait: %s", type(error).__name__)
                complete = False
            except Exception:
                _log.exception("header records could not be opened")
                complete = False

    async def _fill_once(self) -> bool:
        """Opens what is here, then what is not; False if sync is about to bring the rest."""
        passed = 0  # those that cannot be read stay, and are passed over
        while True:
            while self._arrived:
                now, self._arrived = self._arrived[:BATCH], self._arrived[BATCH:]
                await self._keep(await self._store.read(partial(_headers_among, refs=now)))
            if asyncio.get_running_loop().time() - self._arrived_at < RETRY_SECONDS:
                return False
            refs = await self._store.read(
                lambda c: [BlobRef(*found) for found in c.execute(_WANTED, (BATCH, passed))]  # noqa: B023
            )
            if not refs:
                return True
            passed += await self._keep(refs)

    async def open_headers(self, row_ids: Sequence[RowId]) -> None:
        """Opens the header records of rows now. Raises ContentUnavailable."""
        listed = json.dumps(list(row_ids))
        with account_errors():
            refs = await self._store.read(
                lambda c: [BlobRef(*found) for found in c.execute(_HEADERS, (listed,)) if found[0]]
            )
            for first in range(0, len(refs), BATCH):
                await self._keep(refs[first : first + BATCH], strict=True)

    async def _keep(self, refs: Sequence[BlobRef], *, strict: bool = False) -> int:
        """Opens and keeps header records; answers how many could not be, unless `strict` raises that."""
        if not refs:
            return 0
        failed = 0
        pairs: list[tuple[BlobRef, bytes]] = []
        try:
            pairs = list(zip(refs, await self._store.read_blobs(refs), strict=True))
        except BlobAltered:
            if strict:
                raise
            for ref in refs:  # one of them: the others are still good
                try:
                    pairs.append((ref, await self._store.read_blob(ref)))
                except BlobAltered:
                    failed += 1
        records = []
        for ref, data in pairs:
            try:
                record = decode_record(data)
            except ContentUnavailable:
                if strict:
                    raise
                failed += 1
                continue
            facts = facts_of(record)
            records.append((ref.blob_id, record, facts, sort_keys(record, facts)))

        def job(connection: Connection) -> None:
            # the last message with it may have been expunged while it was read
            still = [one for one in records if connection.execute(_SHOWN, one[:1]).fetchone()]
            keep_metadata(connection, still)
            opened = [header_id for header_id, _, _, _ in still]
            follow_listed(connection, opened, self._directory.read(connection))

        await self._store.write(job)
        return failed


def _octets_of(fields: bytes) -> int:
    return len(fields) + 150


def _octets(metadata: MessageMetadata) -> int:
    """About what one takes in memory."""
    return (
        600
        + len(metadata.envelope)
        + len(metadata.body)
        + len(metadata.body_structure)
        + len(metadata.preview)
        + len(metadata.subject)
    )


def _ref(connection: Connection, row_id: RowId, kind: str) -> BlobRef | None:
    found = connection.execute(
        f"SELECT {kind}_id, {kind}_sha256, {kind}_size FROM mail_row WHERE row_id = ? AND deleted = 0",  # noqa: S608
        (row_id,),
    ).fetchone()
    if found is None:
        raise NoSuchMessage("The message was expunged.")
    return BlobRef(*found) if found[0] else None


def _content(connection: Connection, row_id: RowId) -> BlobRef:
    ref = _ref(connection, row_id, "content")
    if ref is None:
        raise ContentUnavailable("This message has no content.")
    return ref


def _contents(connection: Connection, row_ids: Sequence[RowId]) -> list[BlobRef]:
    """Of all of them, by one question."""
    found = {
        row_id: BlobRef(*ref) if ref[0] else None
        for row_id, *ref in connection.execute(_CONTENTS, (json.dumps(row_ids),))
    }
    return [found.get(row_id) or _content(connection, row_id) for row_id in row_ids]


def _whole(connection: Connection, row_ids: Sequence[RowId]) -> list[Span]:
    """All octets of each, with their places."""
    found = {
        row_id: Span(BlobRef(blob_id, sha256, size), 0, size, pack and Placed(pack, place, length))
        for row_id, blob_id, sha256, size, pack, place, length in connection.execute(
            _PLACED, (json.dumps(row_ids),)
        ).fetchall()
        if blob_id
    }
    spans: list[Span] = []
    for row_id in row_ids:
        span = found.get(row_id)
        if span is None:  # which says why
            ref = _content(connection, row_id)
            span = Span(ref, 0, ref.size)
        spans.append(span)
    return spans


def _headers_among(connection: Connection, refs: Sequence[BlobRef]) -> list[BlobRef]:
    """Those blobs which are header records that were not opened yet."""
    listed = json.dumps([ref.blob_id for ref in refs])
    wanted = {header_id for (header_id,) in connection.execute(_ARRIVED, (listed,))}
    return [ref for ref in refs if ref.blob_id in wanted]


def _find_metadata(connection: Connection, listed: str) -> tuple[list[MessageMetadata], list[str]]:
    """Those that are open, and the rows of those that are not."""
    out: list[MessageMetadata] = []
    absent: list[str] = []
    for (
        row_id,
        header_id,
        envelope,
        body,
        structure,
        size,
        subject,
        preview,
        security,
    ) in connection.execute(_METADATA, (listed,)):
        if header_id is None:
            raise NoSuchMessage("The message was expunged.")
        if envelope is None:
            absent.append(row_id)
            continue
        out.append(
            MessageMetadata(
                row_id=row_id,
                envelope=envelope,
                body=body,
                body_structure=structure,
                header_size=size,
                subject=subject,
                preview=preview,
                security=_security(security),
            )
        )
    return out, absent


@lru_cache(maxsize=1024)
def _security(data: bytes) -> SecurityStatus:
    return msgspec.msgpack.decode(data, type=SecurityStatus)
