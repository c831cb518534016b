"""What every account keeps of messages, and how it takes them in."""

from __future__ import annotations

import asyncio

import pytest

from leap.mail.contract import (
    INBOX,
    AccountBackend,
    AccountError,
    MailboxId,
    MessageId,
    NewMessage,
    NoSuchMessage,
    RowId,
)
from tests.conformance.account_making import (
    BROKEN,
    ENCODED,
    NESTED,
    PLAIN,
    new,
    put,
    uids,
)


class ContentSuite:
    """Part of `AccountBackendSuite`."""

    @pytest.mark.parametrize("raw", [PLAIN, ENCODED, BROKEN, b"", b"\r\n", PLAIN * 3000])
    async def test_bytes_come_back_as_they_went_in(
        self, backend: AccountBackend, raw: bytes
    ) -> None:
        [appended] = await backend.append(INBOX, [new(raw)])
        [row] = await backend.rows(INBOX)
        assert (row.uid, row.row_id, row.size) == (appended.uid, appended.row_id, len(raw))
        assert await backend.read(row.row_id) == raw
        assert await backend.read(row.row_id, 3, 7) == raw[3:10]
        assert await backend.read(row.row_id, 5) == raw[5:]
        assert await backend.read(row.row_id, len(raw), 10) == b""
        assert await backend.read(row.row_id, len(raw) + 100) == b""
        assert await backend.read(row.row_id, 0, 0) == b""
        assert (await backend.status(INBOX)).size == len(raw)

    async def test_metadata_comes_in_the_order_asked(self, backend: AccountBackend) -> None:
        one, two = await backend.append(INBOX, [new(PLAIN), new(ENCODED)])
        second, first = await backend.metadata([two.row_id, one.row_id])
        assert (second.row_id, first.row_id) == (two.row_id, one.row_id)
        assert (first.subject, second.subject) == ("Plain words", "Grüße")
        for made, raw in ((first, PLAIN), (second, ENCODED)):
            assert made.header_size == raw.index(b"\r\n\r\n") + 4
            assert made.envelope.startswith(b"(")
            assert made.envelope.endswith(b")")
            assert made.body.startswith(b'("TEXT" "PLAIN"')
            assert made.body_structure.startswith(b'("TEXT" "PLAIN"')
        assert first.security.encryption == "local"
        assert "heron" in first.preview
        assert await backend.metadata([]) == []

    async def test_an_expunged_message_cannot_be_read(self, backend: AccountBackend) -> None:
        [appended] = await backend.append(INBOX, [new(PLAIN, "\\Deleted")])
        await backend.expunge(INBOX)
        with pytest.raises(NoSuchMessage):
            await backend.read(appended.row_id)
        with pytest.raises(NoSuchMessage):
            await backend.metadata([appended.row_id])
        with pytest.raises(NoSuchMessage):
            await backend.read(RowId("never"))

    async def test_append_keeps_flags_date_and_zone(self, backend: AccountBackend) -> None:
        await backend.append(INBOX, [new(PLAIN, "\\Seen", "$Work", at=1_600_000_000, zone=-210)])
        [row] = await backend.rows(INBOX)
        assert set(row.flags) == {"\\Seen", "$Work"}
        assert (row.internal_date, row.zone) == (1_600_000_000, -210)

    async def test_append_without_a_date_takes_now(self, backend: AccountBackend) -> None:
        await backend.append(INBOX, [NewMessage(raw=PLAIN)])
        [row] = await backend.rows(INBOX)
        assert row.internal_date > 1_600_000_000

    async def test_uids_ascend_and_are_never_reused(self, backend: AccountBackend) -> None:
        first = await put(backend, 3, "\\Deleted")
        assert first == sorted(set(first))
        await backend.expunge(INBOX)
        status = await backend.status(INBOX)
        assert status.uid_next > first[-1]
        second = await put(backend, 2)
        assert second[0] >= status.uid_next
        assert await uids(backend) == second
        appended = (await backend.append(INBOX, [new()]))[0]
        assert appended.uid_validity == (await backend.status(INBOX)).uid_validity

    async def test_several_messages_are_appended_together_or_not_at_all(
        self, backend: AccountBackend
    ) -> None:
        with pytest.raises(AccountError):
            await backend.append(INBOX, [new(), new(PLAIN, "\\Recent")])
        assert await backend.rows(INBOX) == []
        both = await backend.append(INBOX, [new(PLAIN), new(ENCODED)])
        assert [await backend.read(a.row_id) for a in both] == [PLAIN, ENCODED]
        assert await backend.append(INBOX, []) == []

    async def test_many_appends_at_once_all_arrive(self, backend: AccountBackend) -> None:
        raws = [PLAIN + b"%d\r\n" % i for i in range(20)]
        await asyncio.gather(*(backend.append(INBOX, [new(raw)]) for raw in raws))
        rows = await backend.rows(INBOX)
        assert len({row.uid for row in rows}) == 20
        assert {await backend.read(row.row_id) for row in rows} == set(raws)

    async def test_the_structure_says_where_parts_lie(self, backend: AccountBackend) -> None:
        [appended] = await backend.append(INBOX, [new(NESTED)])
        tree = await backend.structure(appended.row_id)
        numbered = dict(tree.numbered())
        assert [(number, part.content_type) for number, part in numbered.items()] == [
            ("1", "text/plain"),
            ("2", "message/rfc822"),
            ("2.1", "text/plain"),
            ("2.2", "image/png"),
            ("3", "application/octet-stream"),
        ]
        last = numbered["3"]
        assert NESTED[last.body_start : last.end] == b"AAEC"
        assert last.encoding == "base64"
        assert NESTED[numbered["2.1"].body_start : numbered["2.1"].end] == b"inner text"
        assert (tree.header_start, tree.end) == (0, len(NESTED))
        with pytest.raises(NoSuchMessage):
            await backend.structure(RowId("never"))

    async def test_messages_are_found_wherever_they_are_now(self, backend: AccountBackend) -> None:
        archive = MailboxId("archive")
        made = await backend.append(INBOX, [new(at=1_700_000_000), new(at=1_700_000_001)])
        first, second = await backend.rows(INBOX)
        await backend.move(INBOX, [made[0].uid], archive)
        await backend.copy(INBOX, [made[1].uid], archive)
        found = await backend.rows_of([second.message_id, MessageId("never"), first.message_id])
        assert [one.row.message_id for one in found] == [second.message_id] * 2 + [first.message_id]
        assert {one.mailbox_id for one in found[:2]} == {INBOX, archive}
        assert (found[2].mailbox_id, found[2].row.row_id) == (archive, first.row_id)
        assert found[2].row in await backend.rows(archive)
        # the first row goes, its copy stays
        await backend.store_flags(INBOX, [made[1].uid], "add", ["\\Deleted"])
        await backend.expunge(INBOX)
        [left] = await backend.rows_of([second.message_id])
        assert left.mailbox_id == archive
        assert await backend.rows_of([]) == []
