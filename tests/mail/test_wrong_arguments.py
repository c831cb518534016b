"""Numbers and texts that make no sense are refused in a sentence or mean nothing; they never break an account."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leap.mail import Account, AccountError, MessageCollection, NotPermitted
from leap.mail.local import LocalAccount, open_mail_store
from leap.mail.memory import MemoryAccount
from leap.mail.remote import RemoteAccount
from leap.mail.rpc import serve_accounts
from tests.conformance.account_making import PLAIN
from tests.mail.outgoing_fake import Outgoing

ALICE = "alice@example.test"
HUGE = (2**31, 2**63, 2**70)


@pytest.fixture(params=["memory", "store", "socket"])
async def account(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Account]:
    if request.param == "memory":
        async with Account(MemoryAccount(ALICE)) as account:
            yield account
        return
    async with await open_mail_store(tmp_path / "store.db", bytes(32)) as store:
        local = await LocalAccount.open(store, ALICE, outbox=Outgoing())
        if request.param == "store":
            yield Account(local)
        else:
            server = await serve_accounts(tmp_path / "s", "token", {ALICE: local}.get)
            yield Account(await RemoteAccount.connect(server.path, "token", ALICE))
            await server.close()
        await local.close()


@pytest.fixture
async def inbox(account: Account) -> MessageCollection:
    inbox = await account.collection("INBOX")
    for at in range(3):
        await inbox.add(PLAIN, internal_date=1_700_000_000 + at)
    return inbox


async def test_huge_numbers_ask_for_no_more_than_there_is(
    account: Account, inbox: MessageCollection
) -> None:
    for huge in HUGE:
        for newest_first in (True, False):
            assert len(await inbox.window(0, huge, newest_first=newest_first)) == 3
            assert await inbox.window(huge, 5, newest_first=newest_first) == []
        assert len(await inbox.window_from(huge, huge)) == 3
        assert await inbox.window_from(huge, 2, newest_first=False) == []
        assert len(await inbox.rows(first=-huge, last=huge)) == 3
        assert await inbox.rows(first=2 * huge) == []
        assert await inbox.by_uid(2 * huge) is None
        assert await inbox.by_uid(-huge) is None
        assert await inbox.add_flags([huge * 2, -1, 0], ["\\Seen"]) == []
        assert len((await account.search("heron", huge)).found) == 3
        assert (await account.search("heron", 1, huge)).found == ()
        assert len(await account.threads(limit=huge)) == 1
        assert await account.threads(offset=huge) == []
        assert len(await account.contacts(limit=huge)) <= 1
        message = await inbox.by_uid(1)
        assert message is not None
        assert await message.raw(0, huge) == PLAIN
        assert await message.raw(huge, 1) == b""


async def test_a_moment_that_is_none_is_shown_as_the_nearest(
    account: Account, inbox: MessageCollection
) -> None:
    await inbox.add(PLAIN, internal_date=2**62)
    await inbox.add(PLAIN, internal_date=-(2**62), zone=10**6)
    first, last = [message.date.year for message in await inbox.window(0, 2)]
    assert (first <= 1900, last) == (True, 9999)
    assert len((await account.search("heron before:2020-01-01")).found) == 1
    assert len((await account.search("heron after:2030-01-01")).found) == 1


@pytest.mark.parametrize("text", ["\ud800", "\0"])
async def test_what_is_no_text_raises_nothing_but_the_packages_own_errors(
    account: Account, inbox: MessageCollection, text: str
) -> None:
    for call in (
        account.search(text),
        account.contacts(text),
        account.message(text),  # type: ignore[arg-type]
        account.add_mailbox(text),
        inbox.search(text),
        inbox.add_flags([1], [text]),
        inbox.add_tags([1], [text]),
        account.send(PLAIN, [text]),
        account.new_draft(to=["bob@example.test"], subject=text).save(),
    ):
        try:
            await call
        except AccountError:
            pass


@pytest.mark.parametrize(
    "recipient",
    [
        "",
        "x",
        "@",
        "a@",
        "@b.test",
        "a b@c.test",
        "<a@b.test>",
        "a@b.test,c@d.test",
        "a@b.test\r\nX: y",
    ],
)
async def test_only_addresses_go_into_the_outbox(account: Account, recipient: str) -> None:
    with pytest.raises(NotPermitted):
        await account.send(PLAIN, ["bob@example.test", recipient])
    assert await account.outbox.entries() == []


async def test_a_special_use_is_one_of_the_standards(account: Account) -> None:
    for word in ("", "foo", "\\Foo"):
        with pytest.raises(NotPermitted):
            await account.add_mailbox("New", word)
    assert (await account.add_mailbox("New", "\\flagged")).special_use == "\\Flagged"


async def test_a_tag_that_looks_like_a_system_flag_is_only_a_tag(
    account: Account, inbox: MessageCollection
) -> None:
    await inbox.add_flags([1], ["\\Seen"])
    await inbox.add_tags([2], ["\\Seen"])
    assert [one.uid for one in await account.tagged("\\Seen").window()] == [2]
    assert await inbox.unseen() == 2


async def test_two_windows_that_move_the_same_messages_leave_each_in_one_place(
    account: Account, inbox: MessageCollection
) -> None:
    archive, trash = await account.collection("\\Archive"), await account.collection("\\Trash")
    await asyncio.gather(*(inbox.move_to([1, 2, 3], to) for to in (archive, trash, archive)))
    assert await inbox.count() + await archive.count() + await trash.count() == 3
