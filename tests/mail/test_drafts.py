"""Drafts: replaced as a whole, found again after anything, sent once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from leap.mail import (
    Account,
    AccountUnavailable,
    Draft,
    File,
    Message,
    MessageCollection,
    NotPermitted,
    Person,
    StorageFull,
)
from leap.mail.contract import AccountBackend
from leap.mail.draft import PENDING, SUBMITTED
from leap.mail.local import LocalAccount, open_mail_store
from leap.mail.memory import MemoryAccount
from tests.conformance.account_making import NESTED
from tests.mail.outgoing_fake import Outgoing

ALICE = "alice@example.test"
QUESTION = (
    b"From: Bob <bob@example.test>\r\nTo: alice@example.test, carol@example.test\r\nSubject: Lunch?\r\n"
    b"Message-ID: <q@example.test>\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\n\r\nAt noon?\r\n"
)


@pytest.fixture(params=["memory", "store"])
async def account(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Account]:
    if request.param == "memory":
        async with Account(MemoryAccount(ALICE)) as account:
            yield account
        return
    async with (
        await open_mail_store(tmp_path / "store.db", bytes(32)) as store,
        Account(LocalAccount(store, ALICE, Outgoing())) as account,
    ):
        yield account


async def all_of(collection: MessageCollection) -> list[Message]:
    return await collection.window(0, 100, newest_first=False)


class Lossy:
    """An account whose answers get lost: what was asked is done, but the asker hears that the daemon has gone."""

    def __init__(self, backend: AccountBackend) -> None:
        self._backend = backend
        self.lost = ""
        self.before = ""

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._backend, name)
        if name not in (self.lost, self.before):
            return found

        async def lost(*arguments: Any, **named: Any) -> Any:
            if name == self.lost:
                await found(*arguments, **named)
            self.lost = self.before = ""
            raise AccountUnavailable("The bitmask daemon has ended.")

        return lost


async def test_a_save_replaces_the_version_before(account: Account) -> None:
    drafts = await account.drafts()
    draft = account.new_draft(to=["Bob <bob@example.test>"], subject="Grüße", text="one")
    assert (draft.is_saved, draft.row_id) == (False, None)
    first = await draft.save()
    [message] = await all_of(drafts)
    assert (message.row_id, set(message.flags)) == (first, {"\\Draft", "\\Seen"})
    assert (await message.text()).strip() == "one"
    await message.add_tags("later")
    draft.text = "two"
    draft.to.append(Person("Carol", "carol@example.test"))
    draft.bcc.append("dan@example.test")
    draft.attach("menu.csv", b"soup,5")
    assert await draft.save() != first
    [message] = await all_of(drafts)
    assert message.tags == ("later",)
    envelope = await message.envelope()
    assert [str(one) for one in (*envelope.to, *envelope.bcc)] == [
        "Bob <bob@example.test>",
        "Carol <carol@example.test>",
        "dan@example.test",
    ]
    assert envelope.message_id == draft.message_id
    [menu] = await message.attachments()
    assert (menu.name, menu.content_type, await menu.content()) == (
        "menu.csv",
        "text/csv",
        b"soup,5",
    )
    await draft.discard()
    assert (await drafts.count(), draft.is_saved) == (0, False)


async def test_a_draft_is_opened_again_as_it_was(account: Account) -> None:
    begun = account.new_draft(
        to=["Bob <bob@example.test>"],
        cc=["carol@example.test"],
        subject="Über uns",
        text=f"A long paragraph that is wrapped{' on its way' * 9}.\n\n> quoted\nbye\n",
        html="<p>A long paragraph</p>\n",
        files=[
            File("größe.bin", "application/x-thing", bytes(range(256))),
            File("", "message/rfc822", NESTED),
        ],
    )
    begun.in_reply_to, begun.references = ("<q@x>",), ("<p@x>", "<q@x>")
    await begun.save()
    drafts = await account.drafts()
    [message] = await all_of(drafts)
    again = await account.open_draft(message)
    for name in ("subject", "text", "html", "in_reply_to", "references", "message_id"):
        assert getattr(again, name) == getattr(begun, name), name
    assert again.recipients == begun.recipients
    assert [(f.content_type, f.content) for f in again.files] == [
        (f.content_type, f.content) for f in begun.files
    ]
    assert again.files[0].name == "größe.bin"
    again.text = "changed"
    await again.save()
    assert await drafts.count() == 1


@pytest.mark.parametrize("lost", ["append", "replace"])
async def test_a_save_whose_answer_was_lost_is_not_doubled(account: Account, lost: str) -> None:
    lossy = Lossy(account.backend)
    writing = Account(lossy)
    draft = writing.new_draft(text="one")
    if lost == "replace":
        await draft.save()
    lossy.lost = lost
    draft.text = "two"
    with pytest.raises(AccountUnavailable):
        await draft.save()
    [message] = await all_of(await account.drafts())
    assert (await message.text()).strip() == "two"
    draft.text = "three"
    await draft.save()
    [message] = await all_of(await account.drafts())
    assert (await message.text()).strip() == "three"


async def test_a_save_that_did_not_happen_leaves_the_version_before(account: Account) -> None:
    lossy = Lossy(account.backend)
    draft = Account(lossy).new_draft(text="one")
    await draft.save()
    lossy.before = "replace"
    draft.text = "two"
    with pytest.raises(AccountUnavailable):
        await draft.save()
    [message] = await all_of(await account.drafts())
    assert (await message.text()).strip() == "one"
    await draft.save()
    [message] = await all_of(await account.drafts())
    assert (await message.text()).strip() == "two"


async def test_two_windows_on_one_draft_keep_one_message(account: Account) -> None:
    draft = account.new_draft(text="one")
    await draft.save()
    drafts = await account.drafts()
    other = await account.open_draft((await all_of(drafts))[0])
    other.text = "two"
    await other.save()
    draft.text = "three"
    await asyncio.gather(draft.save(), other.save(), draft.save())
    assert await drafts.count() == 1


async def test_a_draft_that_others_moved_or_deleted_is_kept(account: Account) -> None:
    draft = account.new_draft(text="one")
    await draft.save()
    drafts, archive = await account.drafts(), await account.collection("\\Archive")
    [message] = await all_of(drafts)
    await message.move_to(archive)
    await draft.save()
    assert (await drafts.count(), await archive.count()) == (0, 1)
    await archive.delete(await archive.rows())
    await draft.save()
    assert (await drafts.count(), await archive.count()) == (1, 0)
    await account.delete_mailbox(drafts.mailbox.mailbox_id)
    await draft.save()
    assert await (await account.drafts()).count() == 1


async def test_sending_moves_a_draft_to_sent(account: Account) -> None:
    draft = account.new_draft(to=["bob@example.test"], bcc=["dan@example.test"], text="x")
    await draft.save()
    outbox_id = await draft.send()
    assert await (await account.drafts()).count() == 0
    [sent] = await all_of(await account.collection("\\Sent"))
    assert set(sent.flags) == {"\\Seen", SUBMITTED}
    assert (await sent.envelope()).message_id == draft.message_id
    [entry] = await account.backend.outbox()
    assert (entry.outbox_id, entry.recipients) == (
        outbox_id,
        ("bob@example.test", "dan@example.test"),
    )
    assert not draft.is_saved


async def test_a_draft_without_recipients_or_with_bad_ones_stays(account: Account) -> None:
    draft = account.new_draft(text="x")
    with pytest.raises(NotPermitted, match="no recipients"):
        await draft.send()
    for bad in ("", "bob@", "a@x, b@x", "bob@example.test\r\nBcc: eve@example.test"):
        draft.to = [bad]
        with pytest.raises(NotPermitted):
            await draft.send()
    assert await account.backend.outbox() == []


async def test_a_refused_mail_stays_a_draft(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> str:
        raise StorageFull("The disk is full.")

    draft = account.new_draft(to=["bob@example.test"], text="x")
    with monkeypatch.context() as patched:
        patched.setattr(account.backend, "submit", full)
        with pytest.raises(StorageFull):
            await draft.send()
    [message] = await all_of(await account.drafts())
    assert (PENDING in message.flags, draft.may_be_sent) == (False, False)
    await draft.send()
    assert await (await account.drafts()).count() == 0


@pytest.mark.parametrize("lost", ["submit", "replace"])
async def test_a_draft_whose_sending_was_cut_off_is_not_sent_twice(
    account: Account, lost: str
) -> None:
    """Cut off behind the outbox, or while it moves to Sent; then the program begins anew."""
    lossy = Lossy(account.backend)
    draft = Account(lossy).new_draft(to=["bob@example.test"], text="x")
    if lost == "submit":
        lossy.lost = lost
    else:
        lossy.before = lost
    with pytest.raises(AccountUnavailable):
        await draft.send()
    assert len(await account.backend.outbox()) == 1
    [message] = await all_of(await account.drafts())
    again = await account.open_draft(message)
    for one in (draft, again):
        assert one.may_be_sent
        with pytest.raises(NotPermitted, match="interrupted"):
            await one.send()
    assert len(await account.backend.outbox()) == 1
    await again.send(again=True)
    assert await (await account.drafts()).count() == 0
    assert await (await account.collection("\\Sent")).count() == 1


async def test_two_windows_send_one_draft_once(account: Account) -> None:
    draft = account.new_draft(to=["bob@example.test"], text="x")
    await draft.save()
    [message] = await all_of(await account.drafts())
    windows = [draft, await account.open_draft(message), await account.open_draft(message)]
    done = await asyncio.gather(*(one.send() for one in windows), return_exceptions=True)
    assert [type(one) for one in done].count(NotPermitted) == 2
    assert len(await account.backend.outbox()) == 1
    assert await (await account.collection("\\Sent")).count() == 1
    assert await (await account.drafts()).count() == 0
    for one in windows[1:]:
        with pytest.raises(NotPermitted):
            await one.send()
    assert len(await account.backend.outbox()) == 1


async def test_a_draft_that_may_be_sent_stays_so_when_it_is_saved(account: Account) -> None:
    lossy = Lossy(account.backend)
    draft = Account(lossy).new_draft(to=["bob@example.test"], text="x")
    lossy.lost = "submit"
    with pytest.raises(AccountUnavailable):
        await draft.send()
    [message] = await all_of(await account.drafts())
    again = await account.open_draft(message)
    for one in (draft, again):
        one.text = "y"
        await one.save()
        assert one.may_be_sent
        with pytest.raises(NotPermitted, match="interrupted"):
            await one.send()
    assert len(await account.backend.outbox()) == 1


ODD = (
    b"From: Bob <b b@example.test>\r\nReply-To: Friends: =?utf-8?q?J=C3=B6_=00=01?= <j\xc3\xb6@example.test>, x;\r\n"
    b"To: <>, (only a comment), alice@example.test\r\nSubject: Odd\r\nMessage-ID: <a b@example.test>\r\n"
    b"References: <\xff@example.test> <first@example.test> <>\r\n\r\nText.\r\n"
)


async def test_what_is_odd_about_a_mail_keeps_nobody_from_answering_it(account: Account) -> None:
    inbox = await account.collection("INBOX")
    message = await inbox.by_uid((await inbox.add(ODD)).uid)
    assert message is not None
    draft = await account.reply(message, everyone=True)
    await draft.save()
    [stored] = await all_of(await account.drafts())
    assert (await stored.header("To") or "").endswith("<j\xf6@example.test>")
    assert (await stored.header("References"), await stored.header("In-Reply-To")) == (
        "<first@example.test>",
        None,
    )
    await (await account.forward(message)).save()
    await (await account.open_draft(message)).save()


async def test_a_reply_quotes_and_marks_what_it_answers(account: Account) -> None:
    inbox = await account.collection("INBOX")
    question = await inbox.by_uid((await inbox.add(QUESTION)).uid)
    assert question is not None
    draft = await account.reply(question, everyone=True, sender_name="Alice")
    assert draft.recipients == ["bob@example.test", "carol@example.test"]
    assert (draft.subject, draft.in_reply_to) == ("Re: Lunch?", ("<q@example.test>",))
    assert "> At noon?" in draft.text
    assert (await account.reply(question)).recipients == ["bob@example.test"]
    await draft.save()
    await question.refresh()
    assert "\\Answered" not in question.flags
    await draft.send()
    await question.refresh()
    assert "\\Answered" in question.flags


@pytest.mark.parametrize("as_attachment", [False, True])
async def test_forwarded_mail_has_its_files(account: Account, as_attachment: bool) -> None:
    inbox = await account.collection("INBOX")
    message = await inbox.by_uid((await inbox.add(NESTED)).uid)
    assert message is not None
    draft = await account.forward(message, as_attachment=as_attachment)
    assert draft.subject == "Fwd: Nested"
    if as_attachment:
        assert [file.content for file in draft.files] == [NESTED]
    else:
        assert "outer text" in draft.text
        assert [(f.name, f.content) for f in draft.files][1] == ("three.bin", b"\x00\x01\x02")
    draft.to = ["bob@example.test"]
    await draft.send()
    await message.refresh()
    assert "$Forwarded" in message.flags
    await inbox.delete([message])
    assert draft.is_saved is False


async def test_sending_about_a_message_that_is_gone_succeeds(account: Account) -> None:
    inbox = await account.collection("INBOX")
    question = await inbox.by_uid((await inbox.add(QUESTION)).uid)
    assert question is not None
    draft = await account.reply(question)
    await question.delete()
    await draft.send()
    assert await (await account.collection("\\Sent")).count() == 1


async def test_a_draft_tells_nothing_in_its_repr(account: Account) -> None:
    draft: Draft = account.new_draft(to=["bob@example.test"], text="secret")
    made: Callable[[object], str] = repr
    assert made(draft) == "Draft()"
