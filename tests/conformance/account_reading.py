"""What every account does when messages are read again and again, many at a time; part of `AccountBackendSuite`."""

from __future__ import annotations

import pytest

from leap.mail.contract import INBOX, AccountBackend, NoSuchMailbox, NoSuchMessage, RowId
from tests.conformance.account_making import BROKEN, ENCODED, PLAIN, new, put, uids


class ReadingSuite:
    """Inherited by `AccountBackendSuite`."""

    async def test_many_messages_are_read_in_the_order_asked(self, backend: AccountBackend) -> None:
        one, two, three = await backend.append(INBOX, [new(PLAIN), new(ENCODED), new(BROKEN)])
        asked = [three.row_id, one.row_id, two.row_id]
        assert await backend.read_many(asked) == [BROKEN, PLAIN, ENCODED]
        assert await backend.read_many([]) == []
        with pytest.raises(NoSuchMessage):
            await backend.read_many([one.row_id, RowId("never")])

    async def test_what_came_as_it_is_served_has_no_original(self, backend: AccountBackend) -> None:
        [one] = await backend.append(INBOX, [new(PLAIN)])
        assert await backend.read_original(one.row_id) is None
        with pytest.raises(NoSuchMessage):
            await backend.read_original(RowId("never"))

    async def test_header_fields_are_the_octets_that_stand_there(
        self, backend: AccountBackend
    ) -> None:
        traced = (
            b"Received: from a\r\n\tby b; to: nobody\r\nTo: Alice,\r\n  Bob\r\nX-Note:  1 \r\n"
            b"SUBJECT : odd\r\nReceived: again\r\n\r\nTo: the body\r\n"
        )
        one, two = await backend.append(INBOX, [new(traced), new(PLAIN)])
        asked = [two.row_id, one.row_id]
        for _ in range(2):  # what was answered once may be remembered
            assert await backend.header_fields(asked, [b"subject", b"To"]) == [
                b"To: bob@example.test\r\nSubject: Plain words\r\n\r\n",
                b"To: Alice,\r\n  Bob\r\nSUBJECT : odd\r\n\r\n",
            ]
            assert await backend.header_fields([one.row_id], [b"RECEIVED", b"x-note"]) == [
                traced[: traced.index(b"To: Alice")] + b"X-Note:  1 \r\nReceived: again\r\n\r\n",
            ]
        assert await backend.header_fields(asked, [b"cc"]) == [b"\r\n", b"\r\n"]
        assert await backend.header_fields(asked, []) == [b"\r\n", b"\r\n"]
        assert await backend.header_fields([], [b"to"]) == []

    async def test_what_was_read_once_is_gone_when_the_message_is(
        self, backend: AccountBackend
    ) -> None:
        kept, gone = await backend.append(INBOX, [new(PLAIN), new(ENCODED, "\\Deleted")])
        both = [kept.row_id, gone.row_id]
        await backend.metadata(both)
        await backend.header_fields(both, [b"to"])
        await backend.expunge(INBOX)
        with pytest.raises(NoSuchMessage):
            await backend.metadata(both)
        with pytest.raises(NoSuchMessage):
            await backend.header_fields(both, [b"to"])
        assert len(await backend.header_fields(both[:1], [b"to"])) == 1

    async def test_lists_and_counts_follow_every_change(self, backend: AccountBackend) -> None:
        first = await put(backend, 3, "\\Seen")
        for _ in range(2):
            assert await uids(backend) == first
            assert (await backend.status(INBOX)).messages == 3
        await backend.store_flags(INBOX, first[1:2], "set", ["word", "\\Deleted"])
        [_, changed, _] = await backend.rows(INBOX)
        assert set(changed.flags) == {"word", "\\Deleted"}
        status = await backend.status(INBOX)
        assert (status.unseen, status.highest_modseq) == (1, changed.modseq)
        await backend.expunge(INBOX)
        [fourth] = await put(backend, 1)
        assert await uids(backend) == [first[0], first[2], fourth]
        assert (await backend.status(INBOX)).messages == 3
        await backend.claim_recent(INBOX)
        assert (await backend.status(INBOX)).recent == 0
        made = await backend.create_mailbox("Later")
        await backend.move(INBOX, [fourth], made.mailbox_id)
        assert await uids(backend) == [first[0], first[2]]
        assert len(await uids(backend, made.mailbox_id)) == 1
        assert made in await backend.list_mailboxes()
        await backend.delete_mailbox(made.mailbox_id)
        assert made not in await backend.list_mailboxes()
        with pytest.raises(NoSuchMailbox):
            await backend.status(made.mailbox_id)
        with pytest.raises(NoSuchMailbox):
            await backend.rows(made.mailbox_id)
