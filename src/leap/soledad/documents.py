"""Documents: JSON-like content under an id, with revisions and conflicts as u1db had them.

Invariants:
* `base` is kept from the first local edit of a synced document until that edit, or a later one, is synced.
* A deleted document stays as a tombstone: a deletion has to travel like an edit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from leap.soledad.changes import Content
from leap.soledad.errors import (
    ConflictedDocument,
    DocumentTooLarge,
    InvalidContent,
    InvalidDocId,
    RevisionConflict,
)
from leap.soledad.sqlite import Connection

Merge = (
    Literal["fields"] | Callable[[Content | None, Content | None, Content | None], Content | None]
)
MAX_CONTENT = 1024 * 1024  # octets of JSON: sealed, it has to fit one request of sync
MAX_NESTING = 500  # levels: half of what Python's and SQLite's parsers bear
SHOWN = "doc_id, revision, content, conflicts"
COLUMNS = f"{SHOWN}, dirty, base"


@dataclass
class Document:
    """A document as a program holds it: change `content` and give it to `put_doc`. None: deleted."""

    doc_id: str
    revision: str | None
    content: Content | None
    has_conflicts: bool = False

    @classmethod
    def new(cls, content: Content, doc_id: str | None = None) -> Document:
        """A document that is not stored yet, under a random id if none is given."""
        return cls(f"D-{os.urandom(16).hex()}" if doc_id is None else doc_id, None, content)

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


_encoder = json.JSONEncoder(
    sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
)


def encode_content(content: Mapping[str, Any]) -> str:
    """Canonical JSON; raises InvalidContent for what JSON cannot hold (bytes, for one), DocumentTooLarge."""
    if not isinstance(content, dict):
        raise InvalidContent("the content of a document is a dict")
    try:
        # Not msgspec: it would turn bytes, sets and dates into something else without a word.
        text = _encoder.encode(content)
        size = len(text.encode())  # a lone surrogate fails here, not in the database
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidContent(f"a document holds what JSON cannot: {error}") from error
    if size > MAX_CONTENT:
        raise DocumentTooLarge(
            "a document is over 1 MiB; what is so large belongs into a blob, or into several documents"
        )
    if is_too_deep(text):
        raise InvalidContent(f"a document is nested in more than {MAX_NESTING} levels")
    return text


def is_too_deep(text: str) -> bool:
    """Whether JSON is nested deeper than every reader of documents bears."""
    if text.count("{") + text.count("[") <= MAX_NESTING:
        return False
    values: list[Any] = [decode_content(text)]
    for _ in range(MAX_NESTING):  # level by level: it needs no depth of its own
        inner = [value.values() if isinstance(value, dict) else value for value in values]
        values = [each for group in inner for each in group if isinstance(each, dict | list)]
        if not values:
            return False
    return True


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


def load_many(connection: Connection, doc_ids: Sequence[str]) -> list[Stored]:
    """Those that exist, in the order asked; tombstones too."""
    found = connection.execute(
        f"SELECT {COLUMNS} FROM json_each(?) j CROSS JOIN document ON doc_id = j.value ORDER BY j.key",  # noqa: S608
        (json.dumps(list(doc_ids)),),
    )
    return [as_stored(values) for values in found]


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
    kind: str | None = None,
) -> None:
    """Writes the document; `base` is given while it is dirty and was synced before, `kind` if it is known."""
    connection.execute(
        "INSERT INTO document (doc_id, type, revision, content, conflicts, dirty, base, generation)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (doc_id) DO UPDATE SET type = excluded.type,"
        " revision = excluded.revision, content = excluded.content, conflicts = excluded.conflicts,"
        " dirty = excluded.dirty, base = excluded.base, generation = excluded.generation",
        (
            item.doc_id,
            type_of(decode_content(item.content)) if kind is None else kind,
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


def shown(values: Sequence[Any]) -> Document:
    """The same, of a row of `SHOWN`."""
    doc_id, revision, content, conflicts = values
    return Document(doc_id, revision, decode_content(content), conflicts is not None)


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
    """Raises InvalidDocId for an id that cannot be one."""
    if not isinstance(doc_id, str) or not doc_id or len(doc_id) > 1000 or "\0" in doc_id:
        raise InvalidDocId("the id of a document is a text of 1 to 1,000 characters without NUL")
    try:
        doc_id.encode()
    except UnicodeEncodeError:
        raise InvalidDocId("the id of a document holds half a character") from None
