"""SORT and THREAD (RFC 5256, 5957), and SORT with RETURN (RFC 5267 3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leap.mail.contract import INBOX, ContentUnavailable, MailboxId, Uid
from leap.mail.imap.wire.sorting import format_threads
from leap.mail.memory import MemoryAccount
from leap.mail.sorting.model import SortKey
from tests.mail.imap.talk import Talk, fill, play


def letter(subject: str, day: int, name: str = "", references: str = "") -> bytes:
    told = f"References: {references}\r\n" if references else ""
    own = f"Message-ID: <{name}@x>\r\n" if name else ""
    return (
        f"From: Bob {day} <b{9 - day}@example.test>\r\nSubject: {subject}\r\n{own}{told}"
        f"Date: {day:02} Nov 2026 10:00:00 +0000\r\n\r\n{'x' * day}\r\n"
    ).encode()


@pytest.fixture
async def account() -> MemoryAccount:
    """The uids 3 to 7 have the numbers 1 to 5."""
    account = MemoryAccount()
    await fill(account, [letter("gone", 1)] * 2, flags=["\\Deleted"])
    await account.expunge(INBOX)
    subjects = ["Re: beta", "alpha", "beta", "Gamma", "[x] Alpha (fwd)"]
    await fill(account, [letter(subject, 5 - n) for n, subject in enumerate(subjects)])
    return account


async def test_a_sort_names_what_it_finds_in_order(account: MemoryAccount) -> None:
    """RFC 5256 3, 4: the three examples, and the uids."""
    await play(
        """
        C: a SORT (SUBJECT) UTF-8 SINCE 1-Feb-1994
        S: * SORT 2 5 1 3 4
        S: a OK …
        C: b SORT (SUBJECT REVERSE DATE) UTF-8 ALL
        S: * SORT 2 5 1 3 4
        S: b OK …
        C: c sort (subject date) us-ascii all
        S: * SORT 5 2 3 1 4
        S: c OK …
        C: d SORT (SUBJECT) US-ASCII TEXT "not in mailbox"
        S: * SORT
        S: d OK …
        C: e UID SORT (REVERSE ARRIVAL) "UTF-8" OR SUBJECT alpha SUBJECT gamma
        S: * SORT 7 6 4
        S: e OK …
        C: f UID SORT (SIZE) UTF-8 UID 4:6
        S: * SORT 5 6 4
        S: f OK …
        C: g UID SORT (FROM) UTF-8 ALL
        S: * SORT 3 4 5 6 7
        S: g OK …
        C: h UID SORT (REVERSE DISPLAYFROM DISPLAYTO CC TO) UTF-8 ALL
        S: * SORT 3 4 5 6 7
        S: h OK …
        """,
        account=account,
    )


async def test_a_sort_can_return_less(account: MemoryAccount) -> None:
    """RFC 5267 3: MIN and MAX are the ends of the order, ranges only ascend."""
    await play(
        """
        C: E01 UID SORT RETURN () (REVERSE DATE) UTF-8 ALL
        S: * ESEARCH (TAG "E01") UID ALL 3:7
        S: E01 OK …
        C: E02 UID SORT RETURN (ALL) (DATE) UTF-8 ALL
        S: * ESEARCH (TAG "E02") UID ALL 7,6,5,4,3
        S: E02 OK …
        C: E03 SORT RETURN (MIN MAX COUNT) (SUBJECT) UTF-8 ALL
        S: * ESEARCH (TAG "E03") MIN 2 MAX 4 COUNT 5
        S: E03 OK …
        C: E04 SORT RETURN (COUNT MIN) (SUBJECT) UTF-8 SUBJECT nothing
        S: * ESEARCH (TAG "E04") COUNT 0
        S: E04 OK …
        C: E05 UID SORT RETURN (SAVE MIN) (SUBJECT) UTF-8 ALL
        S: * ESEARCH (TAG "E05") UID MIN 4
        S: E05 OK …
        C: E06 FETCH $ (UID)
        S: * 2 FETCH (UID 4)
        S: E06 OK …
        C: E07 SORT RETURN (SAVE) (SUBJECT) UTF-8 NOT 4
        S: E07 OK …
        C: E08 UID SORT (REVERSE SUBJECT ARRIVAL) UTF-8 $
        S: * SORT 3 5 4 7
        S: E08 OK …
        """,
        account=account,
    )


async def test_a_sort_by_modseq_tells_the_highest(account: MemoryAccount) -> None:
    """RFC 7162 3.1.5."""
    modseq = (await account.rows(INBOX))[-1].modseq
    await play(
        f"""
        C: a SORT (SUBJECT) UTF-8 MODSEQ {modseq - 1}
        S: * SORT 5 4 (MODSEQ {modseq})
        S: * OK [HIGHESTMODSEQ {modseq}] …
        S: a OK …
        """,
        account=account,
    )


async def test_what_makes_no_sense_is_refused(account: MemoryAccount) -> None:
    await play(
        """
        C: a SORT (SUBJECT) ISO-2022-CN ALL
        S: a NO [BADCHARSET (US-ASCII UTF-8)] …
        C: b THREAD REFERENCES X-OWN ALL
        S: b NO [BADCHARSET (US-ASCII UTF-8)] …
        C: c SORT (SUBJECT) UTF-8
        S: c BAD …
        C: d SORT () UTF-8 ALL
        S: d BAD …
        C: e SORT (COLOUR) UTF-8 ALL
        S: e BAD …
        C: f SORT (REVERSE) UTF-8 ALL
        S: f BAD …
        C: g SORT SUBJECT UTF-8 ALL
        S: g BAD …
        C: h THREAD X UTF-8 ALL
        S: h BAD …
        C: i THREAD REFERENCES ALL
        S: i BAD …
        C: j SORT RETURN (UPDATE) (SUBJECT) UTF-8 ALL
        S: j BAD …
        """,
        account=account,
    )
    await play(
        """
        C: a SORT (SUBJECT) UTF-8 ALL
        S: a BAD …
        C: b THREAD REFERENCES UTF-8 ALL
        S: b BAD …
        """,
        mailbox=None,
    )


async def test_threads_are_written_as_nested_lists() -> None:
    """RFC 5256 4: the example of the THREAD answer, its numbers made small; a missing parent; by number and uid."""
    account = MemoryAccount()
    await fill(
        account,
        [
            letter("a", 1, "a"),
            letter("b", 2, "b"),
            letter("b", 3, "c", "<b@x>"),
            letter("b", 4, "d", "<b@x> <c@x>"),
            letter("b", 5, "e", "<b@x> <c@x> <d@x>"),
            letter("b", 6, "f", "<b@x> <c@x>"),
            letter("b", 7, "g", "<b@x> <c@x> <f@x>"),
            letter("z", 8, "h", "<missing@x>"),
            letter("y", 9, "i", "<missing@x>"),
        ],
    )
    await account.expunge(INBOX)
    await play(
        """
        C: a THREAD REFERENCES UTF-8 ALL
        S: * THREAD (1)(2 3 (4 5)(6 7))((8)(9))
        S: a OK …
        C: b UID THREAD REFERENCES UTF-8 NOT UID 3
        S: * THREAD (1)(2 (4 5)(6 7))((8)(9))
        S: b OK …
        C: c THREAD ORDEREDSUBJECT US-ASCII 1:4,8
        S: * THREAD (1)(2 (3)(4))(8)
        S: c OK …
        C: d UID THREAD ORDEREDSUBJECT US-ASCII SUBJECT nothing
        S: * THREAD
        S: d OK …
        """,
        account=account,
    )


async def test_messages_that_another_session_expunges_are_passed_over(
    account: MemoryAccount,
) -> None:
    """Numbers stay as the client knows them until it is told (RFC 3501 7.4.1)."""
    await play(
        """
        C2: a STORE 1 +FLAGS.SILENT (\\Deleted)
        S2: a OK …
        C2: b EXPUNGE
        S2: * 1 EXPUNGE
        S2: b OK …
        C: c SORT (DATE) UTF-8 ALL
        S: * SORT 5 4 3 2 1
        S: c OK …
        C: d UID SORT (DATE) UTF-8 ALL
        S: * SORT 7 6 5 4
        S: * 1 EXPUNGE
        S: d OK …
        C2: e STORE 4 +FLAGS.SILENT (\\Deleted)
        S2: e OK …
        C2: f EXPUNGE
        S2: * 4 EXPUNGE
        S2: f OK …
        C: g THREAD REFERENCES UTF-8 ALL
        S: * THREAD (3)(2)(1)
        S: g OK …
        C: h UID THREAD REFERENCES UTF-8 ALL
        S: * THREAD (6)(5)(4)
        S: * 4 EXPUNGE
        S: h OK …
        """,
        account=account,
    )


class _Away(MemoryAccount):
    async def sorted_uids(
        self, mailbox_id: MailboxId, uids: list[Uid], keys: list[SortKey]
    ) -> list[Uid]:
        raise ContentUnavailable("Still at the provider.")


async def test_headers_that_cannot_be_fetched_are_no_wrong_order() -> None:
    account = _Away()
    await fill(account, [letter("a", 1)])
    talk = await Talk(account).log_in("INBOX")
    said = await talk.send(b"a SORT RETURN (SAVE ALL) (SUBJECT) UTF-8 ALL\r\n")
    assert said.startswith(b"a NO [UNAVAILABLE]")
    await talk.end()


def _nested(lines: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Depths made possible: no message lies more than one below the one before."""
    out: list[tuple[int, int]] = []
    for depth, number in lines:
        out.append((min(depth, out[-1][0] + 1) if out else 0, number))
    return out


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 99)), max_size=30))
def test_every_forest_can_be_read_again(lines: list[tuple[int, int]]) -> None:
    forest = _nested(lines)
    written = format_threads(forest).decode()
    read: list[tuple[int, int]] = []
    depths: list[int] = []
    depth = 0
    for token in written.replace("(", " ( ").replace(")", " ) ").split():
        if token == "(":
            depths.append(depth)
        elif token == ")":
            depth = depths.pop()
        else:
            read.append((depth, int(token)))
            depth += 1
    assert read == forest
