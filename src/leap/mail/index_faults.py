"""What is wrong with a mailbox index: each thing it says, compared with documents and rows. Reads only."""

from __future__ import annotations

from leap.mail.mailboxes import Directory
from leap.mail.model import MAIL_ROWS, MAILBOX_TYPE, mailbox_id_of
from leap.soledad.document_api import find as find_documents
from leap.soledad.sqlite import Connection

MOST = 20  # sentences: the index is built anew as a whole, whatever they are

_DIFFERING = f"""
    SELECT r.row_id FROM {MAIL_ROWS.name} r LEFT JOIN mail_index i ON i.row_id = r.row_id
    WHERE r.deleted = 0 AND (i.row_id IS NULL OR i.place IS NOT r.mailbox OR i.flags IS NOT r.flags
        OR i.header_id IS NOT coalesce(r.header_id, '') OR i.size IS NOT coalesce(r.size, 0))
    LIMIT ?"""  # noqa: S608
_SUPERFLUOUS = f"""
    SELECT i.row_id FROM mail_index i LEFT JOIN {MAIL_ROWS.name} r ON r.row_id = i.row_id AND r.deleted = 0
    WHERE r.row_id IS NULL LIMIT ?"""  # noqa: S608
_COUNTS = """
    SELECT b.mailbox_id FROM mail_box b LEFT JOIN (
        SELECT mailbox_id, count(*) AS messages, sum(size) AS size, max(uid) AS highest, max(modseq) AS modseq,
            sum(' ' || flags || ' ' NOT LIKE '% \\Seen %') AS unseen
        FROM mail_index GROUP BY mailbox_id
    ) i ON i.mailbox_id = b.mailbox_id
    WHERE b.messages IS NOT coalesce(i.messages, 0) OR b.size IS NOT coalesce(i.size, 0)
        OR b.unseen IS NOT coalesce(i.unseen, 0) OR b.uid_next <= coalesce(i.highest, 0)
        OR b.modseq < coalesce(i.modseq, 0)"""
_UNOPENED = """
    SELECT i.row_id FROM mail_index i WHERE i.header_id <> ''
        AND NOT EXISTS (SELECT 1 FROM mail_metadata m WHERE m.header_id = i.header_id)
        AND NOT EXISTS (SELECT 1 FROM mail_header_wanted w WHERE w.header_id = i.header_id)
    LIMIT ?"""


def index_faults(connection: Connection, directory: Directory) -> list[str]:
    """Sentences, without their full stop; none when the index is right."""
    faults = [
        f"Message {row_id} is not listed as it is stored"
        for (row_id,) in connection.execute(_DIFFERING, (MOST,))
    ]
    faults += [
        f"Message {row_id} is listed, but not stored"
        for (row_id,) in connection.execute(_SUPERFLUOUS, (MOST,))
    ]
    for place, mailbox_id in connection.execute(
        "SELECT DISTINCT place, mailbox_id FROM mail_index"
    ).fetchall():
        if directory.place(place) != mailbox_id:
            faults.append(f"Messages of mailbox {place} are listed in another one")
    faults += [
        f"Mailbox {mailbox_id} counts its messages wrongly"
        for (mailbox_id,) in connection.execute(_COUNTS)
    ]
    known = {one for (one,) in connection.execute("SELECT mailbox_id FROM mail_box")}
    faults += [f"Mailbox {one} has no counters" for one in directory.shown if one not in known]
    faults += [
        f"Nothing would ever open the header record of message {row_id}"
        for (row_id,) in connection.execute(_UNOPENED, (MOST,))
    ]
    kept = {one for (one,) in connection.execute("SELECT mailbox_id FROM mail_document")}
    stored = {
        mailbox_id
        for document in find_documents(connection, MAILBOX_TYPE)
        if (mailbox_id := mailbox_id_of(document.doc_id)) is not None
    }
    if kept != stored:
        faults.append("The list of mailboxes is not the one that is stored")
    return faults[:MOST]
