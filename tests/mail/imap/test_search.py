"""SEARCH: every key of RFC 3501, charsets, ESEARCH and WITHIN."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from leap.mail.contract import INBOX, ContentUnavailable, MessageMetadata, RowId, Uid
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, fill, mail, play

DAY = 86_400


def message(number: int, date: str, body: str, extra: str = "", subject: str = "") -> bytes:
    return (
        f"From: Person {number} <p{number}@example.test>\r\nTo: bob@example.test\r\n"
        f"Subject: {subject or f'Number {number}'}\r\n"
        f"Date: {date}\r\n{extra}\r\n{body}\r\n"
    ).encode()


@pytest.fixture
async def talk() -> Talk:
    account = MemoryAccount(now=lambda: 1_800_000_000)
    await fill(
        account,
        [
            message(1, "Sat, 31 Oct 2026 23:30:00 -0800", "the heron waits"),
            message(2, "Sun, 1 Nov 2026 12:00:00 +0000", "two", "Cc: carol@example.test\r\nX-Thing: blue\r\n"),
            message(3, "Mon, 2 Nov 2026 00:10:00 +0100", "Größe und Maß",
                    "Bcc: dora@example.test\r\nContent-Type: text/plain; charset=utf-8\r\n"),
            message(4, "nonsense", "x" * 5_000, subject="=?utf-8?q?=C3=84pfel?="),
        ],
        at=1_793_500_000,
    )  # fmt: skip
    await account.claim_recent(INBOX)
    await account.store_flags(INBOX, [Uid(1)], "set", ["\\Seen", "\\Answered", "$Work"])
    await account.store_flags(INBOX, [Uid(2)], "set", ["\\Deleted", "\\Draft"])
    await account.store_flags(INBOX, [Uid(3)], "set", ["\\Flagged"])
    return await Talk(account).log_in("INBOX")


CASES = {
    "ALL": "1 2 3 4",
    "1:2,4": "1 2 4",
    "UID 3:*": "3 4",
    "UID 100": "",
    "UID 100:*": "4",
    "ANSWERED": "1",
    "UNANSWERED": "2 3 4",
    "SEEN": "1",
    "UNSEEN": "2 3 4",
    "DELETED": "2",
    "UNDELETED": "1 3 4",
    "DRAFT": "2",
    "UNDRAFT": "1 3 4",
    "FLAGGED": "3",
    "UNFLAGGED": "1 2 4",
    "KEYWORD $work": "1",
    "UNKEYWORD $Work": "2 3 4",
    "KEYWORD nothing": "",
    "RECENT": "",
    "NEW": "",
    "OLD": "1 2 3 4",
    "FROM p2@": "2",
    'FROM "person 3"': "3",
    "TO BOB": "1 2 3 4",
    "CC carol": "2",
    "BCC dora": "3",
    "SUBJECT number": "1 2 3",
    "SUBJECT {6+}\r\näpfe": "4",
    "HEADER X-Thing BLUE": "2",
    'HEADER X-Thing ""': "2",
    "HEADER From person": "1 2 3 4",
    "BODY heron": "1",
    "BODY {6+}\r\nGRÖSS": "3",
    "CHARSET UTF-8 BODY {6+}\r\ngröß": "3",
    "TEXT person": "1 2 3 4",
    "TEXT carol": "2",
    "LARGER 3000": "4",
    "SMALLER 3000": "1 2 3",
    "ON 1-Nov-2026": "1 2 3 4",
    "BEFORE 1-Nov-2026": "",
    "SINCE 1-Nov-2026": "1 2 3 4",
    "SINCE 2-Nov-2026": "",
    "SENTON 31-Oct-2026": "1",
    "SENTON 2-Nov-2026": "3",
    'SENTBEFORE "1-Nov-2026"': "1",
    "SENTSINCE 1-Nov-2026": "2 3",
    "NOT SEEN": "2 3 4",
    "NOT NOT SEEN": "1",
    "OR SEEN FLAGGED": "1 3",
    "OR (SEEN ANSWERED) (FLAGGED DELETED)": "1",
    "UNSEEN UNFLAGGED UNDELETED": "4",
    "(1:3 (2:4 (NOT 2)))": "3",
    "BODY heron SEEN FROM p1 OR 1 2": "1",
    "OR BODY heron 2": "1 2",
    "YOUNGER 6600000": "1 2 3 4",
    "YOUNGER 10": "",
    "OLDER 10": "1 2 3 4",
    "CHARSET us-ascii SUBJECT number": "1 2 3",
}


@pytest.mark.parametrize("criteria", CASES)
async def test_search(talk: Talk, criteria: str) -> None:
    expected = f"* SEARCH {CASES[criteria]}".rstrip() + "\r\na OK Searched.\r\n"
    sent = f"a SEARCH {criteria}\r\n".encode()
    if b"{6+}" in sent:
        head, _, word = sent.partition(b"{6+}\r\n")
        sent = head + b"{%d+}\r\n" % len(word.rstrip(b"\r\n")) + word
    assert (await talk.send(sent)).decode() == expected
    await talk.end()


@pytest.mark.parametrize(
    "criteria",
    [
        "", "NOTHING", "OR SEEN", "NOT", "(SEEN", "SEEN)", "()", "KEYWORD", "ON yesterday", "ON 31-Feb-2026",
        "LARGER many",
        "FROM", "HEADER From", "0", "1:", "UID x", "RETURN (ALL", "RETURN (BEST) ALL", "RETURN ()", "CHARSET UTF-8",
        "YOUNGER 0x", "SUBJECT {1+}\r\n\xff",
    ],
)  # fmt: skip
async def test_malformed_searches_are_refused(talk: Talk, criteria: str) -> None:
    said = await talk.send(f"a SEARCH {criteria}\r\n".encode("latin-1"))
    assert said.startswith(b"a BAD ")
    await talk.end()


async def test_unknown_charsets_are_named(talk: Talk) -> None:
    said = await talk.send(b"a SEARCH CHARSET KOI8-R SUBJECT {2+}\r\n\xc1\xc2\r\n")
    assert said.startswith(b"a NO [BADCHARSET (US-ASCII UTF-8)] ")
    await talk.end()


async def test_a_search_for_numbers_beyond_the_end_finds_none_of_them(talk: Talk) -> None:
    """Only commands that would act on such a message are refused."""
    assert (await talk.send(b"a SEARCH 9\r\n")).startswith(b"* SEARCH\r\na OK ")
    assert (await talk.send(b"b SEARCH 2,3:900\r\n")).startswith(b"* SEARCH 2 3 4\r\nb OK ")
    assert (await talk.send(b"c SEARCH NOT 2:900\r\n")).startswith(b"* SEARCH 1\r\nc OK ")
    await talk.end()


@pytest.mark.parametrize("field", ["From", "To", "Cc", "Bcc"])
async def test_an_address_torn_by_comments_is_found_as_it_is(field: str) -> None:
    account = MemoryAccount()
    await fill(
        account,
        [
            f"{field}: <bob (my friend) @ (at home) example.test>\r\n\r\n".encode(),
            f"{field}: Carol (bob) <carol@example.test>\r\n\r\n".encode(),
        ],
    )
    talk = await Talk(account).log_in("INBOX")
    said = await talk.send(f"a SEARCH {field.upper()} bob@example.test\r\n".encode())
    assert said.startswith(b"* SEARCH 1\r\na OK ")
    said = await talk.send(f'b SEARCH HEADER {field} "my friend"\r\n'.encode())
    assert said.startswith(b"* SEARCH 1\r\nb OK ")
    await talk.end()


async def test_nesting_has_a_limit(talk: Talk) -> None:
    said = await talk.send(b"a SEARCH " + b"NOT " * 60_000 + b"SEEN\r\n")
    assert said.startswith(b"a BAD ")
    said = await talk.send(b"a SEARCH " + b"(" * 5_000 + b"SEEN" + b")" * 5_000 + b"\r\n")
    assert said.startswith(b"a BAD ")
    await talk.end()


async def test_uid_search_answers_uids() -> None:
    account = MemoryAccount()
    await fill(account, [mail()] * 3)
    await account.store_flags(INBOX, [Uid(1)], "add", ["\\Deleted"])
    await account.expunge(INBOX)
    await play(
        """
        C: a UID SEARCH ALL
        S: * SEARCH 2 3
        S: a OK …
        C: b UID SEARCH 2
        S: * SEARCH 3
        S: b OK …
        """,
        account=account,
    )


async def test_extended_answers() -> None:
    account = MemoryAccount()
    await fill(account, [mail()] * 5)
    await play(
        """
        C: a SEARCH RETURN (MIN MAX COUNT ALL) 2:3,5
        S: * ESEARCH (TAG "a") MIN 2 MAX 5 ALL 2:3,5 COUNT 3
        S: a OK …
        C: b UID SEARCH RETURN () UID 1:2
        S: * ESEARCH (TAG "b") UID ALL 1:2
        S: b OK …
        C: c SEARCH RETURN (MIN COUNT) SEEN
        S: * ESEARCH (TAG "c") COUNT 0
        S: c OK …
        C: d SEARCH RETURN (ALL) SEEN
        S: * ESEARCH (TAG "d")
        S: d OK …
        C: e SEARCH RETURN (COUNT) CHARSET UTF-8 ALL
        S: * ESEARCH (TAG "e") COUNT 5
        S: e OK …
        """,
        account=account,
    )


async def test_a_subject_longer_than_what_lists_keep_is_searched_to_its_end() -> None:
    account = MemoryAccount()
    await fill(account, [mail("word " * 300 + "needle"), mail("short")])
    talk = await Talk(account).log_in("INBOX")
    assert await talk.send(b"a SEARCH SUBJECT NEEDLE\r\n") == b"* SEARCH 1\r\na OK Searched.\r\n"
    assert (await talk.send(b'a SEARCH SUBJECT ""\r\n')).startswith(b"* SEARCH 1 2\r\n")
    await talk.end()


async def test_messages_out_of_reach_are_left_out_and_told() -> None:
    class Unreachable(MemoryAccount):
        async def metadata(self, row_ids: Sequence[RowId]) -> list[MessageMetadata]:
            if self.missing in row_ids:
                raise ContentUnavailable("It is still at the provider.")
            return await super().metadata(row_ids)

        async def search_text(self, *_: object) -> list[Uid]:
            raise ContentUnavailable("It is still at the provider.")

        missing = RowId("")

    account = Unreachable()
    await fill(account, [mail("one"), mail("one more")])
    account.missing = (await account.rows(INBOX))[0].row_id
    talk = await Talk(account).log_in("INBOX")
    for key in (b"SUBJECT one", b"FROM alice"):
        said = await talk.send(b"a SEARCH " + key + b"\r\n")
        assert said.startswith(b"* SEARCH 2\r\na NO [UNAVAILABLE] ")
    await talk.end()


async def test_keywords_are_one_however_they_are_spelled() -> None:
    """RFC 9051 2.3.2; another program, or another device, may have spelled them otherwise."""
    account = MemoryAccount()
    await fill(account, [mail()], flags=["$Forwarded"])
    await fill(account, [mail()], flags=["$forwarded"])
    await fill(account, [mail()])
    await play(
        """
        C: a SEARCH KEYWORD $FORWARDED
        S: * SEARCH 1 2
        S: a OK …
        C: b SEARCH UNKEYWORD $forwarded
        S: * SEARCH 3
        S: b OK …
        C: c STORE 3 FLAGS (one ONE \\Seen \\SEEN)
        S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded one)
        S: * OK [PERMANENTFLAGS …
        S: * 3 FETCH (UID 3 FLAGS (\\Seen one))
        S: c OK …
        C: d STORE 3 +FLAGS Two TWO
        S: * FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Forwarded one Two)
        S: * OK [PERMANENTFLAGS …
        S: * 3 FETCH (UID 3 FLAGS (Two \\Seen one))
        S: d OK …
        """,
        account=account,
    )
