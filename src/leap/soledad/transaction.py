"""What a job given to `Soledad.transact` may do: all or nothing, in the writer thread.

Invariants:
* Projections see every change before the transaction ends; what they change, they see in turn.
* No state outside the database changes before the COMMIT.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from leap.soledad import bulk, document_indexes, documents
from leap.soledad.blobs.format import SealedBlob
from leap.soledad.blobs.sealing import SealedFile
from leap.soledad.changes import (
    BulkChange,
    ChangeSet,
    Content,
    DocChange,
    Projection,
    Row,
    RowChange,
    SetChanged,
)
from leap.soledad.documents import DocumentItem, Stored
from leap.soledad.errors import DocumentAlreadyDeleted, DocumentDoesNotExist, SoledadError
from leap.soledad.rows import RowTable, SetEdit
from leap.soledad.sqlite import Connection

if TYPE_CHECKING:
    from leap.soledad.blobs.local import LocalBlobs

MAX_ROUNDS = 20  # projections that answer each other's changes for longer than this never end


def find_setting(connection: Connection, name: str) -> Any:
    """A setting, or None."""
    found = connection.execute("SELECT value FROM setting WHERE name = ?", (name,)).fetchone()
    return None if found is None else found[0]


def save_setting(connection: Connection, name: str, value: Any) -> None:
    """Keeps a bytes, str, int or float; None removes it."""
    if value is None:
        connection.execute("DELETE FROM setting WHERE name = ?", (name,))
    else:
        connection.execute(
            "INSERT INTO setting (name, value) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, value),
        )


class Transaction:
    """One transaction; it must not be kept beyond the job."""

    def __init__(
        self,
        connection: Connection,
        tables: Mapping[str, RowTable],
        blobs: LocalBlobs,
        replica: str,
        *,
        from_sync: bool = False,
    ) -> None:
        self.connection = connection
        self.from_sync = from_sync
        self.tags: set[Hashable] = set()
        self.arrived: frozenset[str] = frozenset()  # for projections, see `Projection.apply`
        self.bulk: Sequence[BulkChange] = ()  # for projections, too
        self._arrived: set[str] = set()
        self._bulk: list[BulkChange] = []
        self._tables = tables
        self.blobs = blobs
        self.replica = replica
        self._docs: list[DocChange] = []
        self._rows: list[RowChange] = []
        self._generation: int | None = None
        self._indexes: list[document_indexes.Index] | None = None

    # -- settings -----------------------------------------------------------------------------

    def setting(self, name: str) -> Any:
        """A setting of this store, or None; settings are not synced."""
        return find_setting(self.connection, name)

    def set_setting(self, name: str, value: Any) -> None:
        """Keeps a bytes, str, int or float under `name`; None removes it."""
        save_setting(self.connection, name, value)

    # -- documents ----------------------------------------------------------------------------

    def get(self, doc_id: str) -> Content | None:
        """The content, or None if there is none or it is deleted."""
        stored = documents.load(self.connection, doc_id)
        return None if stored is None else documents.decode_content(stored.item.content)

    def load(self, doc_id: str) -> Stored | None:
        """The document with its revision and conflicts, tombstones too."""
        return documents.load(self.connection, doc_id)

    def put(self, doc_id: str, content: Content) -> str:
        """Makes or replaces a document whatever its revision was; answers the new revision."""
        documents.check_doc_id(doc_id)
        return self.edit(self.load(doc_id), doc_id, documents.encode_content(content))

    def delete(self, doc_id: str) -> str:
        """Leaves a tombstone. Raises DocumentDoesNotExist, DocumentAlreadyDeleted."""
        stored = self.load(doc_id)
        if stored is None:
            raise DocumentDoesNotExist(f"there is no document {doc_id}")
        if stored.item.content is None:
            raise DocumentAlreadyDeleted(f"document {doc_id} is deleted already")
        return self.edit(stored, doc_id, None)

    def edit(
        self,
        stored: Stored | None,
        doc_id: str,
        content: str | None,
        conflicts: list[documents.Version] | None = None,
    ) -> str:
        """Writes a local edit over what was `load`ed; content is JSON text, None to delete."""
        before = None if stored is None else stored.item
        revision = documents.next_revision(self.replica, *([before.revision] if before else []))
        if conflicts is None:
            conflicts = before.conflicts if before else []
        item = DocumentItem(doc_id, revision, content, conflicts)
        # A clean document is as it was synced: that is the base of this edit.
        base = None if stored is None else stored.base if stored.dirty else stored.item
        new = documents.decode_content(content)
        documents.save(
            self.connection,
            item,
            dirty=True,
            base=base,
            generation=self.generation(),
            kind=documents.type_of(new),
        )
        self._note(before, doc_id, new)
        return revision

    def note_document(self, before: DocumentItem | None, after: DocumentItem) -> None:
        """Records a change for projections and the feed, and brings the indexes into step."""
        self._note(before, after.doc_id, documents.decode_content(after.content))

    def _note(self, before: DocumentItem | None, doc_id: str, new: Content | None) -> None:
        old = documents.decode_content(before.content) if before is not None else None
        if old is not None or new is not None:
            self._docs.append(DocChange(doc_id, old, new))
            if self._indexes is None:
                self._indexes = document_indexes.load_all(self.connection)
            for index in self._indexes:
                index.follow(self.connection, doc_id, old is not None, new)

    def create_index(self, name: str, *expressions: str) -> None:
        """Makes an index and fills it. Raises IndexNameTaken, IndexDefinitionParseError."""
        document_indexes.create_index(self.connection, name, expressions)
        self._indexes = None

    def delete_index(self, name: str) -> None:
        """Raises IndexDoesNotExist."""
        document_indexes.delete_index(self.connection, name)
        self._indexes = None

    # -- rows ---------------------------------------------------------------------------------

    def row(self, schema_name: str, row_id: str) -> Row | None:
        """The row with its columns (sets as sorted text), or None."""
        return self.table(schema_name).find(self.connection, row_id)

    def rows(self, schema_name: str, row_ids: Sequence[str]) -> list[Row]:
        """Those rows which exist, in the order asked."""
        return self.table(schema_name).find_many(self.connection, row_ids)

    def insert_row(self, schema_name: str, row_id: str, values: Mapping[str, Any]) -> None:
        """A new row; columns not given are NULL or the empty set. Raises RowExists."""
        self._rows.append(self.table(schema_name).insert(self.connection, row_id, values))

    def insert_rows(self, schema_name: str, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
        """Many new rows (id, values) at once. Raises RowExists."""
        self._rows.extend(self.table(schema_name).insert_many(self.connection, rows))

    def update_rows(
        self, schema_name: str, row_ids: Iterable[str], values: Mapping[str, Any]
    ) -> list[RowChange]:
        """Sets scalars and sets (members, or a SetEdit) of many rows at once; answers what changed."""
        table = self.table(schema_name)
        changes = table.update(self.connection, list(dict.fromkeys(row_ids)), values)
        self._rows.extend(changes)
        return changes

    def delete_rows(self, schema_name: str, row_ids: Iterable[str]) -> list[RowChange]:
        """Deletes rows; answers those that were there."""
        table = self.table(schema_name)
        changes = table.delete(self.connection, list(dict.fromkeys(row_ids)))
        self._rows.extend(changes)
        return changes

    def change_set(
        self,
        schema_name: str,
        row_ids: Iterable[str],
        column: str,
        value: str | Iterable[str] | SetEdit,
    ) -> list[SetChanged]:
        """Changes one set (its members, or a SetEdit) of thousands of rows; answers what changed, by what it was."""
        wanted = list(dict.fromkeys(row_ids))
        if self._changed_one_by_one(schema_name):
            return bulk.as_bulk(self.update_rows(schema_name, wanted, {column: value}), column)
        table = self.table(schema_name)
        changed = bulk.change_set(self.connection, table, wanted, column, value)
        self._bulk.extend(changed)
        return changed

    def move_rows(self, schema_name: str, row_ids: Iterable[str], place: str) -> None:
        """Puts thousands of rows to another place; those that do not exist or are there are passed over."""
        wanted = list(dict.fromkeys(row_ids))
        table = self.table(schema_name)
        if self._changed_one_by_one(schema_name):
            self.update_rows(schema_name, wanted, {table.schema.place: place})
            return
        moved = bulk.move(self.connection, table, wanted, place)
        self._bulk.extend([moved] if moved else [])

    def copy_rows(
        self, schema_name: str, sources: Sequence[str], copies: Sequence[str], place: str
    ) -> None:
        """Makes a row like each of `sources`, at `place`, under the ids `copies`.

        Raises RowExists for an id that is taken, SoledadError for a source that does not exist.
        """
        if self._changed_one_by_one(schema_name):
            rows = self.rows(schema_name, sources)
            if len(rows) < len(sources):
                raise SoledadError("some of the rows to copy do not exist")
            here = self.table(schema_name).schema.place
            made = [{**row, here: place} for row in rows]
            for row in made:
                del row["row_id"]
            self.insert_rows(schema_name, list(zip(copies, made, strict=True)))
            return
        table = self.table(schema_name)
        copied = bulk.copy(self.connection, table, sources, copies, place)
        self._bulk.extend([copied] if copied else [])

    def delete_many(self, schema_name: str, row_ids: Iterable[str]) -> None:
        """Deletes thousands of rows; those that do not exist are passed over."""
        wanted = list(dict.fromkeys(row_ids))
        if self._changed_one_by_one(schema_name):
            self.delete_rows(schema_name, wanted)
            return
        deleted = bulk.delete(self.connection, self.table(schema_name), wanted)
        self._bulk.extend([deleted] if deleted else [])

    def _changed_one_by_one(self, schema_name: str) -> bool:
        """Whether rows were: what follows has to be recorded likewise, to be in order."""
        return any(change.schema == schema_name for change in self._rows)

    def note_row(self, change: RowChange) -> None:
        """Records a change for projections and the feed."""
        self._rows.append(change)

    def note_arrivals(self, schema_name: str) -> None:
        """Says that new rows came which are not recorded one by one."""
        self._arrived.add(schema_name)

    def table(self, schema_name: str) -> RowTable:
        """The table of a declared schema."""
        table = self._tables.get(schema_name)
        if table is None:
            raise SoledadError(f"this store has no rows called {schema_name!r}")
        return table

    # -- blobs --------------------------------------------------------------------------------

    def put_blob(self, blob: SealedBlob | SealedFile) -> None:
        """Keeps a sealed blob; sync sends it before any row that names it."""
        self.blobs.put(self.connection, blob)

    def put_blobs(self, blobs: Iterable[SealedBlob]) -> None:
        """The same of many."""
        self.blobs.put_all(self.connection, blobs)

    def drop_blobs(self, blob_ids: Iterable[str]) -> None:
        """Says that no row names these any more. They go, here and at the provider, once every device knows."""
        self.blobs.drop(self.connection, list(blob_ids))

    def doom_blobs(self, blob_ids: Iterable[str]) -> None:
        """Says that the last row which names these may be gone."""
        self.blobs.doom(self.connection, blob_ids)

    # -- ending -------------------------------------------------------------------------------

    def generation(self) -> int:
        """The next sequence number of this store: each change of a document takes one of its own."""
        if self._generation is None:
            self._generation = int(self.setting("soledad.generation") or 0)
        self._generation += 1
        return self._generation

    def finish(self, projections: Sequence[Projection]) -> ChangeSet | None:
        """Lets the projections follow; answers all changes, None if there are none."""
        self._project(projections)
        changed = bool(self._docs or self._rows or self._bulk or self.tags or self._arrived)
        if changed and self._generation is None:
            self.generation()
        if self._generation is not None:
            self.set_setting("soledad.generation", self._generation)
        if not changed:
            return None
        assert self._generation is not None
        return ChangeSet(
            self._generation,
            self._docs,
            self._rows,
            self.from_sync,
            self.tags,
            frozenset(self._arrived),
            self._bulk,
        )

    def _project(self, projections: Sequence[Projection]) -> None:
        self.arrived = frozenset(self._arrived)
        done_docs, done_rows, done_bulk = 0, 0, 0
        for _ in range(MAX_ROUNDS):
            docs, rows = self._docs[done_docs:], self._rows[done_rows:]
            self.bulk = self._bulk[done_bulk:]
            if not (docs or rows or self.arrived or self.bulk):
                return
            done_docs, done_rows, done_bulk = len(self._docs), len(self._rows), len(self._bulk)
            for projection in projections:
                projection.apply(self, docs, rows, self.from_sync)
            self.arrived = frozenset()
        raise SoledadError("projections keep changing what they are derived from")
