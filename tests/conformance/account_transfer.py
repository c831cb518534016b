"""What every account does when messages are copied, moved, expunged and replaced."""

from __future__ import annotations

import pytest

from leap.mail.contract import (
    INBOX,
    AccountBackend,
    AccountError,
    MailboxId,
    NoSuchMailbox,
    NoSuchMessage,
    Uid,
)
from tests.conformance.account_making import (
    ENCODED,
    PLAIN,
    new,
    put,
    uids,
)


class TransferSuite:
    """Part of `AccountBackendSuite`."""

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
        [first] = await backend.rows(INBOX, last=all_uids[0])
        message_id, row_id = first.message_id, first.row_id
        done = await backend.move(INBOX, all_uids[:2], archive)
        assert done.source == tuple(all_uids[:2])
        moved = await backend.rows(archive)
        assert tuple(row.uid for row in moved) == done.target
        assert (moved[0].message_id, moved[0].row_id) == (message_id, row_id)
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

    # -- replace

    async def test_replace_leaves_the_new_message_alone(self, backend: AccountBackend) -> None:
        [kept, old] = await put(backend, 2, "\\Draft")
        [before] = await backend.rows(INBOX, first=old)
        start = (await backend.status(INBOX)).highest_modseq
        made = await backend.replace(INBOX, old, new(ENCODED, "\\Seen", at=1_600_000_000, zone=60))
        assert await uids(backend) == [kept, made.uid]
        [row] = await backend.rows(INBOX, first=made.uid)
        assert (row.row_id, row.flags, row.size) == (made.row_id, ("\\Seen",), len(ENCODED))
        assert (row.internal_date, row.zone) == (1_600_000_000, 60)
        assert await backend.read(made.row_id) == ENCODED
        assert await backend.expunged(INBOX, start) == [old]
        with pytest.raises(NoSuchMessage):
            await backend.read(before.row_id)

    async def test_replace_may_put_the_new_message_elsewhere(self, backend: AccountBackend) -> None:
        sent = MailboxId("sent")
        [old] = await put(backend, 1)
        made = await backend.replace(INBOX, old, new(ENCODED), sent)
        assert await uids(backend) == []
        assert await uids(backend, sent) == [made.uid]
        assert made.uid_validity == (await backend.status(sent)).uid_validity

    async def test_what_cannot_be_replaced_changes_nothing(self, backend: AccountBackend) -> None:
        [old] = await put(backend, 1)
        nowhere = MailboxId("nowhere")
        for attempt, error in (
            (backend.replace(INBOX, Uid(old + 7), new()), NoSuchMessage),
            (backend.replace(nowhere, old, new()), NoSuchMailbox),
            (backend.replace(INBOX, old, new(), nowhere), NoSuchMailbox),
            (backend.replace(INBOX, old, new(PLAIN, "\\Recent")), AccountError),
        ):
            with pytest.raises(error):
                await attempt
        assert await uids(backend) == [old]
