"""ENABLE (RFC 5161), and what it does in each state."""

from __future__ import annotations

from leap.mail.contract import INBOX
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import PASSWORD, USER, Talk, fill, mail, play


async def test_enabled_always_answers_and_names_what_is_enabled() -> None:
    """RFC 5161 3.1, 3.2: unknown names are passed over, several commands add up, asking again does no harm."""
    await play(
        """
        C: a ENABLE X-GOOD-IDEA
        S: * ENABLED
        S: a OK …
        C: b enable condstore x-good-idea Condstore
        S: * ENABLED CONDSTORE
        S: b OK …
        C: c ENABLE QRESYNC CONDSTORE
        S: * ENABLED QRESYNC CONDSTORE
        S: c OK …
        C: d ENABLE IDLE IMAP4rev1
        S: * ENABLED
        S: d OK …
        C: e ENABLE
        S: e BAD …
        C: f ENABLE (QRESYNC)
        S: f BAD …
        """,
        mailbox=None,
    )


async def test_nothing_is_enabled_before_the_log_in() -> None:
    talk = Talk()
    said = await talk.send(f"a ENABLE QRESYNC\r\nb LOGIN {USER} {PASSWORD}\r\n".encode())
    assert said.startswith(b"a BAD Log in first.\r\nb OK ")
    assert (await talk.send(b"c SELECT INBOX (QRESYNC (1 1))\r\n")).startswith(b"c BAD ")
    await talk.end()


async def test_enabling_twice_tells_the_highest_modseq_once() -> None:
    account = MemoryAccount()
    await fill(account, [mail()])
    await account.claim_recent(INBOX)
    await play(
        """
        C: a ENABLE CONDSTORE
        S: * ENABLED CONDSTORE
        S: * OK [HIGHESTMODSEQ 2] Highest
        S: a OK …
        C: b ENABLE CONDSTORE
        S: * ENABLED CONDSTORE
        S: b OK …
        """,
        account=account,
    )


async def test_what_is_enabled_stays_for_all_mailboxes_of_the_session() -> None:
    account = MemoryAccount()
    await fill(account, [mail()])
    await account.claim_recent(INBOX)
    await play(
        """
        C: a ENABLE QRESYNC
        S: * ENABLED QRESYNC
        S: a OK …
        C: b SELECT Archive
        S: * FLAGS …
        S: * OK [PERMANENTFLAGS …
        S: * 0 EXISTS
        S: * 0 RECENT
        S: * OK [UIDVALIDITY …
        S: * OK [UIDNEXT …
        S: * OK [MAILBOXID …
        S: * OK [HIGHESTMODSEQ 1] Highest
        S: b OK …
        C: c SELECT INBOX
        S: * OK [CLOSED] …
        S: * FLAGS …
        S: * OK [PERMANENTFLAGS …
        S: * 1 EXISTS
        S: * 0 RECENT
        S: * OK [UNSEEN 1] …
        S: * OK [UIDVALIDITY …
        S: * OK [UIDNEXT …
        S: * OK [MAILBOXID …
        S: * OK [HIGHESTMODSEQ 2] Highest
        S: c OK …
        C: d STORE 1 +FLAGS (\\Deleted)
        S: * 1 FETCH (UID 1 FLAGS (\\Deleted) MODSEQ (3))
        S: d OK …
        C: e EXPUNGE
        S: * VANISHED 1
        S: e OK [HIGHESTMODSEQ 4] Expunged.
        """,
        account=account,
        mailbox=None,
    )
