"""COPY and MOVE with COPYUID."""

from __future__ import annotations

import pytest

from leap.mail.contract import INBOX, MailboxId
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import fill, mail, play


@pytest.fixture
async def account() -> MemoryAccount:
    account = MemoryAccount()
    await fill(account, [mail()] * 4, flags=["\\Seen"])
    return account


async def test_copy(account: MemoryAccount) -> None:
    await play(
        """
        C: a COPY 2:3 Archive
        S: a OK [COPYUID 2 2:3 1:2] Copied.
        C: b UID COPY 4,1 Archive
        S: b OK [COPYUID 2 1,4 3:4] Copied.
        C: c UID COPY 99 Archive
        S: c OK There was nothing to copy.
        C: d COPY 1 Nowhere
        S: d NO [TRYCREATE] There is no such mailbox.
        C: e COPY 9 Archive
        S: e BAD …
        C: f COPY 1 INBOX
        S: * 5 EXISTS
        S: * 1 RECENT
        S: f OK [COPYUID 1 1 5] Copied.
        C: g COPY 1
        S: g BAD …
        """,
        account=account,
    )
    assert len(await account.rows(MailboxId("archive"))) == 4
    assert len(await account.rows(INBOX)) == 5


async def test_move(account: MemoryAccount) -> None:
    await play(
        """
        C: a MOVE 2:3 Archive
        S: * OK [COPYUID 2 2:3 1:2] Moved
        S: * 3 EXPUNGE
        S: * 2 EXPUNGE
        S: a OK Moved.
        C: b UID MOVE 99 Archive
        S: b OK There was nothing to move.
        C: c UID MOVE 4 Nowhere
        S: c NO [TRYCREATE] …
        C: d FETCH 1:* UID
        S: * 1 FETCH (UID 1)
        S: * 2 FETCH (UID 4)
        S: d OK …
        C2: a NOOP
        S2: * 3 EXPUNGE
        S2: * 2 EXPUNGE
        S2: a OK …
        C2: b EXAMINE INBOX
        S2: * OK [CLOSED] …
        S2: * FLAGS …
        S2: * OK [PERMANENTFLAGS …
        S2: * 2 EXISTS
        S2: * 0 RECENT
        S2: * OK [UIDVALIDITY …
        S2: * OK [UIDNEXT …
        S2: * OK [MAILBOXID …
        S2: * OK [HIGHESTMODSEQ …
        S2: b OK …
        C2: c MOVE 1 Archive
        S2: c NO [READ-ONLY] …
        """,
        account=account,
    )
    assert [row.flags for row in await account.rows(MailboxId("archive"))] == [("\\Seen",)] * 2


async def test_a_copy_of_what_another_session_expunged_is_refused(account: MemoryAccount) -> None:
    await play(
        """
        C: a STORE 2 +FLAGS.SILENT (\\Deleted)
        S: a OK …
        C: b EXPUNGE
        S: * 2 EXPUNGE
        S: b OK …
        C2: a UID COPY 2 Archive
        S2: * 2 EXPUNGE
        S2: a NO [EXPUNGEISSUED] …
        """,
        account=account,
    )
