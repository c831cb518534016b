"""Does what the database holds make sense: every document decodes, every row and log item fits the others.

Each slice is one snapshot, so a store in use is never found wrong for being in use; the log is compared in one
snapshot as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec

from leap.soledad.digest import SetDigest
from leap.soledad.documents import DocumentItem, Version, decode_content, type_of
from leap.soledad.envelope import item_id_of
from leap.soledad.maintenance.findings import Progress, Report
from leap.soledad.material import AccountMaterial
from leap.soledad.rows import RowTable
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.syncing.state import SyncState, load_state

SLICE = 500
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DOCUMENT, _PAGE = "document/", "page/"
# What is known of a blob, wherever its bytes are: here, to be fetched, or given back on purpose to save room.
_KNOWN = " UNION ALL ".join(
    f"SELECT sha256, size FROM {place} WHERE blob_id = ?1"  # noqa: S608
    for place in ("blob", "blob_wanted", "blob_evicted")
)


async def check_documents(store: Soledad, report: Report, progress: Progress) -> None:
    """Every document, SLICE at a time."""
    total = await store.read(lambda c: c.execute("SELECT count(*) FROM document").fetchone()[0])
    last: str | None = ""
    while last is not None:
        progress("documents", report.checked["documents"], total)
        last = await store.read(partial(_document_slice, report=report, after=last))


def _document_slice(connection: Connection, *, report: Report, after: str) -> str | None:
    found = connection.execute(
        "SELECT doc_id, type, revision, content, conflicts, dirty, base,"
        " EXISTS (SELECT 1 FROM log_item WHERE name = 'document/' || doc_id)"
        " FROM document WHERE doc_id > ? ORDER BY doc_id LIMIT ?",
        (after, SLICE),
    ).fetchall()
    for doc_id, kind, revision, content, conflicts, dirty, base, logged in found:
        report.checked["documents"] += 1
        if not revision or not _decodes(content, conflicts, base):
            report.add(
                "document-unreadable",
                doc_id,
                f"Document {doc_id!r} cannot be read; restore it from an export.",
            )
        elif kind != type_of(decode_content(content)):
            report.add(
                "document-mistyped",
                doc_id,
                f"Document {doc_id!r} is filed under another type than it has;"
                " `bitmask doctor rebuild` files it rightly.",
            )
        if not dirty and not logged and content is not None:  # a tombstone may have been purged
            report.add(
                "change-unmarked",
                _DOCUMENT + doc_id,
                f"Document {doc_id!r} was never synced, and would never be; `--repair` marks it to be sent.",
            )
    return found[-1][0] if len(found) == SLICE else None


def _decodes(content: str | None, conflicts: bytes | None, base: bytes | None) -> bool:
    try:
        texts = [content]
        if conflicts is not None:
            texts += [v.content for v in msgspec.msgpack.decode(conflicts, type=list[Version])]
        if base is not None:
            texts.append(msgspec.msgpack.decode(base, type=DocumentItem).content)
        return all(text is None or isinstance(decode_content(text), dict) for text in texts)
    except (msgspec.MsgspecError, ValueError, RecursionError, TypeError):
        return False


async def check_rows(store: Soledad, report: Report, progress: Progress) -> None:
    """Every row of every schema, SLICE at a time."""
    for table in store.tables.values():
        count = f"SELECT count(*) FROM {table.schema.name}"  # noqa: S608
        total = await store.read(lambda c, sql=count: c.execute(sql).fetchone()[0])  # type: ignore[misc]
        last: int | None = -(2**63)
        done = 0
        while last is not None:
            progress("rows", done, total)
            last = await store.read(partial(_row_slice, table=table, report=report, after=last))
            done += SLICE


def _row_slice(
    connection: Connection, *, table: RowTable, report: Report, after: int
) -> int | None:
    schema = table.schema
    bases = ", ".join(f"t.base_{name}" for name in schema.mutable)
    found = connection.execute(
        "SELECT t.rowid, t.page_id, t.synced, t.dirty, t.deleted,"  # noqa: S608
        " EXISTS (SELECT 1 FROM log_item WHERE name = 'page/' || t.page_id),"
        f" {table.shown}, {bases} FROM {schema.name} t WHERE t.rowid > ? ORDER BY t.rowid LIMIT ?",
        (after, SLICE),
    ).fetchall()
    width = 6 + 1 + len(schema.columns)
    for values in found:
        _, _, synced, dirty, deleted, logged = values[:6]
        row = table.as_row(values[6:width])
        report.checked["rows"] += 1
        problem = _row_problem(table, row)
        if problem:
            report.add(
                "row-unreadable",
                row["row_id"],
                f"Row {row['row_id']} {problem}; restore it from an export.",
            )
        base = values[width:]
        same = [row[name] for name in schema.mutable] == list(base)
        if not dirty and (deleted or not synced or not logged or not same):
            report.add(
                "change-unmarked",
                f"{schema.name}/{row['row_id']}",
                f"Row {row['row_id']} holds a change that would never be synced;"
                " `--repair` marks it to be sent.",
            )
        if not deleted and not problem:
            _check_references(connection, table, row, report)
    return found[-1][0] if len(found) == SLICE else None


def _row_problem(table: RowTable, row: dict[str, Any]) -> str | None:
    schema = table.schema
    for name in schema.sets:
        text = row[name]
        if not isinstance(text, str) or text != " ".join(sorted(set(text.split()))):
            return f"holds in {name!r} what is no set of words"
    for blob_id, sha256, size in schema.blobs:
        if not row[blob_id]:
            continue
        if not (
            isinstance(row[blob_id], str)
            and isinstance(row[sha256], str)
            and _SHA256.fullmatch(row[sha256])
            and isinstance(row[size], int)
            and row[size] >= 0
        ):
            return "names a content by something that is no reference"
    return None


def _check_references(
    connection: Connection, table: RowTable, row: dict[str, Any], report: Report
) -> None:
    for id_column, sha256, size in table.schema.blobs:
        blob_id = row[id_column]
        if not blob_id:
            continue
        known = connection.execute(_KNOWN, (blob_id,)).fetchone()
        if known is None:
            report.add(
                "blob-unlisted",
                blob_id,
                f"Content {blob_id} is not here, and nothing says that it should be fetched;"
                " `--repair` asks for it.",
            )
        elif tuple(known) != (row[sha256], row[size]):
            report.add(
                "blob-mismatched",
                blob_id,
                f"Content {blob_id} as noted here is not the one that row {row['row_id']} names;"
                " `--repair` asks for the right one.",
            )


async def check_log(store: Soledad, report: Report, progress: Progress) -> None:
    """What this device has applied of the log: named rightly, all there, and the set its head signs for."""
    material = store.material
    if material is None:
        return
    progress("log", 0, 1)
    await store.read(partial(_log, material=material, report=report))
    progress("log", 1, 1)


def _log(connection: Connection, *, material: AccountMaterial, report: Report) -> None:
    try:
        state = load_state(connection, material.device.device_id)
    except (msgspec.MsgspecError, ValueError, TypeError):
        report.add(
            "log-inconsistent",
            "state",
            "What this device remembers of the log cannot be read;"
            " set the account up anew on this device to fetch all of it again.",
        )
        return
    for name, sentence in _misplaced(connection, material):
        report.add("log-inconsistent", name, sentence)
    if not _digest_matches(connection, material, state):
        report.add(
            "log-inconsistent",
            "digest",
            "The log items noted here are not the set that the last accepted head signs for;"
            " set the account up anew on this device to fetch all of it again.",
        )
    report.checked["log_items"] += connection.execute("SELECT count(*) FROM log_item").fetchone()[0]


def _misplaced(connection: Connection, material: AccountMaterial) -> Iterator[tuple[str, str]]:
    for item_id, name, document in connection.execute(
        "SELECT i.item_id, i.name, d.doc_id IS NOT NULL FROM log_item i"
        " LEFT JOIN document d ON d.doc_id = substr(i.name, 10) AND i.name LIKE 'document/%'"
    ):
        if item_id_of(material.id_key, name) != item_id:
            yield name, f"The log item {name!r} is noted under the id of another."
        elif name.startswith(_DOCUMENT):
            if not document:
                yield (
                    name,
                    f"The document of the log item {name!r} is missing here;"
                    " restore it from an export, or set the account up anew on this device.",
                )
        elif not name.startswith(_PAGE):
            yield name, f"The log item {name!r} is neither a document nor a page."


def _digest_matches(connection: Connection, material: AccountMaterial, state: SyncState) -> bool:
    found = connection.execute("SELECT item_id, version, ct_hash FROM log_item")
    if state.record is None:
        return found.fetchone() is None
    epoch = material.epochs_by_number.get(state.epoch)
    if epoch is None:
        return False
    try:
        digest = SetDigest.of(epoch, material.account_id, found)
    except (ValueError, TypeError, OverflowError, AttributeError):
        return False
    return digest.matches(state.digest) and digest.matches(state.record.digest)
