"""What left lies in Sent once, readable, with what became of each recipient, whoever put it there and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leap.mail.account import Account
from leap.mail.contract import MailboxId, NewMessage, Uid
from leap.mail.outbox_contract import RecipientResult, SendingRules
from leap.mail.sent_copy import Left, keep_sent_copy
from leap.mail.sent_fields import SentTo, joined_sent_fields, read_sent_fields, sent_fields
from tests.mail.travel import DOMAIN, Person, mail

ALICE, BOB = f"alice@{DOMAIN}", f"bob@{DOMAIN}"
EVE, FAY = "eve@elsewhere.test", "fay@elsewhere.test"
ENCRYPTED = f"X-Leap-Sent: state=sent; how=encrypted; code=250; to={BOB}\r\n".encode()


async def mailbox(person: Person, use: str = "\\Sent") -> MailboxId:
    boxes = await person.account.list_mailboxes()
    found = [one.mailbox_id for one in boxes if one.special_use == use]
    return found[0] if found else (await person.account.create_mailbox("Sent", use)).mailbox_id


async def in_sent(person: Person) -> list[bytes]:
    rows = await person.account.rows(await mailbox(person))
    return [await person.account.read(row.row_id) for row in rows]


async def append(person: Person, raw: bytes, *flags: str) -> Uid:
    message = NewMessage(raw=raw, flags=flags, internal_date=12345, zone=60)
    (made,) = await person.account.append(await mailbox(person), [message])
    return made.uid


async def test_a_mail_whose_program_keeps_no_copy_lies_in_sent_when_it_left(
    alice: Person, bob: Person
) -> None:
    await alice.outgoing.submit(mail(), ALICE, [BOB])
    assert await in_sent(alice) == []
    await alice.sender.process_due()
    assert await in_sent(alice) == [ENCRYPTED + mail()]
    (row,) = await alice.account.rows(await mailbox(alice))
    assert {"\\Seen", "$Submitted"} <= set(row.flags)


async def test_the_truth_is_told_for_each_recipient(alice: Person, bob: Person) -> None:
    await alice.outgoing.set_sending_rules(SendingRules(mixed="split"))
    alice.provider.replies[FAY] = (550, "5.1.1 No such user")
    await alice.outgoing.submit(mail(), ALICE, [BOB, EVE, FAY])
    await alice.sender.process_due()
    (copy,) = await in_sent(alice)
    assert read_sent_fields(copy) == [
        SentTo(BOB, "sent", "encrypted", 250),
        SentTo(EVE, "sent", "clear", 250),
        SentTo(FAY, "failed", "clear", 550),
    ]


async def test_the_copy_a_program_put_there_before_gets_the_fields_and_keeps_flags_and_date(
    alice: Person, bob: Person
) -> None:
    await alice.outgoing.submit(mail(), ALICE, [BOB])
    own = b"Bcc: dave@example.test\r\n" + mail()
    await append(alice, own, "\\Seen", "work")
    await alice.sender.process_due()
    assert await in_sent(alice) == [ENCRYPTED + own]
    (row,) = await alice.account.rows(await mailbox(alice))
    assert {"\\Seen", "work"} <= set(row.flags)
    assert (row.internal_date, row.zone) == (12345, 60)


async def test_the_copy_a_program_puts_there_afterwards_takes_the_place_of_ours(
    alice: Person, bob: Person
) -> None:
    await alice.outgoing.submit(mail(), ALICE, [BOB])
    await alice.sender.process_due()
    own = b"Bcc: dave@example.test\r\n" + mail()
    uid = await append(alice, own, "\\Seen")
    assert await in_sent(alice) == [ENCRYPTED + own]
    (row,) = await alice.account.rows(await mailbox(alice))
    assert row.uid == uid


async def test_a_draft_that_was_sent_lies_in_sent_once_in_either_order(
    alice: Person, bob: Person
) -> None:
    async with Account(alice.account) as account:
        draft = account.new_draft(to=[BOB], subject="s", text="t")
        await draft.send()
        await alice.sender.process_due()
        assert [read_sent_fields(one)[0].how for one in await in_sent(alice)] == ["encrypted"]
        second = account.new_draft(to=[BOB], subject="s2", text="t")
        submit = alice.account.submit

        async def sent_at_once(*arguments: object) -> str:
            outbox_id = await submit(*arguments)  # type: ignore[arg-type]
            await alice.sender.process_due()
            return outbox_id

        alice.account.submit = sent_at_once  # type: ignore[method-assign, assignment]
        await second.send()
        assert len(await in_sent(alice)) == 2
        assert all(read_sent_fields(one) for one in await in_sent(alice))


async def test_other_mail_and_other_mailboxes_are_not_touched(alice: Person, bob: Person) -> None:
    other = mail().replace(b"<plan@", b"<other@")
    await append(alice, other)
    drafts = await mailbox(alice, "\\Drafts")
    await alice.account.append(drafts, [NewMessage(raw=mail())])
    await alice.outgoing.submit(mail(), ALICE, [BOB])
    await alice.sender.process_due()
    assert await in_sent(alice) == [other, ENCRYPTED + mail()]
    await alice.account.append(drafts, [NewMessage(raw=mail())])
    rows = await alice.account.rows(drafts)
    assert [await alice.account.read(row.row_id) for row in rows] == [mail(), mail()]


async def test_a_copy_that_the_person_deleted_does_not_come_back(
    alice: Person, bob: Person
) -> None:
    await alice.outgoing.submit(mail(), ALICE, [BOB])
    await alice.sender.process_due()
    sent = await mailbox(alice)
    (row,) = await alice.account.rows(sent)
    await alice.account.store_flags(sent, [row.uid], "add", ["\\Deleted"])
    await alice.account.expunge(sent, [row.uid])
    left = Left("<plan@example.test>", mail(), ENCRYPTED, row.row_id, 1)
    await keep_sent_copy(alice.account, left)
    assert await in_sent(alice) == []


async def test_repeating_it_after_a_crash_changes_nothing(alice: Person, bob: Person) -> None:
    await alice.outgoing.submit(mail(), ALICE, [BOB])
    await append(alice, mail())
    finish = alice.outgoing.outbox.finish

    async def die(outbox_id: str) -> None:
        raise RuntimeError("killed")

    alice.outgoing.outbox.finish = die  # type: ignore[method-assign]
    with pytest.raises(RuntimeError):
        await alice.sender.process_due()
    alice.outgoing.outbox.finish = finish  # type: ignore[method-assign]
    await alice.sender.process_due()
    assert await in_sent(alice) == [ENCRYPTED + mail()]
    assert [one.state for one in await alice.outgoing.entries()] == ["sent"]


async def test_the_account_may_say_that_nothing_is_put_into_sent(
    alice: Person, bob: Person
) -> None:
    await alice.outgoing.set_sending_rules(SendingRules(sent_copies=False))
    await alice.outgoing.submit(mail(), ALICE, [BOB])
    await append(alice, mail())
    await alice.sender.process_due()
    assert await in_sent(alice) == [mail()]


async def test_where_the_mailbox_for_sent_mail_is_gone_it_is_made_anew(
    alice: Person, bob: Person
) -> None:
    await alice.account.delete_mailbox(await mailbox(alice))
    await alice.outgoing.submit(mail(), ALICE, [BOB])
    await alice.sender.process_due()
    assert await in_sent(alice) == [ENCRYPTED + mail()]


async def test_what_was_sent_to_others_later_is_added(alice: Person, bob: Person) -> None:
    await alice.outgoing.submit(mail(), ALICE, [BOB])
    await alice.sender.process_due()
    await alice.outgoing.submit(mail(), ALICE, [EVE])
    await alice.sender.process_due()
    (copy,) = await in_sent(alice)
    assert [one.address for one in read_sent_fields(copy)] == [BOB, EVE]
    assert copy.endswith(mail())


async def test_two_mails_with_one_message_id_have_two_copies(alice: Person, bob: Person) -> None:
    other = mail(body=b"Another text.\r\n")
    for raw in (mail(), other):
        await alice.outgoing.submit(raw, ALICE, [BOB])
        await alice.sender.process_due()
    assert await in_sent(alice) == [ENCRYPTED + mail(), ENCRYPTED + other]
    await append(alice, b"Bcc: x@y\r\n" + other)
    assert await in_sent(alice) == [ENCRYPTED + mail(), ENCRYPTED + b"Bcc: x@y\r\n" + other]


async def test_such_fields_do_not_travel_when_the_copy_is_sent_again(
    alice: Person, bob: Person
) -> None:
    await alice.outgoing.submit(ENCRYPTED + mail(), ALICE, [EVE])
    await alice.sender.process_due()
    assert b"X-Leap" not in alice.provider.submitted[0][3]


@given(st.text(max_size=80))
def test_an_address_is_one_field_and_comes_back(address: str) -> None:
    line = sent_fields([RecipientResult(address=address, state="sent", how="clear", code=250)])
    assert line.count(b"\n") == 1
    assert len(read_sent_fields(line + b"\r\n")) == 1


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_any_octets_are_read_without_an_error(one: bytes, other: bytes) -> None:
    read_sent_fields(b"X-Leap-Sent: " + one)
    assert joined_sent_fields(other, b"") == other or other.startswith(b"X-Leap-Sent:")
