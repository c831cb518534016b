"""What every account does with flags."""

from __future__ import annotations

import pytest

from leap.mail.contract import (
    INBOX,
    AccountBackend,
    AccountError,
    MailboxId,
    Uid,
)
from tests.conformance.account_making import (
    put,
)


class FlagSuite:
    """Part of `AccountBackendSuite`."""

    async def test_flags_are_added_removed_and_set(self, backend: AccountBackend) -> None:
        [uid] = await put(backend, 1, "\\Seen")
        [row] = await backend.store_flags(INBOX, [uid], "add", ["\\Flagged", "$Work"])
        assert set(row.flags) == {"\\Seen", "\\Flagged", "$Work"}
        [row] = await backend.store_flags(INBOX, [uid], "remove", ["\\Seen", "\\Draft"])
        assert set(row.flags) == {"\\Flagged", "$Work"}
        [row] = await backend.store_flags(INBOX, [uid], "set", ["\\Answered"])
        assert set(row.flags) == {"\\Answered"}
        assert (await backend.rows(INBOX)) == [row]
        [row] = await backend.store_flags(INBOX, [uid], "set", [])
        assert row.flags == ()

    async def test_a_store_that_changes_nothing_keeps_the_modseq(
        self, backend: AccountBackend
    ) -> None:
        [uid] = await put(backend, 1, "\\Seen")
        [before] = await backend.rows(INBOX)
        [after] = await backend.store_flags(INBOX, [uid], "add", ["\\Seen"])
        assert after == before

    async def test_unknown_uids_are_passed_over(self, backend: AccountBackend) -> None:
        [uid] = await put(backend, 1)
        unknown = Uid(uid + 1000)
        [row] = await backend.store_flags(INBOX, [uid, unknown], "add", ["\\Seen"])
        assert row.uid == uid
        assert await backend.store_flags(INBOX, [unknown], "add", ["\\Seen"]) == []
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
