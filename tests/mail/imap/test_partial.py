"""PARTIAL (RFC 9394): pages of what a search found, and of what UID FETCH names."""

from __future__ import annotations

import pytest

from leap.mail.contract import INBOX, Uid
from leap.mail.imap.wire.errors import ImapSyntaxError
from leap.mail.imap.wire.partial import parse_partial
from leap.mail.imap.wire.scanner import Scanner
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, fill, mail, play


@pytest.fixture
async def account() -> MemoryAccount:
    """The uids 11 to 20 have the numbers 1 to 10; 12, 14, 15, 17 and 20 are flagged."""
    account = MemoryAccount()
    await fill(account, [mail()] * 10, flags=["\\Deleted"])
    await account.expunge(INBOX)
    await fill(account, [mail()] * 10)
    flagged = [Uid(n) for n in (12, 14, 15, 17, 20)]
    await account.store_flags(INBOX, flagged, "add", ["\\Flagged"])
    return account


async def test_a_page_is_counted_from_the_first_or_from_the_last(account: MemoryAccount) -> None:
    """RFC 9394 3.1 and its examples: beyond the end there is less, or NIL; the range is repeated as it was written."""
    await play(
        """
        C: A01 UID SEARCH RETURN (PARTIAL -1:-2) FLAGGED
        S: * ESEARCH (TAG "A01") UID PARTIAL (-1:-2 17,20)
        S: A01 OK …
        C: A02 UID SEARCH RETURN (PARTIAL 4:8) FLAGGED
        C: A03 UID SEARCH RETURN (PARTIAL 1:3) FLAGGED
        C: A04 UID SEARCH RETURN (PARTIAL 6:10) FLAGGED
        S: * ESEARCH (TAG "A02") UID PARTIAL (4:8 17,20)
        S: A02 OK …
        S: * ESEARCH (TAG "A03") UID PARTIAL (1:3 12,14:15)
        S: A03 OK …
        S: * ESEARCH (TAG "A04") UID PARTIAL (6:10 NIL)
        S: A04 OK …
        C: A05 SEARCH RETURN (COUNT PARTIAL 3:2 MAX) FLAGGED
        S: * ESEARCH (TAG "A05") MAX 10 PARTIAL (3:2 4:5) COUNT 5
        S: A05 OK …
        C: A06 SEARCH RETURN (PARTIAL -9:-4) FLAGGED
        S: * ESEARCH (TAG "A06") PARTIAL (-9:-4 2,4)
        S: A06 OK …
        C: A07 SEARCH RETURN (PARTIAL 1:1 MIN) ANSWERED
        S: * ESEARCH (TAG "A07") PARTIAL (1:1 NIL)
        S: A07 OK …
        C: A08 SEARCH RETURN (PARTIAL 2:2) MODSEQ 1 UID 11:12
        S: * ESEARCH (TAG "A08") PARTIAL (2:2 2) MODSEQ 23
        S: * OK [HIGHESTMODSEQ 23] Highest
        S: A08 OK …
        """,
        account=account,
    )


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ("SAVE PARTIAL 2:3", "4:5"),
        ("SAVE PARTIAL 2:3 MIN", "2,4:5"),
        ("SAVE PARTIAL 2:3 MAX", "4:5,10"),
        ("MIN SAVE MAX PARTIAL -1:-2", "2,7,10"),
        ("SAVE PARTIAL 2:3 COUNT MIN", "2,4:5,7,10"),
        ("SAVE PARTIAL 20:21", ""),
    ],
)
async def test_what_is_kept(account: MemoryAccount, options: str, kept: str) -> None:
    """RFC 9394 3.2, table 1."""
    talk = await Talk(account).log_in("INBOX")
    said = await talk.send(f"a SEARCH RETURN ({options}) FLAGGED\r\n".encode())
    assert b"PARTIAL (" in said
    said = await talk.send(b"b SEARCH RETURN (ALL) $\r\n")
    assert said.split(b"\r\n")[0] == (b'* ESEARCH (TAG "b") ALL ' + kept.encode()).removesuffix(
        b" ALL "
    )
    await talk.end()


async def test_uid_fetch_of_a_page(account: MemoryAccount) -> None:
    """RFC 9394 3.3, 3.4: the page is cut first, and CHANGEDSINCE chooses from it, in whichever order they stand."""
    await play(
        """
        C: 10 UID FETCH 11:17 (UID FLAGS) (PARTIAL -1:-3)
        S: * 5 FETCH (UID 15 FLAGS (\\Flagged))
        S: * 6 FETCH (UID 16 FLAGS ())
        S: * 7 FETCH (UID 17 FLAGS (\\Flagged))
        S: 10 OK …
        C: 11 UID FETCH 11:* (UID) (PARTIAL 1:2)
        S: * 1 FETCH (UID 11)
        S: * 2 FETCH (UID 12)
        S: 11 OK …
        C: 12 UID FETCH 11:* (UID) (PARTIAL 100:200)
        S: 12 OK …
        C: 101 UID FETCH 11:17 (UID) (PARTIAL -1:-3 CHANGEDSINCE 22)
        S: * 5 FETCH (UID 15 MODSEQ (23))
        S: * 7 FETCH (UID 17 MODSEQ (23))
        S: * OK [HIGHESTMODSEQ 23] Highest
        S: 101 OK …
        C: 102 UID FETCH 11:17 (UID) (CHANGEDSINCE 22 PARTIAL -1:-3)
        S: * 5 FETCH (UID 15 MODSEQ (23))
        S: * 7 FETCH (UID 17 MODSEQ (23))
        S: 102 OK …
        """,
        account=account,
    )


@pytest.mark.parametrize(
    "command",
    [
        b"FETCH 1:* UID (PARTIAL 1:2)",
        b"UID FETCH 1:* UID (PARTIAL)",
        b"UID FETCH 1:* UID (PARTIAL 1:2 PARTIAL 3:4)",
        b"UID FETCH 1:* UID (PARTIAL 1:*)",
        b"UID FETCH 1:* UID (PARTIAL 1)",
        b"UID FETCH 1:* UID (VANISHED PARTIAL 1:2)",
        b"SEARCH RETURN (PARTIAL 0:2) ALL",
        b"SEARCH RETURN (PARTIAL -1:2) ALL",
        b"SEARCH RETURN (PARTIAL 1:-2) ALL",
        b"SEARCH RETURN (PARTIAL 1:2 ALL) ALL",
        b"SEARCH RETURN (PARTIAL 1:2 PARTIAL 1:2) ALL",
        b"SEARCH RETURN (PARTIAL 1:4294967296) ALL",
    ],
)
async def test_what_is_no_page_is_bad(account: MemoryAccount, command: bytes) -> None:
    talk = await Talk(account).log_in("INBOX")
    assert (await talk.send(b"a " + command + b"\r\n")).startswith(b"a BAD ")
    await talk.end()


@pytest.mark.parametrize("text", [b"1:2", b"7:3", b"-1:-1", b"-5:-2", b"3:100"])
def test_a_page_is_what_counting_gives(text: bytes) -> None:
    page = parse_partial(Scanner(text))
    low, high = sorted(abs(int(n)) for n in text.split(b":"))
    for count in range(9):
        things = list(range(count))
        ordered = things[::-1] if text.startswith(b"-") else things
        assert list(page.of(things)) == sorted(
            thing for place, thing in enumerate(ordered, 1) if low <= place <= high
        )


def test_numbers_too_long_are_no_numbers() -> None:
    with pytest.raises(ImapSyntaxError):
        parse_partial(Scanner(b"1:99999999999"))
