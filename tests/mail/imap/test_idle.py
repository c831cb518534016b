"""IDLE and NOOP: changes from anywhere, at once and in order."""

from __future__ import annotations

from leap.mail.contract import INBOX, MailboxId, MailboxStatus, Uid
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, fill, mail, play, settled


async def test_an_idling_session_hears_of_everything_at_once() -> None:
    account = MemoryAccount()
    await fill(account, [mail()] * 2)
    await play(
        """
        C2: i IDLE
        S2: + idling
        C: a APPEND INBOX {2+}
        C: hi
        S: * 3 EXISTS
        S: * 1 RECENT
        S: a OK …
        S2: * 3 EXISTS
        S2: * 0 RECENT
        C: b STORE 1 +FLAGS.SILENT (\\Deleted $New)
        S: * FLAGS …
        S: * OK [PERMANENTFLAGS …
        S: b OK …
        S2: * FLAGS …
        S2: * OK [PERMANENTFLAGS …
        S2: * 1 FETCH (UID 1 FLAGS ($New \\Deleted))
        C: c EXPUNGE
        S: * 1 EXPUNGE
        S: c OK …
        S2: * 1 EXPUNGE
        C2: DONE
        S2: i OK Idled.
        C: d STORE 1 FLAGS.SILENT (\\Seen)
        S: d OK …
        C2: e NOOP
        S2: * 1 FETCH (UID 2 FLAGS (\\Seen))
        S2: e OK …
        """,
        account=account,
    )


async def test_changes_from_elsewhere_reach_an_idling_session() -> None:
    account = MemoryAccount()
    talk = await Talk(account).log_in("INBOX")
    await settled()
    assert await talk.send(b"i IDLE\r\n") == b"+ idling\r\n"
    await fill(account, [mail()])
    await settled()
    assert talk.take() == b"* 1 EXISTS\r\n* 1 RECENT\r\n"
    await account.move(INBOX, [Uid(1)], MailboxId("archive"))
    await settled()
    assert talk.take() == b"* 1 EXPUNGE\r\n"
    await fill(account, [mail()], mailbox=MailboxId("archive"))
    await settled()
    assert talk.take() == b"", "another mailbox is none of its business"
    assert await talk.send(b"done\r\n") == b"i OK Idled.\r\n"
    await talk.end()


async def test_mail_on_its_way_out_is_none_of_a_sessions_business() -> None:
    class Counting(MemoryAccount):
        looks = 0

        async def status(self, mailbox_id: MailboxId) -> MailboxStatus:
            self.looks += mailbox_id == INBOX
            return await super().status(mailbox_id)

    account = Counting()
    talk = await Talk(account).log_in("INBOX")
    await talk.send(b"i IDLE\r\n")
    await settled()
    before = account.looks
    outbox_id = await account.submit(mail(), account.address, ["bob@example.test"])
    assert await account.cancel(outbox_id)
    await settled()
    assert talk.take() == b""
    assert account.looks == before
    await account.create_mailbox("Fresh")
    await settled()
    assert account.looks > before  # the list of mailboxes is: this one may be gone
    await talk.end()


async def test_what_happened_before_idle_is_told_when_it_begins() -> None:
    account = MemoryAccount()
    talk = await Talk(account).log_in("INBOX")
    await fill(account, [mail()])
    said = await talk.send(b"i IDLE\r\n")
    assert said == b"+ idling\r\n* 1 EXISTS\r\n* 1 RECENT\r\n"
    await talk.end()


async def test_idle_ends_with_done_only_and_may_be_pipelined() -> None:
    talk = await Talk().log_in()
    said = await talk.send(b"i IDLE\r\nDONE\r\nj IDLE\r\nk NOOP\r\nl NOOP\r\n")
    assert said == (
        b"+ idling\r\ni OK Idled.\r\n+ idling\r\nj BAD IDLE ends with DONE.\r\nl OK Nothing done.\r\n"
    )
    await talk.end()


async def test_a_message_that_comes_and_goes_between_two_words_is_never_told() -> None:
    account = MemoryAccount()
    talk = await Talk(account).log_in("INBOX")
    await fill(account, [mail()], flags=["\\Deleted"])
    await account.expunge(INBOX)
    assert await talk.send(b"a NOOP\r\n") == b"a OK Nothing done.\r\n"
    await talk.end()


async def test_a_deleted_mailbox_says_bye_to_its_idlers() -> None:
    account = MemoryAccount()
    made = await account.create_mailbox("Short")
    talk = await Talk(account).log_in("Short")
    await settled()
    await talk.send(b"i IDLE\r\n")
    await account.delete_mailbox(made.mailbox_id)
    await settled()
    assert talk.take() == b"* BYE The selected mailbox was deleted.\r\n"
    await talk.end()
