"""Every command in every state: it is allowed there, or refused by the answer which is due, and then changes nothing.

RFC 3501 3 and 6: NOT AUTHENTICATED, AUTHENTICATED, SELECTED; the last also read-only (EXAMINE).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import pytest

from leap.mail.contract import INBOX
from leap.mail.imap.wire import commands as wire
from leap.mail.imap.wire.parsing import _PARSERS, _SIMPLE
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import PASSWORD, USER, Talk, fill, mail

OK, BAD, NO, IDLES, WAITS, BYE = "OK", "BAD", "NO", "+ idling", "+ ", "BYE"


@dataclass(frozen=True)
class Row:
    """A command that is right in itself, and how it is answered in the four states."""

    line: str
    stranger: str
    signed_in: str
    selected: str
    read_only: str


def _any(line: str, answer: str = OK) -> Row:
    return Row(line, answer, answer, answer, answer)


def _signed_in(line: str, answer: str = OK, stranger: str = BAD) -> Row:
    return Row(line, stranger, answer, answer, answer)


def _selected(line: str, read_only: str = OK) -> Row:
    return Row(line, BAD, BAD, OK, read_only)


ROWS = {
    "CAPABILITY": _any("CAPABILITY"),
    "NOOP": _any("NOOP"),
    "LOGOUT": _any("LOGOUT", BYE),
    "ID": _any("ID NIL"),
    "STARTTLS": _any("STARTTLS", BAD),  # not offered
    "LOGIN": Row(f"LOGIN {USER} {PASSWORD}", OK, BAD, BAD, BAD),
    "AUTHENTICATE": Row("AUTHENTICATE PLAIN", WAITS, BAD, BAD, BAD),
    "ENABLE": _signed_in("ENABLE CONDSTORE"),
    "SELECT": _signed_in("SELECT Archive"),
    "EXAMINE": _signed_in("EXAMINE Archive"),
    "CREATE": _signed_in("CREATE new"),
    "DELETE": _signed_in("DELETE Archive"),
    "RENAME": _signed_in("RENAME Archive new"),
    "SUBSCRIBE": _signed_in("SUBSCRIBE Archive"),
    "UNSUBSCRIBE": _signed_in("UNSUBSCRIBE Archive"),
    "LIST": _signed_in('LIST "" *'),
    "LSUB": _signed_in('LSUB "" *'),
    "STATUS": _signed_in("STATUS INBOX (MESSAGES)"),
    "NAMESPACE": _signed_in("NAMESPACE"),
    "APPEND": _signed_in("APPEND Archive {6+}\r\nA: b\r\n"),
    "IDLE": _signed_in("IDLE", IDLES),
    "CHECK": _selected("CHECK"),
    "CLOSE": _selected("CLOSE"),
    "UNSELECT": _selected("UNSELECT"),
    "EXPUNGE": _selected("EXPUNGE", NO),
    "UID EXPUNGE": _selected("UID EXPUNGE 1", NO),
    "FETCH": _selected("FETCH 1 FLAGS"),
    "UID FETCH": _selected("UID FETCH 1 FLAGS"),
    "STORE": _selected("STORE 1 FLAGS (\\Seen)", NO),
    "UID STORE": _selected("UID STORE 1 FLAGS (\\Seen)", NO),
    "SEARCH": _selected("SEARCH ALL"),
    "UID SEARCH": _selected("UID SEARCH ALL"),
    "COPY": _selected("COPY 1 Archive"),
    "UID COPY": _selected("UID COPY 1 Archive"),
    "MOVE": _selected("MOVE 1 Archive", NO),
    "UID MOVE": _selected("UID MOVE 1 Archive", NO),
    # what is known here before it is spoken
    "SORT": _selected("SORT (SUBJECT) UTF-8 ALL"),
    "UID SORT": _selected("UID SORT (SUBJECT) UTF-8 ALL"),
    "THREAD": _selected("THREAD REFERENCES UTF-8 ALL"),
    "UID THREAD": _selected("UID THREAD REFERENCES UTF-8 ALL"),
    "REPLACE": _selected("REPLACE 1 Archive {6+}\r\nA: b\r\n", NO),
    "UID REPLACE": _selected("UID REPLACE 1 Archive {6+}\r\nA: b\r\n", NO),
    "GETQUOTA": _signed_in('GETQUOTA ""'),
    "GETQUOTAROOT": _signed_in("GETQUOTAROOT INBOX"),
    "SETQUOTA": _signed_in('SETQUOTA "" (STORAGE 9)', NO),
    "GETMETADATA": _signed_in('GETMETADATA "" /private/comment'),
    "SETMETADATA": _signed_in('SETMETADATA "" (/private/comment NIL)'),
    "NOTIFY": _signed_in("NOTIFY NONE"),
}
KNOWN = sorted({*_SIMPLE, *_PARSERS})
STATES = ("stranger", "signed_in", "selected", "read_only")


async def reach(state: str, account: MemoryAccount) -> Talk:
    talk = Talk(account)
    if state != "stranger":
        await talk.log_in()
    if state == "selected":
        await talk.send(b"s SELECT INBOX\r\n")
    elif state == "read_only":
        await talk.send(b"s EXAMINE INBOX\r\n")
    return talk


@pytest.mark.parametrize("name", KNOWN)
async def test_a_command_is_answered_as_its_state_demands(name: str) -> None:
    row = ROWS[name]
    for state in STATES:
        account = MemoryAccount(now=lambda: 1_800_000_000)
        await fill(account, [mail(), mail()])
        talk = await reach(state, account)
        before = await everything(account)
        said = (await talk.send(f"t {row.line}\r\n".encode())).decode()
        expected = getattr(row, state)
        last = said.split("\r\n")[-2]
        if expected in (IDLES, WAITS):
            assert last.startswith(expected), (state, said)
        elif expected == BYE:
            assert said.startswith("* BYE"), (state, said)
            assert last.startswith("t OK"), (state, said)
        else:
            assert last.startswith(f"t {expected} "), (state, said)
        if expected in (BAD, NO):
            assert said.count("\r\n") == 1, f"{state}: more than a refusal: {said}"
            assert await everything(account) == before, f"{state}: something changed"
            assert not talk.session.ended
            again = await talk.send(b"u NOOP\r\n")
            assert again.endswith(b"u OK Nothing done.\r\n")
        await talk.end()


async def everything(account: MemoryAccount) -> list[object]:
    boxes = await account.list_mailboxes()
    return [
        boxes,
        *[await account.rows(info.mailbox_id) for info in boxes],
        await account.status(INBOX),
    ]


async def test_nothing_is_known_to_the_wire_that_no_state_answers() -> None:
    """A command the parser knows, but the session forgot, would show here as SERVERBUG."""
    assert set(KNOWN) <= ROWS.keys(), "a new command needs its row in the table"
    assert len(get_args(wire.Command)) > 15


@pytest.mark.parametrize("state", STATES)
async def test_what_is_no_command_is_bad_in_every_state(state: str) -> None:
    account = MemoryAccount()
    await fill(account, [mail()])
    talk = await reach(state, account)
    for line in ("t FROBNICATE", "t UID NOOP", "t UID", "t", "t  ", "* NOOP"):
        said = await talk.send(line.encode() + b"\r\n")
        if talk.session.ended:
            break
        assert said.split(b" ", 2)[1] == b"BAD", (line, said)
    await talk.end()


async def test_after_the_end_nothing_is_answered() -> None:
    talk = await Talk().log_in()
    await talk.send(b"a LOGOUT\r\n")
    assert await talk.send(b"b NOOP\r\nc CAPABILITY\r\n") == b""
    await talk.end()


async def test_commands_behind_idle_wait_for_its_end() -> None:
    talk = await Talk().log_in("INBOX")
    said = await talk.send(b"a IDLE\r\nb NOOP\r\nc NOOP\r\n")
    assert said.startswith(
        b"+ idling\r\na BAD "
    )  # the line that is not DONE ends it and is no command
    assert b"b OK" not in said
    assert said.endswith(b"c OK Nothing done.\r\n")
    await talk.end()
