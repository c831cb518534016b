"""What came encrypted stays so in answers (EFAIL): nothing mixed is quoted, and nothing quoted leaves readable."""

from __future__ import annotations

import pytest

from leap.mail.account import Account
from leap.mail.contract import (
    INBOX,
    NotPermitted,
    PartSecurity,
    RowId,
    SecurityStatus,
)
from leap.mail.message.quoting import NOT_QUOTED
from leap.mail.messages import Message
from tests.mail.travel import DOMAIN, Person, mail

ALICE, BOB = f"alice@{DOMAIN}", f"bob@{DOMAIN}"
EVE = "eve@elsewhere.test"
CLOSED = PartSecurity(section="2", encryption="end-to-end")
MIXED = SecurityStatus(encryption="provider", parts=(CLOSED,))
WHOLE = SecurityStatus(encryption="end-to-end", parts=(CLOSED,))
OPEN = SecurityStatus(encryption="provider")


async def came(person: Person, security: SecurityStatus, *, sender: str = EVE) -> None:
    await person.account.deliver(
        mail(sender=sender, to=person.address, body=b"the secret\r\n"),
        row_id=RowId("a" * 32),
        security=security,
        original=None,
        internal_date=1,
    )


async def the_message(account: Account) -> Message:
    async for message in await account.collection("INBOX"):
        return message
    raise AssertionError("there is none")


@pytest.mark.parametrize(("security", "quoted"), [(MIXED, False), (WHOLE, True), (OPEN, True)])
async def test_only_what_came_in_one_layer_is_quoted(
    alice: Person, security: SecurityStatus, quoted: bool
) -> None:
    await came(alice, security)
    async with Account(alice.account) as account:
        message = await the_message(account)
        for draft in (await account.reply(message), await account.forward(message)):
            assert ("the secret" in draft.text) == quoted
            assert (NOT_QUOTED in draft.text) != quoted


@pytest.mark.parametrize(("security", "goes"), [(MIXED, False), (WHOLE, False), (OPEN, True)])
async def test_an_answer_leaves_readable_only_when_nothing_of_it_came_encrypted(
    alice: Person, security: SecurityStatus, goes: bool
) -> None:
    await came(alice, security)
    async with Account(alice.account) as account:
        draft = await account.reply(await the_message(account))
        if goes:
            await draft.send()
            return
        with pytest.raises(NotPermitted, match="answers a mail that came encrypted"):
            await draft.send()
    assert await alice.outgoing.entries() == []


async def test_an_answer_to_the_one_who_encrypted_leaves_encrypted(
    alice: Person, bob: Person
) -> None:
    await bob.outgoing.submit(mail(sender=BOB, to=ALICE), BOB, [ALICE])
    await bob.sender.process_due()
    await alice.incoming.process_once()
    async with Account(alice.account) as account:
        draft = await account.reply(await the_message(account))
        await draft.send()
        await alice.sender.process_due()
    (entry,) = await alice.outgoing.entries()
    assert [one.how for one in entry.recipients_state] == ["encrypted"]


async def test_ones_own_aliases_are_not_answered(alice: Person) -> None:
    await alice.outgoing.identities.keep_aliases([f"sales@{DOMAIN}"])
    raw = mail(sender=EVE, to=f"sales@{DOMAIN}", extra=f"Cc: {ALICE}, fay@x.test\r\n".encode())
    await alice.account.deliver(
        raw, row_id=RowId("b" * 32), security=OPEN, original=None, internal_date=1, mailbox=INBOX
    )
    async with Account(alice.account) as account:
        draft = await account.reply(await the_message(account), everyone=True)
    assert draft.recipients == [EVE, "fay@x.test"]
