"""What every implementation of `leap.mail.contract.AccountBackend` must do.

Use: a class of tests which inherits `AccountBackendSuite` and has an async fixture `backend`, a new account with
nothing in it. Accounts which need time to announce changes (over a socket) get `PATIENCE` seconds.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator

import pytest

from leap.mail.contract import (
    INBOX,
    SPECIAL_USE,
    AccountBackend,
    AccountError,
    Change,
    InvalidName,
    MailboxExists,
    MailboxId,
    ModSeq,
    NewMessage,
    NoSuchMailbox,
    NoSuchMessage,
    QueryError,
    RowId,
    Stored,
    Uid,
)
from tests.conformance.account_reading import ReadingSuite
from tests.conformance.samples import BROKEN as BROKEN
from tests.conformance.samples import ENCODED as ENCODED
from tests.conformance.samples import PLAIN as PLAIN
from tests.conformance.samples import new as new
from tests.conformance.samples import put as put
from tests.conformance.samples import uids as uids

PATIENCE = 5.0


async def close_stream(stream: AsyncIterator[Change]) -> None:
    close = getattr(stream, "aclose", None)
    if close is not None:
        result = close()
        if inspect.isawaitable(result):
            await result


class AccountBackendSuite(ReadingSuite):
    """Inherit it and give it a fixture `backend`."""

    # -- mailboxes

    async def test_a_new_account_has_inbox_and_the_special_mailboxes(
        self, backend: AccountBackend
    ) -> None:
        found = {m.mailbox_id: m for m in await backend.list_mailboxes()}
        assert found[INBOX].name == "INBOX"
        for mailbox_id, (name, use) in SPECIAL_USE.items():
            assert (found[mailbox_id].name, found[mailbox_id].special_use) == (name, use)
        assert all(m.subscribed for m in found.values())
        assert len(found) == 1 + len(SPECIAL_USE)

    async def test_a_new_mailbox_is_empty_and_listed(self, backend: AccountBackend) -> None:
        made = await backend.create_mailbox("Projects/Größe")
        assert made.name == "Projects/Größe"
        assert made.mailbox_id in {m.mailbox_id for m in await backend.list_mailboxes()}
        status = await backend.status(made.mailbox_id)
        assert (status.messages, status.unseen, status.recent, status.size) == (0, 0, 0, 0)
        assert 1 <= status.uid_validity < 2**32
        assert status.uid_next >= 1
        assert status.highest_modseq >= 1
        assert status.mailbox_id == made.mailbox_id

    async def test_two_mailboxes_cannot_have_one_name(self, backend: AccountBackend) -> None:
        await backend.create_mailbox("Work")
        with pytest.raises(MailboxExists):
            await backend.create_mailbox("Work")
        with pytest.raises((MailboxExists, InvalidName)):
            await backend.create_mailbox("InBox")

    @pytest.mark.parametrize("name", ["", "/a", "a/", "a//b", "a\x00b", "a\nb", "x" * 5000])
    async def test_bad_names_are_refused(self, backend: AccountBackend, name: str) -> None:
        with pytest.raises(InvalidName):
            await backend.create_mailbox(name)
        assert len(await backend.list_mailboxes()) == 1 + len(SPECIAL_USE)

    async def test_rename_takes_inferiors_along_and_keeps_mail(
        self, backend: AccountBackend
    ) -> None:
        top = await backend.create_mailbox("a")
        below = await backend.create_mailbox("a/b")
        beside = await backend.create_mailbox("ab")
        await backend.append(below.mailbox_id, [new()])
        before = await backend.status(below.mailbox_id)
        await backend.rename_mailbox(top.mailbox_id, "c/d")
        names = {m.mailbox_id: m.name for m in await backend.list_mailboxes()}
        assert names[top.mailbox_id] == "c/d"
        assert names[below.mailbox_id] == "c/d/b"
        assert names[beside.mailbox_id] == "ab"
        after = await backend.status(below.mailbox_id)
        assert (after.messages, after.uid_validity) == (1, before.uid_validity)

    async def test_rename_onto_another_is_refused(self, backend: AccountBackend) -> None:
        one = await backend.create_mailbox("one")
        await backend.create_mailbox("two")
        with pytest.raises(MailboxExists):
            await backend.rename_mailbox(one.mailbox_id, "two")
        with pytest.raises(InvalidName):
            await backend.rename_mailbox(one.mailbox_id, "one/inside")

    async def test_renaming_inbox_moves_its_mail_and_leaves_it_there(
        self, backend: AccountBackend
    ) -> None:
        await put(backend, 3)
        await backend.rename_mailbox(INBOX, "Old")
        found = {m.name: m.mailbox_id for m in await backend.list_mailboxes()}
        assert found["INBOX"] == INBOX
        assert (await backend.status(INBOX)).messages == 0
        assert (await backend.status(found["Old"])).messages == 3

    async def test_a_deleted_mailbox_is_gone(self, backend: AccountBackend) -> None:
        made = await backend.create_mailbox("Short")
        await backend.append(made.mailbox_id, [new()])
        before = await backend.status(made.mailbox_id)
        await backend.delete_mailbox(made.mailbox_id)
        assert "Short" not in {m.name for m in await backend.list_mailboxes()}
        with pytest.raises(NoSuchMailbox):
            await backend.status(made.mailbox_id)
        again = await backend.create_mailbox("Short")
        after = await backend.status(again.mailbox_id)
        assert after.messages == 0
        assert after.uid_validity != before.uid_validity or after.uid_next >= before.uid_next

    async def test_deleting_a_mailbox_leaves_its_inferiors(self, backend: AccountBackend) -> None:
        top = await backend.create_mailbox("top")
        await backend.create_mailbox("top/below")
        await backend.delete_mailbox(top.mailbox_id)
        assert "top/below" in {m.name for m in await backend.list_mailboxes()}

    async def test_inbox_cannot_be_deleted(self, backend: AccountBackend) -> None:
        with pytest.raises(InvalidName):
            await backend.delete_mailbox(INBOX)

    async def test_subscriptions_are_kept(self, backend: AccountBackend) -> None:
        made = await backend.create_mailbox("News")
        assert made.subscribed
        await backend.set_subscribed(made.mailbox_id, False)
        assert not {m.name: m.subscribed for m in await backend.list_mailboxes()}["News"]
        await backend.set_subscribed(made.mailbox_id, True)
        assert {m.name: m.subscribed for m in await backend.list_mailboxes()}["News"]

    async def test_unknown_mailboxes_are_told_so(self, backend: AccountBackend) -> None:
        nowhere = MailboxId("nowhere")
        for attempt in (
            backend.status(nowhere),
            backend.rows(nowhere),
            backend.expunged(nowhere, ModSeq(0)),
            backend.append(nowhere, [new()]),
            backend.store_flags(nowhere, [Uid(1)], "add", ["\\Seen"]),
            backend.expunge(nowhere),
            backend.delete_mailbox(nowhere),
            backend.rename_mailbox(nowhere, "x"),
            backend.set_subscribed(nowhere, True),
            backend.copy(INBOX, [Uid(1)], nowhere),
            backend.move(INBOX, [Uid(1)], nowhere),
        ):
            with pytest.raises(NoSuchMailbox):
                await attempt

    # -- bytes

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

    # -- append

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

    # -- windows and changes by modseq

    async def test_rows_come_by_uid_in_windows(self, backend: AccountBackend) -> None:
        all_uids = await put(backend, 5)
        assert await uids(backend) == all_uids
        window = await backend.rows(INBOX, first=all_uids[1], last=all_uids[3])
        assert [row.uid for row in window] == all_uids[1:4]
        rest = await backend.rows(INBOX, first=all_uids[3])
        assert [row.uid for row in rest] == all_uids[3:]

    async def test_changed_since_gives_only_what_changed(self, backend: AccountBackend) -> None:
        all_uids = await put(backend, 4)
        before = (await backend.status(INBOX)).highest_modseq
        assert await backend.rows(INBOX, changed_since=before) == []
        await backend.store_flags(INBOX, [all_uids[2]], "add", ["\\Flagged"])
        changed = await backend.rows(INBOX, changed_since=before)
        assert [row.uid for row in changed] == [all_uids[2]]
        after = (await backend.status(INBOX)).highest_modseq
        assert after > before
        assert changed[0].modseq == after

    async def test_every_change_raises_the_highest_modseq(self, backend: AccountBackend) -> None:
        seen = [(await backend.status(INBOX)).highest_modseq]

        async def note() -> None:
            seen.append((await backend.status(INBOX)).highest_modseq)

        [uid] = await put(backend, 1)
        await note()
        await backend.store_flags(INBOX, [uid], "add", ["\\Deleted"])
        await note()
        await backend.copy(INBOX, [uid], INBOX)
        await note()
        await backend.expunge(INBOX, [uid])
        await note()
        await put(backend, 1)
        await note()
        assert seen == sorted(set(seen))
        rows = await backend.rows(INBOX)
        assert max(row.modseq for row in rows) <= seen[-1]

    async def test_expunged_uids_are_remembered_by_modseq(self, backend: AccountBackend) -> None:
        all_uids = await put(backend, 4, "\\Deleted")
        start = (await backend.status(INBOX)).highest_modseq
        await backend.expunge(INBOX, [all_uids[2]])
        middle = (await backend.status(INBOX)).highest_modseq
        await backend.expunge(INBOX, [all_uids[0]])
        assert await backend.expunged(INBOX, start) == [all_uids[0], all_uids[2]]
        assert await backend.expunged(INBOX, middle) == [all_uids[0]]
        now = (await backend.status(INBOX)).highest_modseq
        assert await backend.expunged(INBOX, now) == []

    # -- flags

    async def test_flags_are_added_removed_and_set(self, backend: AccountBackend) -> None:
        [uid] = await put(backend, 1, "\\Seen")
        [row] = (await backend.store_flags(INBOX, [uid], "add", ["\\Flagged", "$Work"])).rows
        assert set(row.flags) == {"\\Seen", "\\Flagged", "$Work"}
        [row] = (await backend.store_flags(INBOX, [uid], "remove", ["\\Seen", "\\Draft"])).rows
        assert set(row.flags) == {"\\Flagged", "$Work"}
        [row] = (await backend.store_flags(INBOX, [uid], "set", ["\\Answered"])).rows
        assert set(row.flags) == {"\\Answered"}
        assert (await backend.rows(INBOX)) == [row]
        [row] = (await backend.store_flags(INBOX, [uid], "set", [])).rows
        assert row.flags == ()

    async def test_a_store_that_changes_nothing_keeps_the_modseq(
        self, backend: AccountBackend
    ) -> None:
        [uid] = await put(backend, 1, "\\Seen")
        [before] = await backend.rows(INBOX)
        [after] = (await backend.store_flags(INBOX, [uid], "add", ["\\Seen"])).rows
        assert after == before

    async def test_a_conditional_store_leaves_alone_what_changed_since(
        self, backend: AccountBackend
    ) -> None:
        all_uids = await put(backend, 3)
        since = (await backend.status(INBOX)).highest_modseq
        await backend.store_flags(INBOX, [all_uids[1]], "add", ["\\Flagged"])
        everything = [*all_uids, Uid(all_uids[-1] + 100)]
        done = await backend.store_flags(INBOX, everything, "add", ["\\Seen"], since)
        assert [row.uid for row in done.rows] == [all_uids[0], all_uids[2]]
        assert done.modified == (all_uids[1],)
        rows = await backend.rows(INBOX)
        assert [row.flags for row in rows] == [("\\Seen",), ("\\Flagged",), ("\\Seen",)]
        now = (await backend.status(INBOX)).highest_modseq
        done = await backend.store_flags(INBOX, all_uids, "set", [], now)
        assert (len(done.rows), done.modified) == (3, ())

    async def test_nothing_is_unchanged_since_the_very_beginning(
        self, backend: AccountBackend
    ) -> None:
        all_uids = await put(backend, 2)
        before = await backend.status(INBOX)
        done = await backend.store_flags(INBOX, all_uids, "add", ["\\Seen"], ModSeq(0))
        assert done == Stored(rows=(), modified=tuple(all_uids))
        assert await backend.status(INBOX) == before

    async def test_of_conditional_stores_at_the_same_time_one_wins(
        self, backend: AccountBackend
    ) -> None:
        """RFC 7162 3.1.3: looking at the modseq and changing the flags are one."""
        all_uids = await put(backend, 2)
        since = (await backend.status(INBOX)).highest_modseq
        done = await asyncio.gather(
            *(backend.store_flags(INBOX, all_uids, "add", [f"$Taken{i}"], since) for i in range(5))
        )
        assert sorted(len(one.rows) for one in done) == [0, 0, 0, 0, 2]
        assert sorted(len(one.modified) for one in done) == [0, 2, 2, 2, 2]
        assert {len(row.flags) for row in await backend.rows(INBOX)} == {1}

    async def test_unknown_uids_are_passed_over(self, backend: AccountBackend) -> None:
        [uid] = await put(backend, 1)
        unknown = Uid(uid + 1000)
        [row] = (await backend.store_flags(INBOX, [uid, unknown], "add", ["\\Seen"])).rows
        assert row.uid == uid
        assert await backend.store_flags(INBOX, [unknown], "add", ["\\Seen"]) == Stored(rows=())
        done = await backend.copy(INBOX, [unknown, uid], MailboxId("archive"))
        assert done.source == (uid,)
        done = await backend.move(INBOX, [unknown], MailboxId("archive"))
        assert (done.source, done.target) == ((), ())
        assert await backend.expunge(INBOX, [unknown]) == []

    async def test_recent_cannot_be_stored(self, backend: AccountBackend) -> None:
        [uid] = await put(backend, 1)
        with pytest.raises(AccountError):
            await backend.store_flags(INBOX, [uid], "add", ["\\Recent"])

    async def test_unseen_is_counted(self, backend: AccountBackend) -> None:
        all_uids = await put(backend, 3)
        assert (await backend.status(INBOX)).unseen == 3
        await backend.store_flags(INBOX, all_uids[:2], "add", ["\\Seen"])
        status = await backend.status(INBOX)
        assert (status.messages, status.unseen) == (3, 1)

    async def test_recent_is_claimed_once(self, backend: AccountBackend) -> None:
        all_uids = await put(backend, 2)
        assert (await backend.status(INBOX)).recent == 2
        assert await backend.claim_recent(INBOX) == all_uids
        assert (await backend.status(INBOX)).recent == 0
        assert await backend.claim_recent(INBOX) == []
        third = await put(backend, 1)
        assert await backend.claim_recent(INBOX) == third

    # -- copy, move, expunge

    async def test_a_copy_is_another_row_of_the_same_message(self, backend: AccountBackend) -> None:
        archive = MailboxId("archive")
        await backend.append(INBOX, [new(PLAIN, "\\Seen"), new(ENCODED, "$Work", zone=60)])
        source = await backend.rows(INBOX)
        done = await backend.copy(INBOX, [row.uid for row in source], archive)
        target = await backend.rows(archive)
        assert done.source == tuple(row.uid for row in source)
        assert done.target == tuple(row.uid for row in target)
        assert done.uid_validity == (await backend.status(archive)).uid_validity
        for old, copied in zip(source, target, strict=True):
            assert copied.row_id != old.row_id
            assert copied.message_id == old.message_id
            assert set(copied.flags) == set(old.flags)
            assert (copied.internal_date, copied.zone) == (old.internal_date, old.zone)
            assert await backend.read(copied.row_id) == await backend.read(old.row_id)
        assert await backend.rows(INBOX) == source
        await backend.store_flags(archive, [target[0].uid], "set", ["\\Deleted"])
        await backend.expunge(archive)
        assert await backend.read(source[0].row_id) == PLAIN

    async def test_a_move_leaves_nothing_behind(self, backend: AccountBackend) -> None:
        archive = MailboxId("archive")
        all_uids = await put(backend, 3, "\\Flagged")
        before = (await backend.status(INBOX)).highest_modseq
        [message_id] = [r.message_id for r in await backend.rows(INBOX, last=all_uids[0])]
        done = await backend.move(INBOX, all_uids[:2], archive)
        assert done.source == tuple(all_uids[:2])
        moved = await backend.rows(archive)
        assert tuple(row.uid for row in moved) == done.target
        assert moved[0].message_id == message_id
        assert set(moved[0].flags) == {"\\Flagged"}
        assert await backend.read(moved[1].row_id) == PLAIN
        assert await uids(backend) == all_uids[2:]
        assert await backend.expunged(INBOX, before) == all_uids[:2]

    async def test_a_message_moved_away_and_back_has_a_new_uid(
        self, backend: AccountBackend
    ) -> None:
        archive = MailboxId("archive")
        [uid] = await put(backend, 1)
        there = await backend.move(INBOX, [uid], archive)
        back = await backend.move(archive, list(there.target), INBOX)
        assert back.target[0] > uid
        assert await uids(backend) == list(back.target)

    async def test_expunge_takes_only_deleted_ones_among_those_named(
        self, backend: AccountBackend
    ) -> None:
        kept = await put(backend, 1)
        going = await put(backend, 3, "\\Deleted")
        assert await backend.expunge(INBOX, [kept[0], going[1]]) == [going[1]]
        assert await backend.expunge(INBOX) == [going[0], going[2]]
        assert await backend.expunge(INBOX) == []
        assert await uids(backend) == kept

    # -- search

    async def test_text_is_found_as_people_read_it(self, backend: AccountBackend) -> None:
        [plain, encoded] = [a.uid for a in await backend.append(INBOX, [new(PLAIN), new(ENCODED)])]
        both = [plain, encoded]
        search = backend.search_text
        assert await search(INBOX, both, "body", "HERON") == [plain]
        assert await search(INBOX, both, "body", "örEGRUND") == [encoded]
        assert await search(INBOX, both, "body", "plain words") == []
        assert await search(INBOX, both, "text", "plain words") == [plain]
        assert await search(INBOX, both, "text", "grüße") == [encoded]
        assert await search(INBOX, both, "text", "nothing of this") == []
        assert await search(INBOX, [encoded], "body", "heron") == []
        assert await search(INBOX, both, "body", "ero") == [plain]
        assert await search(INBOX, both, "body", "oregrund") == [encoded]
        assert await search(INBOX, both, "from", "JURGEN") == [encoded]
        assert await search(INBOX, both, "subject", "plain  words") == [plain]
        assert await search(INBOX, both, "to", "example.test") == both
        assert await search(INBOX, both, "cc", "bob") == await search(INBOX, both, "bcc", "") == []

    async def test_search_answers_of_all_mailboxes_newest_first(
        self, backend: AccountBackend
    ) -> None:
        archive = MailboxId("archive")
        [plain] = await backend.append(INBOX, [new(PLAIN, at=1_700_000_000)])
        [encoded] = await backend.append(archive, [new(ENCODED, "\\Seen", at=1_800_000_000)])

        async def found(query: str, limit: int = 50) -> list[RowId]:
            return [one.row.row_id for one in (await backend.search(query, limit)).found]

        assert await found("") == await found("to:bob") == [encoded.row_id, plain.row_id]
        assert await found("heron OR reiher") == [encoded.row_id, plain.row_id]
        assert await found("from:jurgen GRÜSSE") == [encoded.row_id]
        assert await found("in:inbox") == await found("is:unread") == [plain.row_id]
        assert await found("-heron") == await found("after:2027-01-01") == [encoded.row_id]
        assert await found('"stands still" has:attachment') == []
        first = await backend.search("to:bob", 1)
        assert first.more
        assert first.found[0].mailbox_id == archive
        assert first.found[0].row.flags == ("\\Seen",)
        with pytest.raises(QueryError, match="is: comes one of"):
            await backend.search("is:odd")

    # -- changes

    async def test_changes_are_announced(self, backend: AccountBackend) -> None:
        stream = backend.changes()
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        await backend.status(INBOX)
        [uid] = await put(backend, 1)
        first = await asyncio.wait_for(waiting, PATIENCE)
        assert first.mailbox_id == INBOX
        last = first.seq
        for act, expected in (
            (lambda: backend.store_flags(INBOX, [uid], "add", ["\\Deleted"]), INBOX),
            (lambda: backend.copy(INBOX, [uid], MailboxId("sent")), MailboxId("sent")),
            (lambda: backend.expunge(INBOX), INBOX),
            (lambda: backend.create_mailbox("Fresh"), None),
        ):
            await act()
            change = await self.next_about(stream, expected)
            assert change.seq > last
            last = change.seq
            if expected is not None:
                assert change.modseq == (await backend.status(expected)).highest_modseq
        await close_stream(stream)

    async def next_about(
        self, stream: AsyncIterator[Change], mailbox_id: MailboxId | None
    ) -> Change:
        async with asyncio.timeout(PATIENCE):
            while True:
                change = await anext(stream)
                if change.mailbox_id == mailbox_id:
                    return change

    # -- the rest

    async def test_sending_goes_through_the_outbox(self, backend: AccountBackend) -> None:
        raw = PLAIN.replace(b"alice@example.test", backend.address.encode())
        outbox_id = await backend.submit(raw, backend.address, ["bob@example.test"])
        [entry] = [e for e in await backend.outbox() if e.outbox_id == outbox_id]
        assert entry.sender == backend.address
        assert entry.recipients == ("bob@example.test",)

    async def test_status_of_sync_is_told(self, backend: AccountBackend) -> None:
        await backend.sync_now()
        status = await backend.sync_status()
        assert status.alarm == ""
