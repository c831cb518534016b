"""The list of rows which sessions share, and how it follows changes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.contract import MessageId, MessageRow, ModSeq, RowId, Uid
from leap.mail.row_list import RowList


def row(uid: int, *flags: str, modseq: int = 1) -> MessageRow:
    return MessageRow(
        row_id=RowId(f"r{uid}"),
        message_id=MessageId(f"m{uid}"),
        uid=Uid(uid),
        modseq=ModSeq(modseq),
        flags=flags,
        size=10,
        internal_date=0,
    )


def test_it_knows_what_opening_a_mailbox_asks() -> None:
    rows = RowList([row(2, "\\Seen", "Work"), row(5, "work", "$Junk"), row(9, "\\Seen")])
    assert list(rows.uids) == [2, 5, 9]
    assert rows.first_unseen == 1
    assert rows.keywords == {"work": "Work", "$junk": "$Junk"}
    assert RowList([]).first_unseen is None
    assert RowList([row(1, "\\Seen")]).first_unseen is None


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(1, 30)), st.sets(st.integers(1, 40)), st.sets(st.integers(1, 30)))
def test_what_follows_changes_is_what_a_new_list_would_be(
    before: set[int], changed: set[int], gone: set[int]
) -> None:
    gone -= changed
    old = RowList(row(uid) for uid in sorted(before))
    kept = list(old)
    new = old.followed([row(uid, "\\Seen", modseq=2) for uid in sorted(changed)], map(Uid, gone))
    expected = {uid: row(uid) for uid in before - gone}
    expected.update({uid: row(uid, "\\Seen", modseq=2) for uid in changed})
    assert list(new) == [expected[uid] for uid in sorted(expected)]
    assert list(new.uids) == sorted(expected)
    assert list(old) == kept
