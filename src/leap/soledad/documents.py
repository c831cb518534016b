"""Documents: JSON-like content under an id, with revisions and conflicts as u1db had them.

Invariants:
* `base` is kept from the first local edit of a synced document until that edit, or a later one, is synced.
* A deleted document stays as a tombstone: a deletion has to travel like an edit.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from leap.soledad.changes import Content
from leap.soledad.errors import RevisionConflict, SoledadError
from leap.soledad.sqlite import Connection

Merge = (
    Literal["fields"] | Callable[[Content | None, Content | None, Content | None], Content | None]
)
MAX_CONTENT = 1024 * 1024  # octets of JSON: sealed, it has to fit one request of sync
COLUMNS = "doc_id, revision, content, conflicts, dirty, base"


class ConflictedDocument(RevisionConflict):
    """The document has conflicts; resolve them with `resolve_doc` first."""


@dataclass
class Document:
    """A document as a program holds it: change `content` and give it to `put_doc`. None: deleted."""

    doc_id: str
    revision: str | None
    content: Content | None
    has_conflicts: bool = False

    def __repr__(self) -> str:
        return f"Document({self.doc_id!r}, {self.revision!r})"


class Version(msgspec.Struct, frozen=True, array_like=True):
    """One state of a document: its revision and JSON text, None for deleted."""

    revision: str
    content: str | None

    def __repr__(self) -> str:
        return f"Version({self.revision!r})"


class DocumentItem(msgspec.Struct, frozen=True, tag="document"):
    """A document as it travels in the log."""

    doc_id: str
    revision: str
    content: str | None
    conflicts: list[Version] = []

    def __repr__(self) -> str:
        return f"DocumentItem({self.doc_id!r}, {self.revision!r})"


class Stored(msgspec.Struct):
    """A row of the document table."""

    item: DocumentItem
    dirty: bool
    base: DocumentItem | None


def encode_content(content: Mapping[str, Any]) -> str:
    """Canonical JSON; raises TypeError or ValueError for what JSON cannot hold (bytes, for one)."""
    if not isinstance(content, dict):
        raise TypeError("the content of a document is a dict")
    # Not msgspec: it would turn bytes, sets and dates into something else without a word.
    text = json.dumps(
        content, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    # A lone surrogate fails here, not in the database.
    if len(text.encode()) > MAX_CONTENT:
        raise SoledadError("a document is over 1 MiB; what is so large belongs into a blob")
    return text


def decode_content(text: str | None) -> Content | None:
    """The content, None of a tombstone."""
    if text is None:
        return None
    content: Content = msgspec.json.decode(text)
    return content


def type_of(content: Content | None) -> str:
    """The document's type, "" if it has none."""
    kind = "" if content is None else content.get("type", "")
    return kind if isinstance(kind, str) else ""


def next_revision(replica: str, *before: str) -> str:
    """A revision after all of `before`: "number:replica"."""
    numbers = (revision.partition(":")[0] for revision in before)
    number = max((int(text) for text in numbers if text.isdecimal() and len(text) < 16), default=0)
    return f"{number + 1}:{replica}"


_items = msgspec.msgpack.Decoder(DocumentItem)
_conflicts = msgspec.msgpack.Decoder(list[Version])


def load(connection: Connection, doc_id: str) -> Stored | None:
    """The document, tombstones too."""
    found = connection.execute(
        f"SELECT {COLUMNS} FROM document WHERE doc_id = ?",  # noqa: S608
        (doc_id,),
    ).fetchone()
    return None if found is None else as_stored(found)


def load_dirty(connection: Connection, limit: int) -> Iterator[Stored]:
    """Documents with edits that were not synced, one after the other."""
    found = connection.execute(
        f"SELECT {COLUMNS} FROM document WHERE dirty = 1 ORDER BY generation LIMIT ?",  # noqa: S608
        (limit,),
    )
    return map(as_stored, found)


def as_stored(values: tuple[Any, ...]) -> Stored:
    doc_id, revision, content, conflicts, dirty, base = values
    others = [] if conflicts is None else _conflicts.decode(conflicts)
    return Stored(
        DocumentItem(doc_id, revision, content, others),
        bool(dirty),
        None if base is None else _items.decode(base),
    )


def save(
    connection: Connection,
    item: DocumentItem,
    *,
    dirty: bool,
    base: DocumentItem | None,
    generation: int,
) -> None:
    """Writes the document; `base` is given while it is dirty and was synced before."""
    connection.execute(
        "INSERT INTO document (doc_id, type, revision, content, conflicts, dirty, base, generation)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (doc_id) DO UPDATE SET type = excluded.type,"
        " revision = excluded.revision, content = excluded.content, conflicts = excluded.conflicts,"
        " dirty = excluded.dirty, base = excluded.base, generation = excluded.generation",
        (
            item.doc_id,
            type_of(decode_content(item.content)),
            item.revision,
            item.content,
            msgspec.msgpack.encode(item.conflicts) if item.conflicts else None,
            int(dirty),
            None if base is None else msgspec.msgpack.encode(base),
            generation,
        ),
    )


def as_document(item: DocumentItem) -> Document:
    """What the person's program gets."""
    content = decode_content(item.content)
    return Document(item.doc_id, item.revision, content, bool(item.conflicts))


def merge_items(
    base: DocumentItem | None,
    local: DocumentItem,
    remote: DocumentItem,
    merges: Mapping[str, Merge],
    replica: str,
) -> DocumentItem:
    """`local`'s edits on top of `remote`; equals `remote` where nothing is left to push. Pure.

    A type without a merge gets an u1db conflict: the remote content shows, the local one is kept beside it.
    """
    from leap.soledad.rebase import merge_fields

    before = base.content if base is not None else None
    conflicts = _merge_conflicts(base, local, remote)
    content = remote.content
    if local.content not in (before, remote.content):
        mine, theirs, old = (
            decode_content(text) for text in (local.content, remote.content, before)
        )
        merge = merges.get(type_of(theirs) or type_of(mine) or type_of(old))
        if merge is None and remote.content == before:
            content = local.content
        elif merge is None:
            conflicts[local.revision] = Version(local.revision, local.content)
        else:
            merged = (
                merge_fields(old, mine, theirs) if merge == "fields" else merge(old, mine, theirs)
            )
            content = None if merged is None else encode_content(merged)
    listed = [conflicts[revision] for revision in sorted(conflicts)]
    if content == remote.content and listed == remote.conflicts:
        return remote
    revision = next_revision(replica, local.revision, remote.revision)
    return DocumentItem(local.doc_id, revision, content, listed)


def _merge_conflicts(
    base: DocumentItem | None, local: DocumentItem, remote: DocumentItem
) -> dict[str, Version]:
    """Conflicts of the remote document, without those resolved here, with those found here."""
    known = {version.revision for version in base.conflicts} if base is not None else set()
    mine = {version.revision: version for version in local.conflicts}
    merged = {
        version.revision: version
        for version in remote.conflicts
        if version.revision not in known or version.revision in mine
    }
    merged.update((rev, version) for rev, version in mine.items() if rev not in known)
    return merged


def check_revision(stored: Stored | None, document: Document) -> None:
    """Raises RevisionConflict or ConflictedDocument unless `document` may replace what is stored."""
    if stored is None:
        if document.revision is not None:
            raise RevisionConflict(f"there is no document {document.doc_id} to change")
    elif stored.item.content is None and document.revision is None:
        return  # u1db: a deleted document may be created again
    elif document.revision != stored.item.revision:
        raise RevisionConflict(f"document {document.doc_id} was changed since it was read")
    elif stored.item.conflicts:
        raise ConflictedDocument(f"document {document.doc_id} has conflicts to resolve")


def check_doc_id(doc_id: str) -> None:
    """Raises SoledadError for an id that cannot be one."""
    if not doc_id or len(doc_id) > 1000 or "\0" in doc_id:
        raise SoledadError("the id of a document is a text of 1 to 1,000 characters without NUL")
