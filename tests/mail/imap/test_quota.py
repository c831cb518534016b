"""QUOTA (RFC 9208): one root, bounded by the disk."""

from __future__ import annotations

from leap.mail.answers import AccountSpace
from leap.mail.contract import INBOX, Uid
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import fill, play


class _OnADisk(MemoryAccount):
    async def space(self) -> AccountSpace:
        return AccountSpace(used=10_241, messages=3, free=100 * 1024 + 17)


async def test_the_root_of_every_mailbox_is_the_account() -> None:
    """RFC 9208 4.1.1, 4.1.2, 5.1: in units of 1024 octets, what is used rounded up."""
    await play(
        """
        C: a GETQUOTAROOT INBOX
        S: * QUOTAROOT INBOX ""
        S: * QUOTA "" (STORAGE 11 111)
        S: a OK …
        C: b GETQUOTA ""
        S: * QUOTA "" (STORAGE 11 111)
        S: b OK …
        C: c GETQUOTA other
        S: c NO [NONEXISTENT] …
        C: d GETQUOTAROOT Nowhere
        S: d NO [NONEXISTENT] …
        C: e SETQUOTA "" (STORAGE 512)
        S: e BAD …
        C: f GETQUOTA
        S: f BAD …
        """,
        account=_OnADisk(),
    )
    await play(
        """
        C: a GETQUOTA ""
        S: a BAD …
        """,
        log_in=False,
    )


async def test_without_a_bound_there_is_no_limit() -> None:
    await play(
        """
        C: a GETQUOTAROOT "Sent"
        S: * QUOTAROOT Sent ""
        S: * QUOTA "" ()
        S: a OK …
        """
    )


async def test_a_status_says_what_expunge_would_free() -> None:
    """RFC 9208 4.1.4."""
    account = MemoryAccount()
    await fill(account, [b"12345", b"123", b"1"])
    await account.store_flags(INBOX, [Uid(1), Uid(3)], "add", ["\\Deleted"])
    await play(
        """
        C: a STATUS INBOX (DELETED MESSAGES DELETED-STORAGE)
        S: * STATUS INBOX (DELETED 2 MESSAGES 3 DELETED-STORAGE 6)
        S: a OK …
        C: b LIST "" INBOX RETURN (STATUS (DELETED))
        S: * LIST …
        S: * STATUS INBOX (DELETED 2)
        S: b OK …
        """,
        account=account,
        mailbox=None,
    )
