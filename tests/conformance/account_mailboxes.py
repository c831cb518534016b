"""What every account does with mailboxes."""

from __future__ import annotations

import pytest

from leap.mail.contract import (
    INBOX,
    SPECIAL_USE,
    AccountBackend,
    InvalidName,
    MailboxExists,
    MailboxId,
    ModSeq,
    NoSuchMailbox,
    Uid,
)
from tests.conformance.account_making import (
    new,
    put,
)


class MailboxSuite:
    """Part of `AccountBackendSuite`."""

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
