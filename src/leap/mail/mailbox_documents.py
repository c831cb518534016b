"""Adding, renaming and deleting mailboxes: what each verb does to documents and rows, inside one transaction."""

from __future__ import annotations

from typing import Any

from leap.mail.annotations.documents import copy_annotations, drop_annotations
from leap.mail.contract import INBOX, InvalidName, MailboxId, MailboxInfo, NotPermitted
from leap.mail.listing import row_ids_in
from leap.mail.mailboxes import Directory
from leap.mail.model import (
    DEFAULTS,
    MAIL_ROWS,
    MAILBOX_TYPE,
    mailbox_content,
    mailbox_doc_id,
    new_mailbox_id,
)
from leap.soledad.transaction import Transaction


def create(
    tx: Transaction, directory: Directory, name: str, special_use: str | None
) -> MailboxInfo:
    """Raises MailboxExists, InvalidName, NotPermitted when another mailbox has the special use."""
    directory.check_new_name(name)
    mailbox_id = new_mailbox_id()
    if special_use is not None:
        if any(info.special_use == special_use for info in directory.shown.values()):
            raise NotPermitted("Another mailbox has this special use.")
        # A special mailbox that was deleted comes back under its fixed id, for other devices know that one
        fixed = (one for one, info in DEFAULTS.items() if info.special_use == special_use)
        mailbox_id = next((one for one in fixed if one not in directory.shown_as), mailbox_id)
    info = MailboxInfo(mailbox_id=mailbox_id, name=name, special_use=special_use)
    tx.put(mailbox_doc_id(mailbox_id), mailbox_content(info))
    return info


def rename(tx: Transaction, directory: Directory, mailbox_id: MailboxId, name: str) -> None:
    """RENAME with inferiors; of INBOX the mail moves and INBOX stays (RFC 9051 6.3.6)."""
    if mailbox_id == INBOX:
        made = create(tx, directory, name, None)
        rows = row_ids_in(tx.connection, INBOX)
        tx.update_rows(MAIL_ROWS.name, rows, {"mailbox": made.mailbox_id})
        copy_annotations(tx, INBOX, made.mailbox_id)
        return
    for one, new in directory.renamed(mailbox_id, name):
        _change(tx, one, "name", new)


def delete(tx: Transaction, directory: Directory, mailbox_id: MailboxId) -> None:
    """The mailbox and the rows shown in it; what other devices put there meanwhile will show in INBOX."""
    directory.require(mailbox_id)
    if mailbox_id == INBOX:
        raise InvalidName("INBOX cannot be deleted.")
    tx.delete_rows(MAIL_ROWS.name, row_ids_in(tx.connection, mailbox_id))
    for one in directory.same_name(mailbox_id):
        drop_annotations(tx, one)
        if one in DEFAULTS:  # these are there without a document, so their absence needs one
            tx.put(mailbox_doc_id(one), {"type": MAILBOX_TYPE, "deleted": True})
        else:
            tx.delete(mailbox_doc_id(one))


def set_subscribed(
    tx: Transaction, directory: Directory, mailbox_id: MailboxId, subscribed: bool
) -> None:
    if directory.require(mailbox_id).subscribed != subscribed:
        _change(tx, mailbox_id, "subscribed", subscribed)


def _change(tx: Transaction, mailbox_id: MailboxId, name: str, value: Any) -> None:
    content = tx.get(mailbox_doc_id(mailbox_id)) or {"type": MAILBOX_TYPE}
    tx.put(mailbox_doc_id(mailbox_id), {**content, name: value})
