"""The limits of the wire hold before the log-in and after it: what is over them is refused and held nowhere."""

from __future__ import annotations

import time

import pytest

from leap.mail.contract import Uid
from leap.mail.imap.wire.limits import DEFAULT_LIMITS as LIMITS
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, fill, mail


def _line(command: bytes, length: int) -> bytes:
    return command + b"x" * (length - len(command))


BEFORE = {
    "a line": (
        _line(b"t LOGIN ", LIMITS.line_before_login - 3) + b" x",  # the CR counts
        _line(b"t LOGIN ", LIMITS.line_before_login + 1),
    ),
    "a literal": (
        b"t LOGIN {%d+}\r\n%b x"
        % (LIMITS.literal_before_login, b"x" * LIMITS.literal_before_login),
        b"t LOGIN {%d+}\r\n%b x"
        % (LIMITS.literal_before_login + 1, b"x" * (LIMITS.literal_before_login + 1)),
    ),
    "an APPEND": (b"t NOOP", b"t APPEND INBOX {%d+}\r\n%b" % (1 << 20, b"x" * (1 << 20))),
    "literals together": (
        b"t NOOP",
        b"t LOGIN" + b" {4096+}\r\n" % () + b"x" * 4096 + b" {4096+}\r\n".join([b"x" * 4096] * 20),
    ),
}
AFTER = {
    "a line": (
        _line(b"t SEARCH SUBJECT ", LIMITS.line - 1),
        _line(b"t SEARCH SUBJECT ", LIMITS.line + 1),
    ),
    "a literal": (
        b"t SEARCH SUBJECT {%d+}\r\n%b" % (LIMITS.literal, b"x" * LIMITS.literal),
        b"t SEARCH SUBJECT {%d+}\r\n%b" % (LIMITS.literal + 1, b"x" * (LIMITS.literal + 1)),
    ),
    "literals together": (
        b"t SEARCH" + b" SUBJECT {60000+}\r\n%b" % (b"x" * 60_000) * 4,
        b"t SEARCH" + b" SUBJECT {60000+}\r\n%b" % (b"x" * 60_000) * 5,
    ),
    "nesting by brackets": (
        b"t SEARCH " + b"(" * 45 + b"ALL" + b")" * 45,
        b"t SEARCH " + b"(" * (LIMITS.nesting + 1) + b"ALL" + b")" * (LIMITS.nesting + 1),
    ),
    "nesting by NOT": (
        b"t SEARCH " + b"NOT " * 45 + b"ALL",
        b"t SEARCH " + b"NOT " * 10_000 + b"ALL",
    ),
    "nesting by OR": (
        b"t SEARCH " + b"OR SEEN " * 45 + b"ALL",
        b"t SEARCH " + b"OR SEEN " * 5_000 + b"ALL",
    ),
    "search keys": (
        b"t SEARCH" + b" ALL" * (LIMITS.search_keys - 1),
        b"t SEARCH" + b" ALL" * (LIMITS.search_keys + 1),
    ),
    "ranges of a set": (
        b"t UID FETCH " + b",".join([b"1"] * LIMITS.set_ranges) + b" FLAGS",
        b"t UID FETCH " + b",".join([b"1"] * (LIMITS.set_ranges + 1)) + b" FLAGS",
    ),
    "items of FETCH": (
        b"t FETCH 1 (" + b" ".join([b"BODY.PEEK[1.%d]" % n for n in range(1, 150)]) + b")",
        b"t FETCH 1 (" + b" ".join([b"BODY.PEEK[1.%d]" % n for n in range(1, 250)]) + b")",
    ),
    "patterns of LIST": (
        b't LIST "" (' + b" ".join([b"a%"] * LIMITS.list_patterns) + b")",
        b't LIST "" (' + b" ".join([b"a%"] * (LIMITS.list_patterns + 1)) + b")",
    ),
    "wildcards of a pattern": (
        b't LIST "" ' + b"a*" * LIMITS.wildcards,
        b't LIST "" ' + b"a*" * (LIMITS.wildcards + 1),
    ),
    "a keyword": (
        b"t STORE 1 FLAGS (" + b"k" * LIMITS.keyword + b")",
        b"t STORE 1 FLAGS (" + b"k" * (LIMITS.keyword + 1) + b")",
    ),
    "flags": (
        b"t STORE 1 FLAGS (" + b" ".join(b"k%d" % n for n in range(LIMITS.flags)) + b")",
        b"t STORE 1 FLAGS (" + b" ".join(b"k%d" % n for n in range(LIMITS.flags + 1)) + b")",
    ),
    "a message": (b"t NOOP", b"t APPEND INBOX {%d}" % (LIMITS.message + 1)),
    "a number": (b"t FETCH 1:4294967295 FLAGS", b"t FETCH 1:4294967296 FLAGS"),
}  # fmt: skip


@pytest.mark.parametrize("what", BEFORE)
async def test_before_the_log_in(what: str) -> None:
    within, beyond = BEFORE[what]
    talk = Talk()
    assert b" [LIMIT]" not in await talk.send(within + b"\r\n")
    held = await _send_in_pieces(talk, beyond + b"\r\n")
    said = talk.take()
    assert said.startswith((b"t BAD [LIMIT]", b"t NO [LIMIT]")), said[:200]
    assert held < LIMITS.line_before_login + LIMITS.literal + 40_000
    assert await talk.send(b"u NOOP\r\n") == b"u OK Nothing done.\r\n"
    await talk.end()


@pytest.mark.parametrize("what", AFTER)
async def test_after_the_log_in(what: str) -> None:
    within, beyond = AFTER[what]
    account = MemoryAccount()
    await fill(account, [mail()])
    talk = await Talk(account).log_in("INBOX")
    said = await talk.send(within + b"\r\n")
    assert b"t OK" in said or b"t BAD There is no message with that number" in said, said[-200:]
    began = time.perf_counter()
    held = await _send_in_pieces(talk, beyond + b"\r\n")
    said = talk.take()
    assert said.startswith((b"t BAD ", b"t NO [LIMIT]", b"t NO [TOOBIG]")), said[:200]
    assert held < LIMITS.line + LIMITS.literals_together + 40_000
    assert time.perf_counter() - began < 5
    assert await talk.send(b"u NOOP\r\n") == b"u OK Nothing done.\r\n"
    await talk.end()


async def _send_in_pieces(talk: Talk, octets: bytes) -> int:
    """The most that was held of them."""
    held, said = 0, b""
    for start in range(0, len(octets), 30_000):
        said += await talk.send(octets[start : start + 30_000])
        held = max(held, talk.reader.held)
    talk.said += said
    return held


async def test_a_line_without_an_end_is_not_kept() -> None:
    for talk in (Talk(), await Talk().log_in()):
        for _ in range(100):
            await talk.send(b"x" * 50_000)
            assert talk.reader.held < LIMITS.line + 50_001
        await talk.end()


async def test_a_literal_that_was_refused_is_dropped_as_it_comes() -> None:
    talk = await Talk().log_in()
    await talk.send(b"t APPEND INBOX {%d+}\r\n" % (LIMITS.message * 4))
    for _ in range(200):
        await talk.send(b"x" * (LIMITS.message * 4 // 200))
        assert talk.reader.held == 0
    assert (await talk.send(b"\r\n")).startswith(b"t NO [TOOBIG]")
    await talk.end()


async def test_ranges_over_each_other_cost_no_more_than_one() -> None:
    account = MemoryAccount()
    await fill(account, [mail()] * 300)
    talk = await Talk(account).log_in("INBOX")
    began = time.perf_counter()
    said = await talk.send(b"t FETCH " + b",".join([b"1:*"] * 10_000) + b" UID\r\n")
    assert said.count(b" FETCH (UID ") == 300
    said = await talk.send(b"t UID FETCH " + b",".join([b"1:4294967295"] * 4_000) + b" UID\r\n")
    assert said.count(b" FETCH (UID ") == 300
    said = await talk.send(b"s SELECT INBOX\r\ne ENABLE QRESYNC\r\n")
    parameters = b"(QRESYNC (1 1 1:4294967295 (1:4294967295 1:4294967295)))"
    said = await talk.send(b"t SELECT INBOX " + parameters + b"\r\n")
    assert b"t OK " in said or b"t BAD " in said
    assert time.perf_counter() - began < 5
    assert await account.expunge(talk.session.selected().mailbox_id, [Uid(1)]) == []
    await talk.end()
