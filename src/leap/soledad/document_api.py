"""u1db's verbs on documents, as jobs of a transaction or of a reader."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from leap.soledad import documents
from leap.soledad.documents import Document, as_document, check_revision
from leap.soledad.errors import DocumentAlreadyDeleted, DocumentDoesNotExist, RevisionConflict
from leap.soledad.sqlite import Connection
from leap.soledad.transaction import Transaction, find_setting


def create(tx: Transaction, content: dict[str, Any], doc_id: str | None) -> Document:
    """A new document, under a random id if none is given."""
    document = Document(doc_id or f"D-{os.urandom(16).hex()}", None, content)
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
    stored = tx.load(document.doc_id)
    if stored is None:
        raise DocumentDoesNotExist(f"there is no document {document.doc_id}")
    if stored.item.content is None:
        raise DocumentAlreadyDeleted(f"document {document.doc_id} is deleted already")
    check_revision(stored, document)
    return tx.edit(stored, document.doc_id, None)


def resolve(tx: Transaction, document: Document, revisions: Sequence[str]) -> str:
    """Writes `document` in place of the versions named; the current version must be among them."""
    stored = tx.load(document.doc_id)
    if stored is None:
        raise DocumentDoesNotExist(f"there is no document {document.doc_id}")
    resolved = set(revisions)
    left = [version for version in stored.item.conflicts if version.revision not in resolved]
    if stored.item.revision not in resolved:
        raise RevisionConflict(f"document {document.doc_id} was changed since it was read")
    text = None if document.content is None else documents.encode_content(document.content)
    return tx.edit(stored, document.doc_id, text, left)


def get(connection: Connection, doc_id: str, include_deleted: bool) -> Document | None:
    stored = documents.load(connection, doc_id)
    if stored is None or (stored.item.content is None and not include_deleted):
        return None
    return as_document(stored.item)


def get_many(
    connection: Connection, doc_ids: Sequence[str], include_deleted: bool
) -> list[Document]:
    found = (get(connection, doc_id, include_deleted) for doc_id in doc_ids)
    return [document for document in found if document is not None]


def get_all(connection: Connection, include_deleted: bool) -> tuple[int, list[Document]]:
    generation = int(find_setting(connection, "soledad.generation") or 0)
    found = connection.execute(
        f"SELECT {documents.COLUMNS} FROM document"  # noqa: S608
        f" {'' if include_deleted else 'WHERE content IS NOT NULL'} ORDER BY doc_id"
    )
    return generation, [as_document(documents.as_stored(values).item) for values in found]


def find(connection: Connection, kind: str) -> list[Document]:
    found = connection.execute(
        f"SELECT {documents.COLUMNS} FROM document"  # noqa: S608
        " WHERE type = ? AND content IS NOT NULL ORDER BY doc_id",
        (kind,),
    )
    return [as_document(documents.as_stored(values).item) for values in found]


def conflicts(connection: Connection, doc_id: str) -> list[Document]:
    stored = documents.load(connection, doc_id)
    if stored is None or not stored.item.conflicts:
        return []
    others = [
        Document(
            doc_id,
            version.revision,
            None if version.content is None else json.loads(version.content),
            True,
        )
        for version in stored.item.conflicts
    ]
    return [as_document(stored.item), *others]
