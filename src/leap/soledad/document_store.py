"""What a program does with documents: u1db's verbs, transactions of several documents, indexes and the change feed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from leap.soledad import document_api, document_indexes
from leap.soledad.document_api import WhatChanged
from leap.soledad.document_indexes import Bound
from leap.soledad.documents import Document
from leap.soledad.feed import Bell, ChangeFeed
from leap.soledad.sqlite import Connection
from leap.soledad.transaction import Transaction

T = TypeVar("T")


class DocumentStore(ABC):
    """The documents of a store. What it needs of the store is `transact` and `read`."""

    def __init__(self) -> None:
        self.bell = Bell()

    @abstractmethod
    async def transact(self, job: Callable[[Transaction], T], durable: bool = False) -> T:
        """Runs `job` in one transaction; answers its result after the COMMIT."""

    @abstractmethod
    async def read(self, job: Callable[[Connection], T]) -> T:
        """Runs `job` on one snapshot of the database; it cannot write."""

    # -- one document -------------------------------------------------------------------------

    async def create_doc(self, content: dict[str, Any], doc_id: str | None = None) -> Document:
        """A new document. Raises InvalidDocId, InvalidContent, DocumentTooLarge, RevisionConflict if there is one."""
        return await self.transact(lambda tx: document_api.create(tx, content, doc_id))

    async def put_doc(self, document: Document) -> str:
        """Writes an edited document and answers (and sets) its new revision.

        Raises RevisionConflict if it was changed since it was read, ConflictedDocument, and as `create_doc`.
        """
        revision = await self.transact(lambda tx: document_api.put(tx, document))
        document.revision = revision
        return revision

    async def put_many(self, documents: Sequence[Document]) -> list[str]:
        """Writes several documents in one transaction, all or none; answers (and sets) their new revisions.

        Raises as `put_doc`; then nothing was written and no revision changed.
        """
        given = list(documents)
        revisions = await self.transact(lambda tx: [document_api.put(tx, each) for each in given])
        for document, revision in zip(given, revisions, strict=True):
            document.revision = revision
        return revisions

    async def delete_doc(self, document: Document) -> str:
        """Deletes it; raises RevisionConflict, ConflictedDocument, DocumentDoesNotExist, DocumentAlreadyDeleted."""
        revision = await self.transact(lambda tx: document_api.delete(tx, document))
        document.revision, document.content = revision, None
        return revision

    async def get_doc(self, doc_id: str, include_deleted: bool = False) -> Document | None:
        """The document, or None; a deleted one, with content None, only if asked for. Raises InvalidDocId."""
        return await self.read(lambda c: document_api.get(c, doc_id, include_deleted))

    async def get_docs(
        self,
        doc_ids: Sequence[str],
        check_for_conflicts: bool = True,
        include_deleted: bool = False,
    ) -> list[Document]:
        """Those which exist, in the order asked; `has_conflicts` is False if it was not to be checked."""
        ids = list(doc_ids)
        return await self.read(
            lambda c: document_api.get_many(c, ids, include_deleted, check_for_conflicts)
        )

    async def get_all_docs(self, include_deleted: bool = False) -> tuple[int, list[Document]]:
        """The generation of the store, and all documents by id."""
        return await self.read(lambda c: document_api.get_all(c, include_deleted))

    async def find_docs(self, kind: str) -> list[Document]:
        """The documents whose content says `"type": kind`, by id."""
        return await self.read(lambda c: document_api.find(c, kind))

    # -- conflicts ----------------------------------------------------------------------------

    async def get_doc_conflicts(self, doc_id: str) -> list[Document]:
        """The document as it shows, then the versions in conflict with it; empty without a conflict."""
        return await self.read(lambda c: document_api.conflicts(c, doc_id))

    async def resolve_doc(self, document: Document, revisions: Sequence[str]) -> str:
        """Makes `document` replace the versions of `revisions`; conflicts not listed remain.

        When the version that shows is not listed, it goes on showing, and `document` is one of the conflicts.
        Raises DocumentDoesNotExist; RevisionConflict if none of the versions listed is there any more.
        """
        given = list(revisions)
        revision, conflicted = await self.transact(
            lambda tx: document_api.resolve(tx, document, given)
        )
        document.revision, document.has_conflicts = revision, conflicted
        return revision

    # -- what changed -------------------------------------------------------------------------

    async def whats_changed(self, old_generation: int = 0) -> WhatChanged:
        """The generation of the store, and each document that changed after the one given; InvalidGeneration."""
        return await self.read(lambda c: document_api.whats_changed(c, old_generation))

    def changes(self, since: int = 0) -> ChangeFeed:
        """`async for change in store.changes(since)`: documents as they are, then as they change, until `close`.

        Its numbers are the generations of the store: keep the last one, and go on from it after a restart.
        Of several changes to one document which the reader did not come to yet, it gets the newest.
        """
        return ChangeFeed(self, self.bell, since)

    # -- indexes ------------------------------------------------------------------------------

    async def create_index(self, name: str, *expressions: str) -> None:
        """An index over one column or several; the same index again is nothing.

        Expressions: a field ("name", "address.city"), lower(x), number(x, width), bool(x), split_words(x),
        is_null(x), combine(x, y, ...). Over many documents it takes a while (about 2 s for 100,000 small ones),
        and other writes wait for it. Raises IndexNameTaken, IndexDefinitionParseError.
        """
        await self.transact(lambda tx: tx.create_index(name, *expressions))

    async def delete_index(self, name: str) -> None:
        """Raises IndexDoesNotExist."""
        await self.transact(lambda tx: tx.delete_index(name))

    async def list_indexes(self) -> list[tuple[str, list[str]]]:
        """Names and expressions, by name."""
        return await self.read(document_indexes.list_indexes)

    async def get_from_index(self, name: str, *values: str) -> list[Document]:
        """The documents with these values, one for each column; "*" is any, "text*" begins with text.

        In the order of the index, each once. Raises IndexDoesNotExist, InvalidValueForIndex, InvalidGlobbing.
        """
        return await self.read(lambda c: document_indexes.get_from_index(c, name, values))

    async def get_range_from_index(
        self, name: str, start: Bound = None, end: Bound = None
    ) -> list[Document]:
        """The documents from `start` to `end`, both included; a text or a tuple, with "*" as above; None is open.

        Raises as `get_from_index`.
        """
        return await self.read(lambda c: document_indexes.get_range_from_index(c, name, start, end))

    async def get_count_from_index(self, name: str, *values: str) -> int:
        """How many documents `get_from_index` would give, without reading them."""
        return await self.read(lambda c: document_indexes.get_count_from_index(c, name, values))

    async def get_index_keys(self, name: str) -> list[tuple[str, ...]]:
        """The distinct keys, sorted. Raises IndexDoesNotExist."""
        return await self.read(lambda c: document_indexes.get_index_keys(c, name))
