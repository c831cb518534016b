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
from leap.soledad.many_rows import insert_rows
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.transaction import Transaction
from leap.soledad.wire import MAX_MESSAGE_BYTES

MAX_SERVED_BYTES = (
    2 * MAX_MESSAGE_BYTES
)  # decrypted mail may be larger than what came: it was compressed
LOCAL = SecurityStatus(encryption="local")
MANY = 16  # messages in one call from which on other processes do it
AT_A_TIME = 50  # of them
INLINE_OCTETS = 64 * 1024  # parsed and sealed in about a millisecond; more leaves the event loop


class Prepared(NamedTuple):
    """A message whose parsing and sealing is done; the words it is found by come later (`search.filling`)."""

    record: HeaderRecord
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


def keep_all(tx: Transaction, messages: Sequence[Prepared]) -> list[dict[str, Any]]:
    """Puts blobs and opened header records of messages into the transaction; answers the fixed columns of their
    rows."""
    tx.put_blobs(
        blob
        for made in messages
        for blob in (made.header, made.content, made.original)
        if blob is not None
    )
    keep_metadata(
        tx.connection,
        [(made.header.ref.blob_id, made.record, made.facts, made.keys) for made in messages],
        wanted=False,
    )
    return [made._columns for made in messages]


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
    record = record_of(Message(raw), security)
    if imported_as:
        record = msgspec.structs.replace(record, imported_as=imported_as)
    seal = partial(seal_blob, account=account, epoch=epoch)
    facts = facts_of(record)
    return Prepared(
        record,
        facts,
        sort_keys(record, facts),
        seal(encode_record(record)),
        seal(raw),
        None if original is None else seal(original),
    )


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
    account, epoch = store.sealing_keys
    make = partial(prepare_now, raw, security, original, account=account, epoch=epoch)
    if len(raw) + len(original or b"") <= INLINE_OCTETS:
        return make()
    return await asyncio.to_thread(make)


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
        step = min(AT_A_TIME, (len(raws) + 1) // 2)
        parts = [raws[first : first + step] for first in range(0, len(raws), step)]
        out: list[Prepared] = []
        async with self._turn:
            for first in range(0, len(parts), 2):
                made = await asyncio.gather(
                    *(
                        offload.run_batch(_prepare_all, part, security, account, epoch)
                        for part in parts[first : first + 2]
                    )
                )
                out += [one for some in made for one in some]
        return out


def _prepare_all(
    raws: Sequence[bytes], security: SecurityStatus, account: str, epoch: Epoch
) -> list[Prepared]:
    return [prepare_now(raw, security, None, account=account, epoch=epoch) for raw in raws]


def keep_metadata(
    connection: Connection,
    records: Sequence[tuple[str, HeaderRecord, Facts, SortKeys]],
    *,
    wanted: bool = True,
) -> None:
    """Keeps opened header records (by their blob's id), and what was found in them, where lists find them.

    `wanted`: they may be of messages that were listed before.
    """
    insert_rows(
        connection,
        "INSERT OR IGNORE INTO mail_metadata (header_id, envelope, body, body_structure, header_size, subject,"
        " preview, security)",
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
    if wanted:
        connection.execute(
            "DELETE FROM mail_header_wanted WHERE header_id IN (SELECT value FROM json_each(?))",
            (json.dumps([header_id for header_id, _, _, _ in records]),),
        )
    keep_facts(connection, [(header_id, facts) for header_id, _, facts, _ in records])
    keep_sort_keys(connection, [(header_id, keys) for header_id, _, _, keys in records])
    keep_fields(connection, [(header_id, r.fields) for header_id, r, _, _ in records if r.fields])


def keep_fields(connection: Connection, fields: Sequence[tuple[str, bytes]]) -> None:
    """Keeps the header fields that lists ask for, of messages by their header records."""
    insert_rows(connection, "INSERT OR IGNORE INTO mail_header (header_id, fields)", fields)


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
