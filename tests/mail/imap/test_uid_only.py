"""UIDONLY (RFC 9586): messages are named by their uids, in both directions."""

from __future__ import annotations

import re

import pytest

from leap.mail.contract import INBOX, Uid
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, fill, mail, play


@pytest.fixture
async def account() -> MemoryAccount:
    """The uids 3 to 7 have the numbers 1 to 5."""
    account = MemoryAccount()
    await fill(account, [mail()] * 2, flags=["\\Deleted"])
    await account.expunge(INBOX)
    await fill(account, [mail(f"Mail {n}") for n in range(3, 8)])
    await account.claim_recent(INBOX)
    return account


async def test_answers_name_uids(account: MemoryAccount) -> None:
    """RFC 9586 3.1, 3.3 to 3.6, with their examples; `*` among uids is a uid."""
    await play(
        """
        C: 01 ENABLE UIDONLY
        S: * ENABLED UIDONLY
        S: 01 OK …
        C: 10 UID FETCH 4:* (FLAGS)
        S: * 4 UIDFETCH (UID 4 FLAGS ())
        S: * 5 UIDFETCH (UID 5 FLAGS ())
        S: * 6 UIDFETCH (UID 6 FLAGS ())
        S: * 7 UIDFETCH (UID 7 FLAGS ())
        S: 10 OK …
        C: 11 UID FETCH 5 (BODY.PEEK[HEADER.FIELDS (SUBJECT)])
        S: * 5 UIDFETCH (UID 5 BODY[HEADER.FIELDS (SUBJECT)] {19}
        S: Subject: Mail 5
        S:
        S: )
        S: 11 OK …
        C: 12 UID STORE 5 +FLAGS (\\Deleted)
        S: * 5 UIDFETCH (UID 5 FLAGS (\\Deleted))
        S: 12 OK …
        C: 13 EXPUNGE
        S: * VANISHED 5
        S: 13 OK …
        C: 14 UID SEARCH SUBJECT Mail UID 3:6
        S: * SEARCH 3 4 6
        S: 14 OK …
        C: 15 UID SEARCH RETURN (SAVE COUNT) ALL
        S: * ESEARCH (TAG "15") UID COUNT 4
        S: 15 OK …
        C: 16 UID SEARCH UID $ NOT UID 7
        S: * SEARCH 3 4 6
        S: 16 OK …
        C: 17 UID MOVE 6 Archive
        S: * OK [COPYUID 2 6 1] Moved
        S: * VANISHED 6
        S: 17 OK …
        C: 18 UID COPY 3:4 INBOX
        S: * 5 EXISTS
        S: * 2 RECENT
        S: 18 OK [COPYUID 1 3:4 8:9] Copied.
        C: 19 UID STORE 3 (UNCHANGEDSINCE 1) +FLAGS.SILENT (\\Seen)
        S: * OK [HIGHESTMODSEQ …] …
        S: 19 OK [MODIFIED 3] …
        C: 20 UID STORE 4 (UNCHANGEDSINCE 99) +FLAGS.SILENT (\\Seen)
        S: * 4 UIDFETCH (UID 4 MODSEQ (…))
        S: 20 OK …
        """,
        account=account,
    )


async def test_what_others_did_is_told_by_uid(account: MemoryAccount) -> None:
    """RFC 9586 3.6; RFC 7162 3.2.5 without the pairs of numbers."""
    talk = await Talk(account).log_in("INBOX")
    await talk.send(b"a ENABLE UIDONLY QRESYNC\r\n")
    await account.store_flags(INBOX, [Uid(4)], "add", ["\\Flagged"])
    await account.store_flags(INBOX, [Uid(6)], "add", ["\\Deleted"])
    await account.expunge(INBOX)
    said = await talk.send(b"b NOOP\r\n")
    assert said.startswith(b"* VANISHED 6\r\n* 4 UIDFETCH (UID 4 FLAGS (\\Flagged) MODSEQ (")
    said = await talk.send(b"c SELECT INBOX (QRESYNC (1 8 3:6))\r\n")
    assert b"* VANISHED (EARLIER) 6\r\n* 4 UIDFETCH (UID 4 FLAGS (\\Flagged) MODSEQ (" in said
    assert b"UNSEEN" not in said
    assert not re.search(rb"\d+ (FETCH|EXPUNGE)", said)
    await talk.end()


@pytest.mark.parametrize(
    "command",
    [
        b"FETCH 1 FLAGS",
        b"FETCH $ FLAGS",
        b"STORE 1 FLAGS ()",
        b"COPY 1 Archive",
        b"MOVE 1 Archive",
        b"SEARCH ALL",
        b"UID SEARCH 1",
        b"UID SEARCH NOT 1:*",
        b"UID SEARCH (OR SEEN (UID 3 2))",
        b"SELECT INBOX (QRESYNC (1 5 3:7 (1:2 3:4)))",
    ],
)
async def test_numbers_are_refused(account: MemoryAccount, command: bytes) -> None:
    """RFC 9586 3.2, 3.5, 3.7; before ENABLE they are not."""
    talk = await Talk(account).log_in("INBOX")
    await talk.send(b"q ENABLE QRESYNC\r\n")
    assert b"\r\na OK" in b"\r\n" + await talk.send(b"a " + command + b"\r\nz SELECT INBOX\r\n")
    await talk.send(b"b ENABLE UIDONLY\r\n")
    before = await account.rows(INBOX)
    said = await talk.send(b"c " + command + b"\r\n")
    assert said.startswith(b"c BAD [UIDREQUIRED] ")
    assert await account.rows(INBOX) == before
    assert talk.session.view is not None, "the mailbox is selected still"
    await talk.end()
