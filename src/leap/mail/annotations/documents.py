"""How annotations lie in Soledad, one document a mailbox and one for the account.

    document "annotations-<id>"   {"type": "annotations", "/shared/comment": <base64>, ...}    merged by field

The account's own is "annotations". What devices write at the same time in different entries is all kept.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from leap.mail.annotations.rules import annotated
from leap.mail.contract import MailboxId
from leap.soledad import documents
from leap.soledad.sqlite import Connection
from leap.soledad.transaction import Transaction

ANNOTATIONS_TYPE = "annotations"
_OF_ACCOUNT = "annotations"
_PREFIX = "annotations-"


def annotations_doc_id(mailbox_id: MailboxId | None) -> str:
    return _OF_ACCOUNT if mailbox_id is None else _PREFIX + mailbox_id


def annotated_place(doc_id: str) -> tuple[MailboxId | None] | None:
    """What a document annotates: (mailbox,), (None,) for the account; None when it is another document."""
    if doc_id == _OF_ACCOUNT:
        return (None,)
    return (MailboxId(doc_id[len(_PREFIX) :]),) if doc_id.startswith(_PREFIX) else None


def entries_of(content: Mapping[str, Any] | None) -> dict[str, bytes]:
    """The entries a document holds; what cannot be read is passed over."""
    found: dict[str, bytes] = {}
    for name, value in (content or {}).items():
        if name.startswith("/") and isinstance(value, str):
            try:
                found[name] = base64.b64decode(value, validate=True)
            except (binascii.Error, ValueError):
                continue
    return found


def read_annotations(connection: Connection, mailbox_id: MailboxId | None) -> dict[str, bytes]:
    stored = documents.load(connection, annotations_doc_id(mailbox_id))
    return {} if stored is None else entries_of(documents.decode_content(stored.item.content))


def write_annotations(
    tx: Transaction, mailbox_id: MailboxId | None, values: Mapping[str, bytes | None]
) -> None:
    """Sets and removes entries. Raises what `annotated` raises."""
    before = read_annotations(tx.connection, mailbox_id)
    after = annotated(before, values)
    if after != before:
        content = {name: base64.b64encode(value).decode("ascii") for name, value in after.items()}
        tx.put(annotations_doc_id(mailbox_id), {"type": ANNOTATIONS_TYPE, **content})


def drop_annotations(tx: Transaction, mailbox_id: MailboxId) -> None:
    """Removes them with their mailbox (RFC 5464 4.1)."""
    if tx.get(annotations_doc_id(mailbox_id)) is not None:
        tx.delete(annotations_doc_id(mailbox_id))


def copy_annotations(tx: Transaction, source: MailboxId, target: MailboxId) -> None:
    """Gives a mailbox those of another, which keeps them (RFC 5464 4.1: INBOX when it is renamed)."""
    content = tx.get(annotations_doc_id(source))
    if content is not None:
        tx.put(annotations_doc_id(target), content)
