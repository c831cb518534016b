"""UTF8=ACCEPT (RFC 9755, and APPEND as RFC 6855 has it): names and texts in UTF-8."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leap.mail.contract import INBOX
from leap.mail.imap.wire.responses import mailbox
from leap.mail.imap.wire.scanner import Scanner
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, fill, mail, play


async def test_names_are_utf8_from_then_on() -> None:
    """RFC 9755 3; another session goes on with modified UTF-7."""
    await play(
        """
        C: a CREATE "B&APw-cher"
        S: a OK …
        C: b ENABLE UTF8=ACCEPT
        S: * ENABLED UTF8=ACCEPT
        S: b OK …
        C: c LIST "" "B*"
        S: * LIST (\\HasNoChildren) "/" "Bücher"
        S: c OK …
        C: d CREATE "R&D \\"日本\\""
        S: d OK …
        C: e STATUS "R&D \\"日本\\"" (MESSAGES)
        S: * STATUS "R&D \\"日本\\"" (MESSAGES 0)
        S: e OK …
        C: f LSUB "" "R%"
        S: * LSUB () "/" "R&D \\"日本\\""
        S: f OK …
        C: g GETQUOTAROOT {7+}
        C: Bücher
        S: * QUOTAROOT "Bücher" ""
        S: * QUOTA "" ()
        S: g OK …
        C: h RENAME Bücher Livres
        S: h OK …
        C: i SELECT "B&APw-cher"
        S: i NO [NONEXISTENT] …
        C2: j LIST "" "R*"
        S2: * LIST (\\HasNoChildren) "/" "R&-D \\"&ZeVnLA-\\""
        S2: j OK …
        """,
        mailbox=None,
    )


async def test_texts_are_utf8_and_no_charset_is_named() -> None:
    account = MemoryAccount()
    await fill(account, [mail("Grüße"), mail("nothing")])
    await account.claim_recent(INBOX)
    await play(
        """
        C: a SEARCH CHARSET UTF-8 SUBJECT "grüße"
        S: * SEARCH 1
        S: a OK …
        C: b ENABLE UTF8=ACCEPT
        S: * ENABLED UTF8=ACCEPT
        S: b OK …
        C: c SEARCH SUBJECT "grüße"
        S: * SEARCH 1
        S: c OK …
        C: d SEARCH CHARSET UTF-8 SUBJECT "grüße"
        S: d BAD …
        C: e SORT (SUBJECT) UTF-8 SUBJECT "grüße"
        S: * SORT 1
        S: e OK …
        C: f SEARCH RETURN (COUNT) CHARSET UTF-8 ALL
        S: f BAD …
        """,
        account=account,
    )


async def test_a_message_with_a_header_in_utf8_is_appended() -> None:
    """RFC 6855 4; RFC 9755 has no word for it any more and takes any literal."""
    account = MemoryAccount()
    await play(
        """
        C: a APPEND Sent UTF8 (~{20+}
        C: Subject: Grüße
        C:
        C: )
        S: a BAD …
        C: b ENABLE UTF8=ACCEPT
        S: * ENABLED UTF8=ACCEPT
        S: b OK …
        C: c APPEND Sent (\\Seen) "02-Nov-2026 09:00:00 +0100" UTF8 (~{20+}
        C: Subject: Grüße
        C:
        C: )
        S: c OK [APPENDUID 5 1] …
        C: d APPEND Sent UTF8 (~{1+}
        C: x) {1+}
        C: y
        S: d OK [APPENDUID 5 2:3] …
        C: e APPEND Sent UTF8 ~{1+}
        C: x
        S: e BAD …
        C: f APPEND Sent LATIN1 (~{1+}
        C: x)
        S: f BAD …
        C: g APPEND Sent UTF8 (~{1+}
        C: x
        S: g BAD …
        """,
        account=account,
        mailbox=None,
    )


async def test_the_word_inside_the_literal_is_none_of_the_message() -> None:
    """Python's imaplib writes APPEND so."""
    account = MemoryAccount()
    await play(
        """
        C: a APPEND INBOX {8+}
        C: UTF8 (x)
        S: * 1 EXISTS
        S: * 1 RECENT
        S: a OK …
        C: b ENABLE UTF8=ACCEPT
        S: * ENABLED UTF8=ACCEPT
        S: b OK …
        C: c APPEND INBOX {8+}
        C: UTF8 (x)
        S: * 2 EXISTS
        S: * 2 RECENT
        S: c OK …
        C: d FETCH 1:* (RFC822.SIZE)
        S: * 1 FETCH (UID 1 RFC822.SIZE 8)
        S: * 2 FETCH (UID 2 RFC822.SIZE 1)
        S: d OK …
        """,
        account=account,
    )


async def test_enabling_it_enables_nothing_else() -> None:
    account = MemoryAccount()
    await fill(account, [mail()])
    await account.claim_recent(INBOX)
    await play(
        """
        C: a ENABLE UTF8=ACCEPT
        S: * ENABLED UTF8=ACCEPT
        S: a OK …
        C: b STORE 1 +FLAGS (\\Seen)
        S: * 1 FETCH (UID 1 FLAGS (\\Seen))
        S: b OK …
        """,
        account=account,
    )


@pytest.mark.parametrize("octets", [b'"\xff"', b'"caf\xe9"', b"\xc3("])
async def test_octets_that_are_no_utf8_are_no_name(octets: bytes) -> None:
    talk = await Talk().log_in()
    await talk.send(b"a ENABLE UTF8=ACCEPT\r\n")
    assert (await talk.send(b"b SELECT " + octets + b"\r\n")).startswith(b"b BAD")
    await talk.end()


@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40))
def test_every_name_can_be_read_again(name: str) -> None:
    assert Scanner(mailbox("x" + name, utf8=True), utf8=True).mailbox() == "x" + name
