"""What must hold of every mailbox index, whatever happened before."""

from __future__ import annotations

from leap.mail.projection import DirectoryReader
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad


async def check_index(store: Soledad) -> None:
    """Each row is shown once and where it belongs, counters are true, uids and modseqs are within bounds."""

    def job(connection: Connection) -> None:
        directory = DirectoryReader().read(connection)
        rows = connection.execute(
            "SELECT row_id, mailbox, flags, header_id, size FROM mail_row WHERE deleted = 0"
        ).fetchall()
        expected = {
            row_id: (directory.place(mailbox), mailbox, flags, header_id or "", size or 0)
            for row_id, mailbox, flags, header_id, size in rows
        }
        found = connection.execute(
            "SELECT row_id, mailbox_id, place, flags, header_id, size, uid, modseq FROM mail_index"
        ).fetchall()
        assert {values[0]: values[1:6] for values in found} == expected
        boxes = {
            values[0]: values[1:]
            for values in connection.execute(
                "SELECT mailbox_id, uid_validity, uid_next, modseq, messages, unseen, size, recent, recent_from"
                " FROM mail_box"
            )
        }
        assert set(directory.shown) <= boxes.keys()
        assert len({values[0] for values in boxes.values()}) == len(boxes)
        for mailbox_id, box in boxes.items():
            validity, uid_next, highest, messages, unseen, size, recent, recent_from = box
            inside = [values for values in found if values[1] == mailbox_id]
            assert 1 <= validity < 2**32
            assert messages == len(inside)
            assert unseen == sum("\\Seen" not in values[3].split() for values in inside)
            assert size == sum(values[5] for values in inside)
            assert recent == sum(values[6] >= recent_from for values in inside)
            assert all(1 <= values[6] < uid_next for values in inside)
            assert all(values[7] <= highest for values in inside)
            gone = connection.execute(
                "SELECT uid, modseq FROM mail_expunged WHERE mailbox_id = ?", (mailbox_id,)
            ).fetchall()
            assert all(uid < uid_next and modseq <= highest for uid, modseq in gone)
            assert {values[6] for values in inside}.isdisjoint({uid for uid, _ in gone})
        headers = {values[4] for values in found}
        opened = {one for (one,) in connection.execute("SELECT header_id FROM mail_metadata")}
        wanted = {one for (one,) in connection.execute("SELECT header_id FROM mail_header_wanted")}
        assert headers - {""} == opened | wanted
        assert not opened & wanted

    await store.read(job)
