"""Makes a message ready for its transaction: header record and sealed blobs, without holding up the event loop."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec

from leap.keymanager.openpgp import offload
from leap.mail.contract import (
    AccountError,
    AccountUnavailable,
    ContentUnavailable,
    SecurityStatus,
    StorageFull,
    TooLarge,
)
from leap.mail.message import Message
from leap.mail.model import HeaderRecord, blob_values, encode_record, record_of
from leap.mail.search.tables import keep_terms
from leap.mail.search.texts import search_terms
from leap.mail.search.words import Terms
from leap.mail.sorting.keys import SortKeys, sort_keys
from leap.mail.sorting.tables import keep_sort_keys
from leap.mail.threads.facts import Facts, facts_of
from leap.mail.threads.following import keep_facts
from leap.soledad.blobs import SealedBlob
from leap.soledad.blobs.format import seal_blob
from leap.soledad.envelope import Epoch
from leap.soledad.errors import (
    BlobAltered,
    NotOpen,
    SoledadError,
    StoreFull,
    UnknownSuite,
    Unreachable,
)
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.transaction import Transaction
from leap.soledad.wire import MAX_MESSAGE_BYTES

MAX_SERVED_BYTES = (
    2 * MAX_MESSAGE_BYTES
)  # decrypted mail may be larger than what came: it was compressed
LOCAL = SecurityStatus(encryption="local")
MANY = 100  # messages in one call from which on another process does it, and so many at a time
INLINE_OCTETS = 16 * 1024  # parsed and sealed in about a millisecond; more leaves the event loop


class Prepared(NamedTuple):
    """A message whose parsing and sealing is done."""

    record: HeaderRecord
    terms: Terms
    facts: Facts
    keys: SortKeys
    header: SealedBlob
    content: SealedBlob
    original: SealedBlob | None

    @property
    def _columns(self) -> dict[str, Any]:
        return {
            **blob_values("header", self.header.ref),
            **blob_values("content", self.content.ref),
            **blob_values("original", self.original.ref if self.original else None),
            "size": self.record.size,
        }


def keep_all(tx: Transaction, messages: Sequence[tuple[Prepared, int]]) -> list[dict[str, Any]]:
    """Puts blobs, opened header records and search terms of messages into the transaction, each with its internal
    date; answers the fixed columns of their rows."""
    tx.put_blobs(
        blob
        for made, _ in messages
        for blob in (made.header, made.content, made.original)
        if blob is not None
    )
    keep_metadata(
        tx.connection,
        [(made.header.ref.blob_id, made.record, made.facts, made.keys) for made, _ in messages],
    )
    keep_terms(
        tx.connection, [(made.header.ref.blob_id, date, made.terms) for made, date in messages]
    )
    return [made._columns for made, _ in messages]


def check_size(raw: bytes, limit: int) -> None:
    if len(raw) > limit:
        raise TooLarge(f"A message has at most {limit // (1024 * 1024)} MiB.")


def prepare_now(
    raw: bytes,
    security: SecurityStatus,
    original: bytes | None,
    *,
    account: str,
    epoch: Epoch,
    imported_as: str = "",
) -> Prepared:
    """Parses and seals a message in place, for threads and processes other than the event loop's."""
    record, terms = _derived(raw, security)
    if imported_as:
        record = msgspec.structs.replace(record, imported_as=imported_as)
    seal = partial(seal_blob, account=account, epoch=epoch)
    facts = facts_of(record)
    return Prepared(
        record,
        terms,
        facts,
        sort_keys(record, facts),
        seal(encode_record(record)),
        seal(raw),
        None if original is None else seal(original),
    )


def _derived(raw: bytes, security: SecurityStatus) -> tuple[HeaderRecord, Terms]:
    message = Message(raw)
    return record_of(message, security), search_terms(message)


async def prepare(
    store: Soledad,
    raw: bytes,
    security: SecurityStatus,
    original: bytes | None = None,
    *,
    limit: int = MAX_MESSAGE_BYTES,
) -> Prepared:
    """Parses and seals a message of at most `limit` octets. Raises TooLarge."""
    check_size(raw, limit)
    if len(raw) <= INLINE_OCTETS:
        record, terms = _derived(raw, security)
    else:
        record, terms = await asyncio.to_thread(_derived, raw, security)
    facts = facts_of(record)
    return Prepared(
        record,
        terms,
        facts,
        sort_keys(record, facts),
        await store.seal_blob(encode_record(record)),
        await store.seal_blob(raw),
        None if original is None else await store.seal_blob(original),
    )


class Preparing:
    """Prepares messages a few at a time, however many wait, so that the event loop gets its turns."""

    def __init__(self, store: Soledad) -> None:
        self._store = store
        self._turn = asyncio.Semaphore(
            2
        )  # two: one parses while the other's sealing runs in a thread

    async def one(
        self,
        raw: bytes,
        security: SecurityStatus,
        original: bytes | None = None,
        *,
        limit: int = MAX_MESSAGE_BYTES,
    ) -> Prepared:
        """Raises TooLarge."""
        async with self._turn:
            made = await prepare(self._store, raw, security, original, limit=limit)
            await asyncio.sleep(0)
            return made

    async def all(self, raws: Sequence[bytes], security: SecurityStatus) -> list[Prepared]:
        """Raises TooLarge before any work is done."""
        for raw in raws:
            check_size(raw, MAX_MESSAGE_BYTES)
        if len(raws) < MANY:
            return [await self.one(raw, security) for raw in raws]
        account, epoch = self._store.sealing_keys
        out: list[Prepared] = []
        async with self._turn:
            for first in range(0, len(raws), MANY):
                batch = raws[first : first + MANY]
                out += await offload.run_batch(_prepare_all, batch, security, account, epoch)
        return out


def _prepare_all(
    raws: Sequence[bytes], security: SecurityStatus, account: str, epoch: Epoch
) -> list[Prepared]:
    return [prepare_now(raw, security, None, account=account, epoch=epoch) for raw in raws]


def keep_metadata(
    connection: Connection, records: Sequence[tuple[str, HeaderRecord, Facts, SortKeys]]
) -> None:
    """Keeps opened header records (by their blob's id), and what was found in them, where lists find them."""
    connection.executemany(
        "INSERT OR IGNORE INTO mail_metadata (header_id, envelope, body, body_structure, header_size, subject,"
        " preview, security) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                header_id,
                record.envelope,
                record.body,
                record.body_structure,
                record.header_size,
                record.subject,
                record.preview,
                msgspec.msgpack.encode(record.security),
            )
            for header_id, record, _, _ in records
        ],
    )
    connection.execute(
        "DELETE FROM mail_header_wanted WHERE header_id IN (SELECT value FROM json_each(?))",
        (json.dumps([header_id for header_id, _, _, _ in records]),),
    )
    keep_facts(connection, [(header_id, facts) for header_id, _, facts, _ in records])
    keep_sort_keys(connection, [(header_id, keys) for header_id, _, _, keys in records])
    keep_fields(connection, [(header_id, r.fields) for header_id, r, _, _ in records if r.fields])


def keep_fields(connection: Connection, fields: Sequence[tuple[str, bytes]]) -> None:
    """Keeps the header fields that lists ask for, of messages by their header records."""
    connection.executemany(
        "INSERT OR IGNORE INTO mail_header (header_id, fields) VALUES (?, ?)", fields
    )


@contextlib.contextmanager
def account_errors() -> Iterator[None]:
    """What the store says, in the words of the account's contract."""
    try:
        yield
    except StoreFull as error:
        raise StorageFull("The disk is full; nothing was changed.") from error
    except NotOpen as error:
        raise AccountUnavailable("The account is closed.") from error
    except Unreachable as error:
        raise ContentUnavailable(
            "This message's content is still at the provider, which cannot be reached; try again later."
        ) from error
    except (BlobAltered, UnknownSuite) as error:
        raise ContentUnavailable(
            f"This message's content is not what was stored: {error}."
        ) from error
    except SoledadError as error:
        raise AccountError(f"The store refused: {error}.") from error
