"""Documents of an export, as they come into a store: new, merged, beside what is here, or passed over.

Invariant: nothing that a person sees here is replaced by the export, and doing it twice is doing it once.
"""

from __future__ import annotations

from collections.abc import Sequence

from leap.soledad.documents import DocumentItem, Version, decode_content, encode_content, type_of
from leap.soledad.maintenance.records import DocumentRecord
from leap.soledad.rebase import merge_fields
from leap.soledad.store import Soledad
from leap.soledad.transaction import Transaction


def take_documents(
    tx: Transaction, *, records: Sequence[DocumentRecord], store: Soledad, same: bool
) -> int:
    """Brings documents in; answers how many changed something. `same`: the export is of this account."""
    return sum(_take(tx, record, store, same) for record in records)


def _take(tx: Transaction, record: DocumentRecord, store: Soledad, same: bool) -> bool:
    """Brings one document in; False if nothing had to be changed."""
    stored = tx.load(record.doc_id)
    if stored is None or (stored.item.content is None and not stored.item.conflicts):
        tx.edit(stored, record.doc_id, record.content, list(record.conflicts))
        return True
    item = stored.item
    content = item.content
    conflicts = {version.revision: version for version in item.conflicts}
    if record.content != content and not (
        same and _number(record.revision) < _number(item.revision)
    ):
        content = _merged(item, record, store)
        if content is None:
            content = item.content
            _beside(conflicts, item, Version(record.revision, record.content))
    for version in record.conflicts:
        _beside(conflicts, item, version)
    listed = [conflicts[revision] for revision in sorted(conflicts)]
    if content == item.content and listed == item.conflicts:
        return False
    tx.edit(stored, record.doc_id, content, listed)
    return True


def _merged(item: DocumentItem, record: DocumentRecord, store: Soledad) -> str | None:
    """What is here with the exported edits merged in, as the program says; None if it says nothing."""
    mine, theirs = decode_content(item.content), decode_content(record.content)
    merge = store.merges.get(type_of(mine) or type_of(theirs))
    if merge is None:
        return None
    result = merge_fields(None, mine, theirs) if merge == "fields" else merge(None, mine, theirs)
    return item.content if result is None else encode_content(result)


def _beside(conflicts: dict[str, Version], item: DocumentItem, version: Version) -> None:
    """Keeps a version as a conflict, unless its content is there already."""
    contents = {item.content, *(one.content for one in conflicts.values())}
    if version.content in contents:
        return
    revision = version.revision
    while revision in conflicts or revision == item.revision:
        revision += "'"
    conflicts[revision] = Version(revision, version.content)


def _number(revision: str) -> int:
    text = revision.partition(":")[0]
    return int(text) if text.isdecimal() and len(text) < 16 else 0
