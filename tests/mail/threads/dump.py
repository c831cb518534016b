"""All that a device derived from its documents and rows, in a form that does not depend on how it came about."""

from __future__ import annotations

from typing import Any

from leap.mail.local import LocalAccount
from leap.mail.threads.tables import thread_faults
from leap.soledad.sqlite import Connection
from tests.mail.index_check import check_index

_QUESTIONS = {
    # one that was deleted keeps its counters until the index is built anew
    "mailboxes": "SELECT mailbox_id, messages, unseen, size FROM mail_box WHERE messages > 0",
    "rows": "SELECT mailbox_id, row_id, message_id, header_id, flags, size, internal_date, zone, place FROM mail_index",
    "headers": "SELECT * FROM mail_metadata",
    "facts": "SELECT header_id, ids, date, subject, orphan, people, arrived, counted FROM mail_facts",
    "threads": "SELECT t.root, t.messages, t.oldest, t.oldest_id, t.newest, f.header_id FROM mail_thread t"
    " LEFT JOIN mail_facts f ON f.thread = t.number",
    "names": "SELECT n.id, t.root FROM mail_thread_name n LEFT JOIN mail_thread t ON t.number = n.thread",
    "contacts": "SELECT * FROM mail_contact",
    "uses": "SELECT u.address, f.header_id, u.sent, u.date, u.name FROM mail_contact_use u"
    " LEFT JOIN mail_facts f ON f.number = u.message",
    "texts": "SELECT header_id, internal_date, state FROM mail_text",
    "words": "SELECT t.header_id, w.term FROM mail_words_in w LEFT JOIN mail_text t ON t.number = w.doc",
}
NUMBERS = {
    "uids": "SELECT mailbox_id, uid, row_id, modseq FROM mail_index",
    "counters": "SELECT mailbox_id, uid_next, modseq FROM mail_box WHERE messages > 0",
}


async def dump(account: LocalAccount, *, numbers: bool = False) -> dict[str, list[Any]]:
    """With `numbers` also UIDs and modseqs, which an index built anew gives anew."""
    rows = [
        row
        for info in await account.list_mailboxes()
        for row in await account.rows(info.mailbox_id)
    ]
    await account.thread_ids([row.row_id for row in rows])  # opens what was not opened yet
    for row in rows:
        await account.read(row.row_id)  # and has it here, for search
    await account.deriving.words.fill()
    await check_index(account.store)

    def job(connection: Connection) -> dict[str, list[Any]]:
        assert thread_faults(connection) == []
        asked = _QUESTIONS | (NUMBERS if numbers else {})
        return {
            name: sorted(connection.execute(question).fetchall(), key=repr)
            for name, question in asked.items()
        }

    return await account.store.read(job)
