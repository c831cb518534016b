"""QRESYNC (RFC 7162 3.2): what a client missed while it was away, and VANISHED instead of EXPUNGE."""

from __future__ import annotations

import pytest

from leap.mail.contract import INBOX, Uid
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, fill, mail, play

SELECTED = b"* OK [HIGHESTMODSEQ "


async def expunge(account: MemoryAccount, *uids: int) -> None:
    wanted = [Uid(uid) for uid in uids]
    await account.store_flags(INBOX, wanted, "add", ["\\Deleted"])
    await account.expunge(INBOX, wanted)


async def ten(expunged_kept: int = 50_000) -> MemoryAccount:
    """Ten messages up to modseq 11; 7 is flagged at 12; 3, 4 and 8 go at 14; 1 is seen at 15; 11 comes at 16."""
    account = MemoryAccount(expunged_kept=expunged_kept)
    await fill(account, [mail()] * 10)
    await account.store_flags(INBOX, [Uid(7)], "add", ["\\Flagged"])
    await expunge(account, 3, 4, 8)
    await account.store_flags(INBOX, [Uid(1)], "add", ["\\Seen"])
    await fill(account, [mail()])
    await account.claim_recent(INBOX)
    return account


@pytest.fixture
async def account() -> MemoryAccount:
    return await ten()


async def back(account: MemoryAccount, parameters: str, command: str = "SELECT") -> list[str]:
    """What SELECT with these parameters answers of changes."""
    talk = await Talk(account).log_in()
    await talk.send(b"e ENABLE QRESYNC\r\n")
    said = await talk.send(f"a {command} INBOX ({parameters})\r\n".encode())
    await talk.end()
    assert b"a OK " in said, said
    return said.partition(SELECTED)[2].decode().split("\r\n")[1:-2]


# -- SELECT (QRESYNC (...))


async def test_a_client_hears_what_it_missed(account: MemoryAccount) -> None:
    """RFC 7162 3.2.5.1: what vanished first, then flags; all before the tagged answer."""
    await play(
        """
        C: a ENABLE QRESYNC CONDSTORE
        S: * ENABLED QRESYNC CONDSTORE
        S: a OK …
        C: b SELECT INBOX (QRESYNC (1 11 1:10))
        S: * FLAGS …
        S: * OK [PERMANENTFLAGS …
        S: * 8 EXISTS
        S: * 0 RECENT
        S: * OK [UNSEEN 2] …
        S: * OK [UIDVALIDITY 1] …
        S: * OK [UIDNEXT 12] …
        S: * OK [MAILBOXID …
        S: * OK [HIGHESTMODSEQ 16] Highest
        S: * VANISHED (EARLIER) 3:4,8
        S: * 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (15))
        S: * 5 FETCH (UID 7 FLAGS (\\Flagged) MODSEQ (12))
        S: b OK [READ-WRITE] Selected.
        """,
        account=account,
        mailbox=None,
    )


async def test_without_known_uids_every_uid_is_known(account: MemoryAccount) -> None:
    assert await back(account, "QRESYNC (1 14)") == [
        "* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (15))",
        "* 8 FETCH (UID 11 FLAGS () MODSEQ (16))",
    ]
    assert await back(account, "QRESYNC (1 13)", "EXAMINE") == [
        "* VANISHED (EARLIER) 3:4,8",
        "* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (15))",
        "* 8 FETCH (UID 11 FLAGS () MODSEQ (16))",
    ]


async def test_only_of_the_known_uids_anything_is_said(account: MemoryAccount) -> None:
    assert await back(account, "QRESYNC (1 11 4:7,20:30)") == [
        "* VANISHED (EARLIER) 4",
        "* 5 FETCH (UID 7 FLAGS (\\Flagged) MODSEQ (12))",
    ]


async def test_who_missed_nothing_hears_nothing(account: MemoryAccount) -> None:
    assert await back(account, "QRESYNC (1 16 1:11)") == []
    assert await back(account, "QRESYNC (1 900 1:11)") == []


async def test_another_uidvalidity_makes_it_a_plain_select(account: MemoryAccount) -> None:
    """RFC 7162 3.2.5: what the client knew means nothing any more."""
    assert await back(account, "QRESYNC (67890007 1 1:11)") == []


async def test_the_parameters_come_in_one_list_in_either_order(account: MemoryAccount) -> None:
    expected = ["* 8 FETCH (UID 11 FLAGS () MODSEQ (16))"]
    assert await back(account, "CONDSTORE QRESYNC (1 15)") == expected
    assert await back(account, "qresync (1 15 1:11) condstore") == expected


async def test_pairs_that_are_true_still_make_the_answer_shorter(account: MemoryAccount) -> None:
    """RFC 7162 3.2.5.2: up to the last true pair nothing was expunged."""
    seen = "* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (15))"
    assert await back(account, "QRESYNC (1 13 1:10 (1:2 1:2))") == [
        "* VANISHED (EARLIER) 3:4,8",
        seen,
    ]
    assert await back(account, "QRESYNC (1 13 1:10 (1,3,5 1,5,7))") == [
        "* VANISHED (EARLIER) 8",
        seen,
    ]
    assert await back(account, "QRESYNC (1 13 1:10 (1,3,5 1,3,5))") == [
        "* VANISHED (EARLIER) 3:4,8",
        seen,
    ]
    assert await back(account, "QRESYNC (1 13 (1,4,900 1,6,5000))") == [
        "* VANISHED (EARLIER) 8",
        seen,
        "* 8 FETCH (UID 11 FLAGS () MODSEQ (16))",
    ]


async def test_who_was_away_too_long_hears_of_every_uid_that_is_not_there() -> None:
    """RFC 7162 3.2.6, 5.3: more than was expunged since may be named, never less."""
    account = await ten(expunged_kept=2)
    await expunge(account, 2)
    await expunge(account, 9)
    assert await account.expunged(INBOX, 17) == [2, 9]  # type: ignore[arg-type]
    vanished = [line for line in await back(account, "QRESYNC (1 13)") if "VANISHED" in line]
    assert vanished == ["* VANISHED (EARLIER) 2:4,8:9"]
    vanished = [line for line in await back(account, "QRESYNC (1 13 5:20)") if "VANISHED" in line]
    assert vanished == ["* VANISHED (EARLIER) 8:9"]
    vanished = [
        line for line in await back(account, "QRESYNC (1 13 (1:2 1,5))") if "VANISHED" in line
    ]
    assert vanished == ["* VANISHED (EARLIER) 8:9"]
    vanished = [line for line in await back(account, "QRESYNC (1 18)") if "VANISHED" in line]
    assert vanished == ["* VANISHED (EARLIER) 9"]


@pytest.mark.parametrize(
    "parameters",
    [
        "QRESYNC", "QRESYNC ()", "QRESYNC (1)", "QRESYNC (1 0)", "QRESYNC (1 x)", "QRESYNC (1 5 1:*)",
        "QRESYNC (1 5 $)", "QRESYNC (1 5 1:3 (1:2 1:3))", "QRESYNC (1 5 1:3 (1:2))", "QRESYNC (1 5 1:3 () )",
        "QRESYNC (1 5 (1:* 1:*))", "QRESYNC (1 5) QRESYNC (1 5)", "QRESYNC (1 5", "QRESYNC (1 9223372036854775808)",
        "QRESYNC (4294967296 5)", "QRESYNC (1 5 1:3 (1 1) 7)",
    ],
)  # fmt: skip
async def test_malformed_parameters_are_refused(account: MemoryAccount, parameters: str) -> None:
    talk = await Talk(account).log_in("Archive")
    await talk.send(b"e ENABLE QRESYNC\r\n")
    assert (await talk.send(f"a SELECT INBOX ({parameters})\r\n".encode())).startswith(b"a BAD ")
    assert (await talk.send(b"b FETCH 1:* FLAGS\r\n")).startswith((b"b BAD There is no", b"b OK"))
    await talk.end()


async def test_pairs_beyond_all_measure_cost_nothing(account: MemoryAccount) -> None:
    everything = "QRESYNC (1 13 1:4294967295 (1:4294967295 1:4294967295))"
    assert await back(account, everything) == [
        "* VANISHED (EARLIER) 3:4,8",
        "* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (15))",
        "* 8 FETCH (UID 11 FLAGS () MODSEQ (16))",
    ]


async def test_qresync_must_be_enabled_first(account: MemoryAccount) -> None:
    """RFC 7162 3.2.5 and 3.2.6; CONDSTORE alone is not enough, and the mailbox stays selected."""
    talk = await Talk(account).log_in("INBOX")
    await talk.send(b"a ENABLE CONDSTORE\r\n")
    said = await talk.send(b"b SELECT Archive (QRESYNC (1 5))\r\n")
    assert said == b"b BAD ENABLE QRESYNC comes first.\r\n"
    said = await talk.send(b"c UID FETCH 1:* FLAGS (CHANGEDSINCE 5 VANISHED)\r\n")
    assert said == b"c BAD ENABLE QRESYNC comes first.\r\n"
    assert (await talk.send(b"d FETCH 1 UID\r\n")).endswith(b"d OK Fetched.\r\n")
    await talk.end()


# -- UID FETCH (CHANGEDSINCE ... VANISHED)


async def test_uid_fetch_tells_what_vanished(account: MemoryAccount) -> None:
    """RFC 7162 3.2.6."""
    await play(
        """
        C: a ENABLE QRESYNC
        S: * ENABLED QRESYNC
        S: * OK [HIGHESTMODSEQ 16] Highest
        S: a OK …
        C: b UID FETCH 3:7 (FLAGS) (CHANGEDSINCE 11 VANISHED)
        S: * VANISHED (EARLIER) 3:4
        S: * 5 FETCH (UID 7 FLAGS (\\Flagged) MODSEQ (12))
        S: b OK …
        C: c UID FETCH 8:* (FLAGS) (VANISHED CHANGEDSINCE 15)
        S: * 8 FETCH (UID 11 FLAGS () MODSEQ (16))
        S: c OK …
        C: d UID FETCH 100:* (FLAGS) (CHANGEDSINCE 11 VANISHED)
        S: * 8 FETCH (UID 11 FLAGS () MODSEQ (16))
        S: d OK …
        C: e FETCH 1:* (FLAGS) (CHANGEDSINCE 11 VANISHED)
        S: e BAD …
        C: f UID FETCH 1:* (FLAGS) (VANISHED)
        S: f BAD …
        C: g UID FETCH 1:* (UID) (CHANGEDSINCE 16 VANISHED)
        S: g OK …
        """,
        account=account,
    )


async def test_what_vanishes_this_moment_is_not_called_earlier(account: MemoryAccount) -> None:
    await play(
        """
        C: a ENABLE QRESYNC
        S: * ENABLED QRESYNC
        S: * OK [HIGHESTMODSEQ 16] Highest
        S: a OK …
        C2: a STORE 2 +FLAGS.SILENT (\\Deleted)
        S2: a OK …
        C2: b EXPUNGE
        S2: * 2 EXPUNGE
        S2: b OK …
        C: b UID FETCH 1:4 (UID) (CHANGEDSINCE 13 VANISHED)
        S: * VANISHED (EARLIER) 3:4
        S: * 1 FETCH (UID 1 MODSEQ (15))
        S: * VANISHED 2
        S: b OK …
        """,
        account=account,
    )


# -- VANISHED instead of EXPUNGE


async def test_expunging_tells_what_vanished(account: MemoryAccount) -> None:
    """RFC 7162 3.2.7, 3.2.9, 3.2.10: uids in one answer, and the highest modseq at the end."""
    await play(
        """
        C: a ENABLE QRESYNC
        S: * ENABLED QRESYNC
        S: * OK [HIGHESTMODSEQ 16] Highest
        S: a OK …
        C: b UID STORE 2,5:7,10 +FLAGS.SILENT (\\Deleted)
        S: * 2 FETCH (UID 2 MODSEQ (17))
        S: * 3 FETCH (UID 5 MODSEQ (17))
        S: * 4 FETCH (UID 6 MODSEQ (17))
        S: * 5 FETCH (UID 7 MODSEQ (17))
        S: * 7 FETCH (UID 10 MODSEQ (17))
        S: b OK …
        C: c UID EXPUNGE 10:20
        S: * VANISHED 10
        S: c OK [HIGHESTMODSEQ 18] Expunged.
        C: d EXPUNGE
        S: * VANISHED 2,5:7
        S: d OK [HIGHESTMODSEQ 19] Expunged.
        C: e FETCH 1:* (UID)
        S: * 1 FETCH (UID 1)
        S: * 2 FETCH (UID 9)
        S: * 3 FETCH (UID 11)
        S: e OK …
        C: f EXPUNGE
        S: f OK Expunged.
        C: g UID MOVE 9,11 Archive
        S: * OK [COPYUID 2 9,11 1:2] Moved
        S: * VANISHED 9,11
        S: g OK [HIGHESTMODSEQ 20] Moved.
        C: h STORE 1 +FLAGS (\\Deleted)
        S: * 1 FETCH (UID 1 FLAGS (\\Deleted \\Seen) MODSEQ (21))
        S: h OK …
        C: i CLOSE
        S: i OK Closed.
        C2: a NOOP
        S2: * 8 EXPUNGE
        S2: * 7 EXPUNGE
        S2: * 6 EXPUNGE
        S2: * 5 EXPUNGE
        S2: * 4 EXPUNGE
        S2: * 3 EXPUNGE
        S2: * 2 EXPUNGE
        S2: * 1 EXPUNGE
        S2: a OK …
        """,
        account=account,
    )


async def test_the_other_session_hears_of_it_only_where_it_may(account: MemoryAccount) -> None:
    """RFC 7162 3.2.10: not during FETCH, STORE and SEARCH by sequence numbers."""
    await play(
        """
        C: a ENABLE QRESYNC
        S: * ENABLED QRESYNC
        S: * OK [HIGHESTMODSEQ 16] Highest
        S: a OK …
        C2: a UID STORE 2,5 +FLAGS.SILENT (\\Deleted)
        S2: a OK …
        C2: b EXPUNGE
        S2: * 3 EXPUNGE
        S2: * 2 EXPUNGE
        S2: b OK …
        C: b FETCH 4 (FLAGS)
        S: * 4 FETCH (UID 6 FLAGS ())
        S: * OK [HIGHESTMODSEQ 16] Highest
        S: b OK …
        C: c STORE 3:4 +FLAGS (\\Seen)
        S: * 4 FETCH (UID 6 FLAGS (\\Seen) MODSEQ (19))
        S: * OK [HIGHESTMODSEQ 16] Highest
        S: c NO [EXPUNGEISSUED] …
        C: d SEARCH UNSEEN
        S: * SEARCH 5 6 7 8
        S: * OK [HIGHESTMODSEQ 16] Highest
        S: d OK …
        C: e COPY 2:4 Archive
        S: * VANISHED 2,5
        S: e NO [EXPUNGEISSUED] …
        C: f UID SEARCH SEEN
        S: * SEARCH 1 6
        S: f OK …
        """,
        account=account,
    )


async def test_idling_clients_hear_what_vanished(account: MemoryAccount) -> None:
    await play(
        """
        C: a ENABLE QRESYNC
        S: * ENABLED QRESYNC
        S: * OK [HIGHESTMODSEQ 16] Highest
        S: a OK …
        C: b IDLE
        S: + idling
        C2: a UID STORE 9:11 +FLAGS.SILENT (\\Deleted)
        S2: a OK …
        C2: b UID MOVE 9 Archive
        S2: * OK [COPYUID …] Moved
        S2: * 6 EXPUNGE
        S2: b OK …
        C2: c CLOSE
        S2: c OK …
        S: * 6 FETCH (UID 9 FLAGS (\\Deleted) MODSEQ (17))
        S: * 7 FETCH (UID 10 FLAGS (\\Deleted) MODSEQ (17))
        S: * 8 FETCH (UID 11 FLAGS (\\Deleted) MODSEQ (17))
        S: * VANISHED 9
        S: * VANISHED 10:11
        C: DONE
        S: b OK …
        """,
        account=account,
    )


async def test_a_message_that_came_and_went_is_told_of_in_neither_way(
    account: MemoryAccount,
) -> None:
    talk = await Talk(account).log_in("INBOX")
    await talk.send(b"a ENABLE QRESYNC\r\n")
    await fill(account, [mail()], flags=["\\Deleted"])
    await account.expunge(INBOX)
    assert await talk.send(b"b NOOP\r\n") == b"b OK Nothing done.\r\n"
    await talk.end()
