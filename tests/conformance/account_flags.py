"""What every account does with flags."""

from __future__ import annotations

import asyncio

import pytest

from leap.mail.contract import (
    INBOX,
    AccountBackend,
    AccountError,
    MailboxId,
    ModSeq,
    Stored,
    Uid,
)
from tests.conformance.account_making import (
    put,
)


class FlagSuite:
    """Part of `AccountBackendSuite`."""

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
