"""SAVEDATE (RFC 8514): when a message came into its mailbox."""

from __future__ import annotations

import pytest

from leap.mail.contract import INBOX, MailboxId, Uid
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import fill, mail, play

DAY = 86_400


class _Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0  # 15 January 2027, 08:00

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def account() -> MemoryAccount:
    """Saved on three days one after the other; received long before."""
    clock = _Clock()
    account = MemoryAccount(now=clock)
    for subject in ("one", "two", "three"):
        await fill(account, [mail(subject)])
        clock.now += DAY
    return account


async def test_a_save_date_is_fetched(account: MemoryAccount) -> None:
    """RFC 8514 4.2: beside the internal date, with octets too; a move saves anew."""
    await account.move(INBOX, [Uid(1)], MailboxId("archive"))
    await account.move(MailboxId("archive"), [Uid(1)], INBOX)
    await account.claim_recent(INBOX)
    await play(
        """
        C: a FETCH 1:* (SAVEDATE)
        S: * 1 FETCH (UID 2 SAVEDATE "16-Jan-2027 08:00:00 +0000")
        S: * 2 FETCH (UID 3 SAVEDATE "17-Jan-2027 08:00:00 +0000")
        S: * 3 FETCH (UID 4 SAVEDATE "18-Jan-2027 08:00:00 +0000")
        S: a OK …
        C: b UID FETCH 3 (savedate INTERNALDATE BODY.PEEK[TEXT]<0.3>)
        S: * 2 FETCH (UID 3 SAVEDATE "17-Jan-2027 08:00:00 +0000" INTERNALDATE "26-Oct-2026 … +0100" BODY[TEXT]<0> {3}
        S: One)
        S: b OK …
        """,
        account=account,
    )


async def test_messages_are_searched_by_the_day_they_were_saved(account: MemoryAccount) -> None:
    """RFC 8514 4.3."""
    await play(
        """
        C: a SEARCH SAVEDBEFORE 16-Jan-2027
        S: * SEARCH 1
        S: a OK …
        C: b SEARCH SAVEDON 16-Jan-2027
        S: * SEARCH 2
        S: b OK …
        C: c UID SEARCH RETURN (ALL) SAVEDSINCE 16-Jan-2027
        S: * ESEARCH (TAG "c") UID ALL 2:3
        S: c OK …
        C: d SEARCH SAVEDATESUPPORTED NOT SAVEDON 16-Jan-2027
        S: * SEARCH 1 3
        S: d OK …
        C: e SEARCH SAVEDON yesterday
        S: e BAD …
        C: f SEARCH SAVEDON
        S: f BAD …
        """,
        account=account,
    )


async def test_a_message_that_is_gone_has_no_save_date(account: MemoryAccount) -> None:
    await play(
        """
        C2: a STORE 1 +FLAGS.SILENT (\\Deleted)
        S2: a OK …
        C2: b EXPUNGE
        S2: * 1 EXPUNGE
        S2: b OK …
        C: c FETCH 1:2 (SAVEDATE)
        S: * 1 FETCH (UID 1 SAVEDATE NIL)
        S: * 2 FETCH (UID 2 SAVEDATE "16-Jan-2027 08:00:00 +0000")
        S: c OK …
        """,
        account=account,
    )
