"""APPENDs which a client sends without waiting: one transaction, an answer each, in their order (RFC 3501 5.5)."""

from __future__ import annotations

from collections.abc import Sequence

from leap.mail.contract import INBOX, Appended, MailboxId, NewMessage
from leap.mail.imap.session.session import Session
from leap.mail.imap.wire.framing import Event
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, mail


class Counting(MemoryAccount):
    calls: list[int]

    async def append(self, mailbox_id: MailboxId, messages: Sequence[NewMessage]) -> list[Appended]:
        self.calls.append(len(messages))
        return await super().append(mailbox_id, messages)


def appending(tag: str, mailbox: str, *raws: bytes, flags: str = "") -> bytes:
    head = f"{tag} APPEND {mailbox}".encode()
    return (
        head + b"".join(b" (%s) {%d+}\r\n%s" % (flags.encode(), len(r), r) for r in raws) + b"\r\n"
    )


async def said(account: MemoryAccount, data: bytes, *, selected: str | None = None) -> bytes:
    talk = await Talk(account).log_in(selected)
    session: Session = talk.session
    talk.reader.feed(data)
    events: list[Event] = []
    while (event := talk.reader.next_command()) is not None:
        events.append(event)
    await session.handle_all(events)
    await talk.end()
    return talk.take()


def counting() -> Counting:
    account = Counting(now=lambda: 1_800_000_000)
    account.calls = []
    return account


async def test_they_share_a_call_and_are_answered_in_order_with_their_own_uids() -> None:
    account = counting()
    told = await said(
        account,
        appending("a", "INBOX", mail("one"))
        + appending("b", "INBOX", mail("two"), mail("three"))
        + b"c NOOP\r\n"
        + appending("d", "INBOX", mail("four")),
        selected="INBOX",
    )
    assert account.calls == [3, 1]
    lines = [line.split(b"]")[0] for line in told.splitlines()]
    assert [one.split()[-1] for one in lines if b"APPENDUID" in one] == [b"1", b"2:3", b"4"]
    assert [one[:1] for one in lines if one[:1] != b"*"] == [b"a", b"b", b"c", b"d"]
    assert told.index(b"* 3 EXISTS") < told.index(b"a OK")
    assert told.index(b"* 4 EXISTS") < told.index(b"d OK")


async def test_other_mailboxes_end_what_is_done_together() -> None:
    account = counting()
    await account.create_mailbox("Box")
    told = await said(
        account,
        appending("a", "INBOX", mail("one"))
        + appending("b", "Box", mail("two"))
        + appending("c", "Box", mail("three")),
    )
    assert account.calls == [1, 2]
    assert told.count(b" OK [APPENDUID") == 3


async def test_one_that_cannot_be_kept_does_not_keep_back_the_others() -> None:
    account = counting()
    told = await said(
        account,
        appending("a", "INBOX", mail("one"))
        + appending("b", "INBOX", b"")
        + appending("c", "INBOX", mail("three")),
    )
    assert [line.split()[:2] for line in told.splitlines()] == [
        [b"a", b"OK"],
        [b"b", b"NO"],
        [b"c", b"OK"],
    ]
    assert len(await account.rows(INBOX)) == 2
    told = await said(account, appending("a", "Not", mail()) + appending("b", "Not", mail()))
    assert told.count(b" NO [TRYCREATE]") == 2


async def test_before_the_log_in_they_are_refused_one_by_one() -> None:
    talk = Talk(counting())
    answer = await talk.send(b"a APPEND INBOX {3+}\r\nabc\r\nb APPEND INBOX {3+}\r\nabc\r\n")
    assert answer.count(b"BAD") == 2
    await talk.end()
