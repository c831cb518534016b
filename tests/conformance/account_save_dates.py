"""What every account must say of save dates and of its size; used like `AccountBackendSuite`, beside it."""

from __future__ import annotations

import time

import pytest

from leap.mail.contract import INBOX, AccountBackend, MailboxId, NewMessage, NoSuchMailbox, Uid

ARCHIVE = MailboxId("archive")
OLD = NewMessage(raw=b"Subject: old\r\n\r\n", internal_date=1_000_000_000)


class SaveDatesSuite:
    """Inherit it and give it a fixture `backend`."""

    async def test_a_message_has_the_moment_it_came_into_its_mailbox(
        self, backend: AccountBackend
    ) -> None:
        before = int(time.time())
        await backend.append(INBOX, [OLD, OLD])
        await backend.copy(INBOX, [Uid(1)], ARCHIVE)
        await backend.move(INBOX, [Uid(2)], ARCHIVE)
        dates = await backend.save_dates(ARCHIVE, [Uid(2), Uid(1)])
        dates += await backend.save_dates(INBOX, [Uid(1)])
        assert all(one is not None and before <= one <= time.time() for one in dates)
        assert len(dates) == 3

    async def test_what_is_not_there_has_no_save_date(self, backend: AccountBackend) -> None:
        await backend.append(INBOX, [OLD, OLD])
        await backend.move(INBOX, [Uid(1)], ARCHIVE)
        [gone, there, never] = await backend.save_dates(INBOX, [Uid(1), Uid(2), Uid(9)])
        assert (gone, never) == (None, None)
        assert there is not None
        with pytest.raises(NoSuchMailbox):
            await backend.save_dates(MailboxId("nowhere"), [Uid(1)])

    async def test_the_space_of_an_account_counts_all_its_mailboxes(
        self, backend: AccountBackend
    ) -> None:
        assert (await backend.space()).messages == 0
        await backend.append(INBOX, [OLD, OLD])
        await backend.copy(INBOX, [Uid(1)], ARCHIVE)
        space = await backend.space()
        assert (space.used, space.messages) == (3 * len(OLD.raw), 3)
        assert space.free is None or space.free > 0
