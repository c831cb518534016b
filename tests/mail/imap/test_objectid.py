"""OBJECTID (RFC 8474): ids of mailboxes and messages that outlive names, moves and copies."""

from __future__ import annotations

from leap.mail.contract import INBOX, MailboxId, Uid
from leap.mail.imap.wire.responses import object_id
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, fill, mail, play


async def test_a_mailbox_keeps_its_id_through_a_new_name() -> None:
    """RFC 8474 4.1 to 4.3."""
    await play(
        """
        C: a CREATE foo
        S: a OK [MAILBOXID (m1)] Created.
        C: b RENAME foo bar
        S: b OK …
        C: c STATUS bar (MAILBOXID MESSAGES)
        S: * STATUS bar (MAILBOXID (m1) MESSAGES 0)
        S: c OK …
        C: d SELECT bar
        S: * FLAGS …
        S: * OK [PERMANENTFLAGS …
        S: * 0 EXISTS
        S: * 0 RECENT
        S: * OK [UIDVALIDITY …
        S: * OK [UIDNEXT 1] …
        S: * OK [MAILBOXID (m1)] Its id
        S: * OK [HIGHESTMODSEQ 1] …
        S: d OK …
        C: e DELETE bar
        S: * OK [CLOSED] …
        S: e OK …
        C: f CREATE foo
        S: f OK [MAILBOXID (m2)] Created.
        C: g LIST "" foo RETURN (STATUS (MAILBOXID))
        S: * LIST …
        S: * STATUS foo (MAILBOXID (m2))
        S: g OK …
        """,
        mailbox=None,
    )


async def test_a_message_keeps_its_id_in_every_mailbox() -> None:
    """RFC 8474 5.1; threads have none, which is said by NIL (5.2)."""
    account = MemoryAccount()
    await fill(account, [mail("one"), mail("two")])
    first, second = [row.message_id for row in await account.rows(INBOX)]
    await account.copy(INBOX, [Uid(2)], MailboxId("archive"))
    await account.move(INBOX, [Uid(2)], INBOX)
    await account.claim_recent(INBOX)
    await play(
        f"""
        C: a FETCH 1:* (EMAILID THREADID)
        S: * 1 FETCH (UID 1 EMAILID ({first}) THREADID NIL)
        S: * 2 FETCH (UID 3 EMAILID ({second}) THREADID NIL)
        S: a OK …
        C: b UID SEARCH EMAILID {second}
        S: * SEARCH 3
        S: b OK …
        C: c SEARCH OR EMAILID {first} THREADID T1
        S: * SEARCH 1
        S: c OK …
        C: d SEARCH THREADID {first}
        S: * SEARCH
        S: d OK …
        C: e SEARCH EMAILID (x)
        S: e BAD …
        C: f SEARCH EMAILID {"x" * 256}
        S: f BAD …
        C: g UID FETCH 3 (EMAILID BODY.PEEK[TEXT]<0.3>)
        S: * 2 FETCH (UID 3 EMAILID ({second}) BODY[TEXT]<0> {{3}}
        S: One)
        S: g OK …
        """,
        account=account,
    )
    talk = await Talk(account).log_in("Archive")
    assert f"EMAILID ({second})".encode() in await talk.send(b"a FETCH 1 EMAILID\r\n")
    await talk.end()


def test_any_id_of_ours_is_one_on_the_wire() -> None:
    assert object_id("x0f-A_9") == b"x0f-A_9"
    for strange in ("", "a b", "é", "x" * 256, "a)\r\n"):
        assert object_id(strange).isalnum()
        assert object_id(strange) == object_id(strange)
