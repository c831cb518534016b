"""Sealed mail that this device could not open: kept, synced, listed, and tried again when keys arrive.

    document "inbox-quarantine-<row id>"   {"type": "inbox-quarantine", "key_id", "received", "reason",
                                            "sealed": base64  or  "blob": [id, sha256, size],
                                            "poisoned": true, "tried": version}

The sealed bytes are kept as they came, so nothing is lost when the provider's copy is acked: they leave only in
the transaction that stores the opened mail. They sync, so another device that holds the key opens them.

Invariant: the provider's copy is acked only after the document was pushed, as with any mail.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from leap.soledad.blobs.format import BlobRef, SealedBlob

QUARANTINE = "inbox-quarantine"
INLINE = 64 * 1024  # octets of sealed mail kept in the document; log items are meant to be small


@dataclass(frozen=True, slots=True)
class Quarantined:
    """One item; exactly one of `sealed` and `blob` is there. `received` is seconds since 1970.

    `poisoned`: it brought down or held up what opened it, the last time by the version `tried`.
    """

    row_id: str
    key_id: str
    received: int
    reason: str
    sealed: bytes | None = field(default=None, repr=False)
    blob: BlobRef | None = None
    poisoned: bool = False
    tried: str = ""

    @property
    def size(self) -> int:
        """Octets, sealed."""
        return self.blob.size if self.blob is not None else len(self.sealed or b"")


class QuarantineTransaction(Protocol):
    def get(self, doc_id: str) -> dict[str, Any] | None: ...
    def put(self, doc_id: str, content: dict[str, Any]) -> Any: ...
    def delete(self, doc_id: str) -> Any: ...
    def put_blob(self, blob: SealedBlob) -> Any: ...
    def drop_blobs(self, blob_ids: Iterable[str]) -> Any: ...


def document_id(row_id: str) -> str:
    return f"{QUARANTINE}-{row_id}"


def keep(tx: QuarantineTransaction, item: Quarantined, blob: SealedBlob | None) -> None:
    """Keeps an item; one that is there already stays as it is."""
    doc_id = document_id(item.row_id)
    if tx.get(doc_id) is not None:
        return
    content: dict[str, Any] = {
        "type": QUARANTINE,
        "key_id": item.key_id,
        "received": item.received,
        "reason": item.reason,
    }
    content |= _how_it_went(item)
    if blob is None:
        content["sealed"] = base64.b64encode(item.sealed or b"").decode("ascii")
    else:
        tx.put_blob(blob)
        content["blob"] = [blob.ref.blob_id, blob.ref.sha256, blob.ref.size]
    tx.put(doc_id, content)


def note_tried(tx: QuarantineTransaction, item: Quarantined) -> None:
    """What came of opening an item again; nothing is written when that is what it was before."""
    content = tx.get(document_id(item.row_id))
    if content is None:
        return
    old = {key: value for key, value in content.items() if key not in ("poisoned", "tried")}
    new = old | {"reason": item.reason} | _how_it_went(item)
    if new != content:
        tx.put(document_id(item.row_id), new)


def _how_it_went(item: Quarantined) -> dict[str, Any]:
    return {"poisoned": True, "tried": item.tried} if item.poisoned else {}


def release(tx: QuarantineTransaction, row_id: str) -> None:
    """Forgets an item, in the transaction that stores its mail."""
    content = tx.get(document_id(row_id))
    if content is None:
        return
    item = item_of(document_id(row_id), content)
    tx.delete(document_id(row_id))
    if item is not None and item.blob is not None:
        tx.drop_blobs([item.blob.blob_id])


def item_of(doc_id: str, content: Mapping[str, Any] | None) -> Quarantined | None:
    """The item a document holds, or None for anything else."""
    if content is None or content.get("type") != QUARANTINE or not doc_id.startswith(QUARANTINE):
        return None
    sealed, blob = content.get("sealed"), content.get("blob")
    ref = None
    if isinstance(blob, list | tuple) and len(blob) == 3:
        ref = BlobRef(str(blob[0]), str(blob[1]), int(blob[2]))
    octets = _octets(sealed)
    if octets is None and ref is None:
        return None
    return Quarantined(
        row_id=doc_id[len(QUARANTINE) + 1 :],
        key_id=str(content.get("key_id", "")),
        received=int(content.get("received", 0)),
        reason=str(content.get("reason", "")),
        sealed=octets,
        blob=ref,
        poisoned=content.get("poisoned") is True,
        tried=str(content.get("tried", "")),
    )


def _octets(text: Any) -> bytes | None:
    if not isinstance(text, str):
        return None
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
