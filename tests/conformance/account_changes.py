"""What every account tells of changes: windows by uid and modseq, and the feed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from leap.mail.contract import (
    INBOX,
    AccountBackend,
    Change,
    MailboxId,
)
from tests.conformance.account_making import (
    PATIENCE,
    close_stream,
    put,
    uids,
)


class ChangeSuite:
    """Part of `AccountBackendSuite`."""

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
