"""u1db's verbs on documents, as jobs of a transaction or of a reader."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from leap.soledad import documents
from leap.soledad.documents import Document, Version, as_document, check_revision, shown
from leap.soledad.errors import (
    DocumentAlreadyDeleted,
    DocumentDoesNotExist,
    InvalidGeneration,
    RevisionConflict,
)
from leap.soledad.sqlite import Connection
from leap.soledad.transaction import Transaction, find_setting


class ChangedDocument(NamedTuple):
    """A document and the generation at which it came to its present state."""

    doc_id: str
    generation: int


class WhatChanged(NamedTuple):
    """The generation of the store, and the documents that changed, the earliest first."""

    generation: int
    changes: list[ChangedDocument]


def create(tx: Transaction, content: dict[str, Any], doc_id: str | None) -> Document:
    """A new document, under a random id if none is given."""
    document = Document.new(content, doc_id)
    document.revision = put(tx, document)
    return document


def put(tx: Transaction, document: Document) -> str:
    """Writes it if its revision is the current one."""
    documents.check_doc_id(document.doc_id)
    stored = tx.load(document.doc_id)
    check_revision(stored, document)
    text = None if document.content is None else documents.encode_content(document.content)
    return tx.edit(stored, document.doc_id, text)


def delete(tx: Transaction, document: Document) -> str:
    """Leaves a tombstone if its revision is the current one."""
    documents.check_doc_id(document.doc_id)
    stored = tx.load(document.doc_id)
    if stored is None:
        raise DocumentDoesNotExist(f"there is no document {document.doc_id}")
    if stored.item.content is None:
        raise DocumentAlreadyDeleted(f"document {document.doc_id} is deleted already")
    check_revision(stored, document)
    return tx.edit(stored, document.doc_id, None)


def resolve(tx: Transaction, document: Document, revisions: Sequence[str]) -> tuple[str, bool]:
    """Puts `document` in the place of the versions named; answers its revision, and whether conflicts are left.

    If the version that shows is not among them (it came by sync meanwhile), it stays, and `document` joins the
    conflicts: nothing that the caller has not seen is replaced.
    """
    documents.check_doc_id(document.doc_id)
    stored = tx.load(document.doc_id)
    if stored is None:
        raise DocumentDoesNotExist(f"there is no document {document.doc_id}")
    item, resolved = stored.item, set(revisions)
    left = [version for version in item.conflicts if version.revision not in resolved]
    text = None if document.content is None else documents.encode_content(document.content)
    if item.revision in resolved:
        return tx.edit(stored, document.doc_id, text, left), bool(left)
    if len(left) == len(item.conflicts):
        raise RevisionConflict(f"document {document.doc_id} was changed since it was read")
    others = [version.revision for version in item.conflicts]
    revision = documents.next_revision(tx.replica, item.revision, *others, *revisions)
    left.append(Version(revision, text))
    tx.edit(stored, document.doc_id, item.content, left)
    return revision, True


def get(connection: Connection, doc_id: str, include_deleted: bool) -> Document | None:
    found = get_many(connection, [doc_id], include_deleted)
    return found[0] if found else None


def get_many(
    connection: Connection,
    doc_ids: Sequence[str],
    include_deleted: bool,
    check_for_conflicts: bool = True,
) -> list[Document]:
    for doc_id in doc_ids:
        documents.check_doc_id(doc_id)
    if len(doc_ids) == 1:
        found = connection.execute(
            f"SELECT {documents.SHOWN} FROM document WHERE doc_id = ?",  # noqa: S608
            (doc_ids[0],),
        ).fetchall()
        several = [shown(values) for values in found]
    else:
        several = [as_document(stored.item) for stored in documents.load_many(connection, doc_ids)]
    for document in several:
        document.has_conflicts = document.has_conflicts and check_for_conflicts
    return [document for document in several if include_deleted or document.content is not None]


def generation_of(connection: Connection) -> int:
    """The number of the last change of this store."""
    return int(find_setting(connection, "soledad.generation") or 0)


def get_all(connection: Connection, include_deleted: bool) -> tuple[int, list[Document]]:
    found = connection.execute(
        f"SELECT {documents.SHOWN} FROM document"  # noqa: S608
        f" {'' if include_deleted else 'WHERE content IS NOT NULL'} ORDER BY doc_id"
    )
    return generation_of(connection), [shown(values) for values in found]


def find(connection: Connection, kind: str) -> list[Document]:
    found = connection.execute(
        f"SELECT {documents.SHOWN} FROM document"  # noqa: S608
        " WHERE type = ? AND content IS NOT NULL ORDER BY doc_id",
        (kind,),
    )
    return [shown(values) for values in found]


def check_generation(connection: Connection, old_generation: int) -> int:
    """The generation of the store, which must not be below the one given; raises InvalidGeneration."""
    now = generation_of(connection)
    if not isinstance(old_generation, int) or not 0 <= old_generation <= now:
        raise InvalidGeneration(
            f"this store is at generation {now} and never was at {old_generation}; begin at 0 again"
        )
    return now


def whats_changed(connection: Connection, old_generation: int) -> WhatChanged:
    now = check_generation(connection, old_generation)
    found = connection.execute(
        "SELECT doc_id, generation FROM document WHERE generation > ? ORDER BY generation, doc_id",
        (old_generation,),
    )
    return WhatChanged(now, [ChangedDocument(*values) for values in found])


def conflicts(connection: Connection, doc_id: str) -> list[Document]:
    documents.check_doc_id(doc_id)
    stored = documents.load(connection, doc_id)
    if stored is None or not stored.item.conflicts:
        return []
    others = [
        Document(doc_id, version.revision, documents.decode_content(version.content), True)
        for version in stored.item.conflicts
    ]
    return [as_document(stored.item), *others]
