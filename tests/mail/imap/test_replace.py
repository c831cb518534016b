"""REPLACE (RFC 8508): one message for another, in one step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from leap.mail.contract import INBOX, Appended, MailboxId, NewMessage, StorageFull, Uid
from leap.mail.imap.wire.limits import DEFAULT_LIMITS
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, fill, mail, play


@pytest.fixture
async def account() -> MemoryAccount:
    """The uids 2 to 4 have the numbers 1 to 3."""
    account = MemoryAccount(now=lambda: 1_800_000_000)
    await fill(account, [mail("gone")], flags=["\\Deleted"])
    await account.expunge(INBOX)
    await fill(account, [mail("one"), mail("two"), mail("three")])
    return account


async def test_a_message_takes_the_place_of_another(account: MemoryAccount) -> None:
    """RFC 8508 3.3, 3.4: APPENDUID first, then EXISTS and EXPUNGE; another session hears of it."""
    await play(
        """
        C: a REPLACE 2 INBOX (\\Seen $Draft) "02-Nov-2026 09:00:00 +0100" {1+}
        C: x
        S: * OK [APPENDUID 1 5] Replaced
        S: * 2 EXPUNGE
        S: * 3 EXISTS
        S: * 1 RECENT
        S: * FLAGS …
        S: * OK [PERMANENTFLAGS …
        S: a OK …
        C: b FETCH 3 (FLAGS INTERNALDATE BODY.PEEK[])
        S: * 3 FETCH (UID 5 FLAGS ($Draft \\Seen \\Recent) INTERNALDATE "02-Nov-2026 09:00:00 +0100" BODY[] {1}
        S: x)
        S: b OK …
        C2: c NOOP
        S2: * 2 EXPUNGE
        S2: * 3 EXISTS
        S2: * 0 RECENT
        S2: * FLAGS …
        S2: * OK [PERMANENTFLAGS …
        S2: c OK …
        """,
        account=account,
    )


async def test_the_new_message_may_go_elsewhere(account: MemoryAccount) -> None:
    await play(
        """
        C: a UID REPLACE 3 Drafts (\\Draft) ~{1+}
        C: y
        S: * OK [APPENDUID 3 1] Replaced
        S: * 2 EXPUNGE
        S: a OK …
        C: b STATUS Drafts (MESSAGES)
        S: * STATUS Drafts (MESSAGES 1)
        S: b OK …
        C: c REPLACE * "Drafts" {1+}
        C: z
        S: * OK [APPENDUID 3 2] Replaced
        S: * 2 EXPUNGE
        S: c OK …
        """,
        account=account,
    )


async def test_a_message_that_is_not_there_is_not_replaced(account: MemoryAccount) -> None:
    await play(
        """
        C: a REPLACE 4 INBOX {1+}
        C: x
        S: a BAD …
        C: b UID REPLACE 1 INBOX {1+}
        C: x
        S: b NO [NONEXISTENT] …
        C: c REPLACE 1 Nowhere {1+}
        C: x
        S: c NO [TRYCREATE] …
        C: d REPLACE 1 INBOX {0+}
        C:
        S: d NO [CANNOT] …
        C: e REPLACE 1:2 INBOX {1+}
        C: x
        S: e BAD …
        C: f REPLACE 1 INBOX {1+}
        C: x {1+}
        C: y
        S: f BAD …
        C: g REPLACE 1 INBOX
        S: g BAD …
        C2: h UID STORE 2 +FLAGS.SILENT (\\Deleted)
        S2: h OK …
        C2: i EXPUNGE
        S2: * 1 EXPUNGE
        S2: i OK …
        C: j REPLACE 1 INBOX {1+}
        C: x
        S: * 1 EXPUNGE
        S: j NO [EXPUNGEISSUED] …
        """,
        account=account,
    )
    assert (await account.status(INBOX)).messages == 2


async def test_nothing_is_replaced_in_a_wrong_state(account: MemoryAccount) -> None:
    await play(
        """
        C: a REPLACE 1 INBOX {1+}
        C: x
        S: a BAD …
        C: b EXAMINE INBOX
        S: * FLAGS …
        S: * OK [PERMANENTFLAGS …
        S: * 3 EXISTS
        S: * 0 RECENT
        S: * OK [UNSEEN 1] …
        S: * OK [UIDVALIDITY …
        S: * OK [UIDNEXT …
        S: * OK [MAILBOXID …
        S: * OK [HIGHESTMODSEQ …
        S: b OK …
        C: c REPLACE 1 INBOX {1+}
        C: x
        S: c NO [READ-ONLY] …
        """,
        account=account,
        mailbox=None,
    )


async def test_with_qresync_the_old_one_vanishes(account: MemoryAccount) -> None:
    talk = await Talk(account).log_in()
    await talk.send(b"e ENABLE QRESYNC\r\ns SELECT INBOX\r\n")
    said = await talk.send(b"a REPLACE 1 INBOX {1+}\r\nx\r\n")
    assert b"* VANISHED 2\r\n" in said
    assert b"a OK [HIGHESTMODSEQ " in said
    await talk.end()


async def test_a_message_too_large_is_refused_before_it_is_sent(account: MemoryAccount) -> None:
    limits = replace(DEFAULT_LIMITS, message=100)
    for line in (b"a REPLACE 1 INBOX", b"a UID REPLACE 2 {5+}\r\nINBOX"):
        talk = await Talk(account, limits=limits).log_in("INBOX")
        assert (await talk.send(line + b" {101}\r\n")).startswith(b"a NO [TOOBIG]")
        assert await talk.send(line + b" {100}\r\n") == b"+ OK\r\n"
        await talk.end()


class _Full(MemoryAccount):
    async def replace(
        self, mailbox_id: MailboxId, uid: Uid, message: NewMessage, target: MailboxId | None = None
    ) -> Appended:
        raise StorageFull("The disk is full; nothing was changed.")


async def test_on_a_full_disk_the_old_message_stays() -> None:
    account: MemoryAccount = _Full()
    await fill(account, [mail("one")])
    talk = await Talk(account).log_in("INBOX")
    said = await talk.send(b"a REPLACE 1 INBOX {1+}\r\nx\r\n")
    assert said.startswith(b"a NO [OVERQUOTA]")
    await talk.end()
