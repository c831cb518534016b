"""Clients that talk nonsense: every line is answered, nothing raises, nothing hangs."""

from __future__ import annotations

import asyncio
import logging

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.contract import INBOX, MailboxId, MailboxStatus
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, fill, mail
from tests.mail.imap.test_wire import TOKENS


async def test_malformed_lines_get_tagged_bad_and_the_connection_lives() -> None:
    talk = await Talk().log_in()
    assert (await talk.send(b"a FROBNICATE\r\n")).startswith(b"a BAD ")
    assert (await talk.send(b"b FETCH\r\n")).startswith(b"b BAD ")
    assert (await talk.send(b"\x00\xff\r\n")).startswith(b"* BAD ")
    assert (await talk.send(b"(\r\n")).startswith(b"* BAD ")
    assert (await talk.send(b"c " + b"x" * 100_000 + b"\r\n")).startswith(b"c BAD [LIMIT] ")
    assert await talk.send(b"\r\n") == b""
    assert await talk.send(b"d NOOP\r\n") == b"d OK Nothing done.\r\n"
    await talk.end()


async def test_too_many_bad_commands_in_a_row_end_the_connection() -> None:
    talk = await Talk().log_in()
    for _ in range(19):
        await talk.send(b"a NONSENSE\r\n")
    await talk.send(b"a NOOP\r\n")
    for _ in range(19):
        await talk.send(b"a NONSENSE\r\n")
    assert not talk.closed
    assert b"* BYE Too many bad commands." in await talk.send(b"a NONSENSE\r\n")
    assert talk.closed
    await talk.end()


async def test_a_web_browser_is_shown_the_door() -> None:
    talk = Talk()
    said = await talk.send(
        b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nA: b\r\nC: d\r\nE: f\r\n\r\n"
    )
    assert b"* BYE " in said
    assert talk.closed


async def test_a_fault_inside_is_answered_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    class Faulty(MemoryAccount):
        async def status(self, mailbox_id: MailboxId) -> MailboxStatus:
            raise RuntimeError("the secret word is swordfish")

    talk = await Talk(Faulty()).log_in()
    with caplog.at_level(logging.DEBUG):
        said = await talk.send(b'a STATUS INBOX (MESSAGES)\r\nb LIST "" INBOX\r\n')
    assert said.startswith(b"a NO [SERVERBUG] ")
    assert said.endswith(b"b OK Those are the mailboxes.\r\n")
    assert "swordfish" not in caplog.text
    assert "RuntimeError at" in caplog.text
    await talk.end()


COMMANDS = st.sampled_from(
    [
        b"LOGIN alice@example.test correct-horse-battery", b"SELECT INBOX", b"EXAMINE INBOX", b"SELECT Archive",
        b"NOOP",
        b"FETCH 1:* (FLAGS BODY[])", b"UID FETCH 1:* BODY.PEEK[1.MIME]<0.5>", b"STORE 1 +FLAGS (\\Deleted)", b"EXPUNGE",
        b"UID STORE 1:* -FLAGS (\\Seen kw)", b"COPY 1 Archive", b"UID MOVE 1:2 Archive", b"SEARCH OR SEEN TEXT line",
        b"APPEND INBOX {6+}\r\nA: b\r\n", b"IDLE\r\nDONE", b"IDLE\r\nwhat", b"CLOSE", b"UNSELECT", b"CREATE x/y",
        b"DELETE x/y", b"RENAME INBOX z", b'LIST "" *', b"STATUS INBOX (MESSAGES)", b"AUTHENTICATE PLAIN\r\n*",
        b"UID EXPUNGE 1:*", b"MOVE * INBOX", b"CHECK", b"DELETE Archive", b"SEARCH RETURN (ALL) UID 1:*",
        b"ENABLE QRESYNC", b"SELECT INBOX (QRESYNC (1 2 1:9 (1:2 1:2)))", b"SELECT INBOX (CONDSTORE)",
        b"FETCH $ (FLAGS)",
        b"UID FETCH 1:* FLAGS (CHANGEDSINCE 2 VANISHED)", b"STORE 1:2 (UNCHANGEDSINCE 3) FLAGS.SILENT (a)",
        b"SEARCH RETURN (SAVE MIN) MODSEQ 2", b"UID STORE $ +FLAGS (\\Deleted)", b"STATUS INBOX (HIGHESTMODSEQ)",
        b"MOVE $ Archive", b"FETCH * (MODSEQ BODY[])", b"ENABLE UIDONLY", b"ENABLE METADATA IMAP4rev2",
        b"UID FETCH 1:* FLAGS (PARTIAL -1:-2)", b"UID SEARCH RETURN (PARTIAL 1:2 SAVE) ALL",
        b"GETMETADATA (DEPTH 1) INBOX /shared", b'SETMETADATA INBOX (/shared/a "b" /private/c NIL)', b"NOTIFY NONE",
        b"NOTIFY SET STATUS (SELECTED (MessageNew (FLAGS BODY[]) MessageExpunge FlagChange)) (PERSONAL (MailboxName))",
        b"NOTIFY SET (SELECTED-DELAYED (MessageNew MessageExpunge)) (SUBTREE x (MessageNew MessageExpunge))",
        b"MOVE $ Archive", b"FETCH * (MODSEQ BODY[])", b"SORT (REVERSE SUBJECT DATE) UTF-8 ALL",
        b"UID SORT RETURN (MIN SAVE COUNT) (DISPLAYFROM SIZE) UTF-8 TEXT line", b"THREAD REFERENCES UTF-8 ALL",
        b"UID THREAD ORDEREDSUBJECT US-ASCII UNSEEN", b"REPLACE * INBOX {6+}\r\nA: b\r\n", b"GETQUOTAROOT INBOX",
        b"UID REPLACE 2 Archive ~{1+}\r\n\0", b"FETCH 1:* (SAVEDATE BINARY[1] BINARY.SIZE[])", b"GETQUOTA x",
        b"ENABLE UTF8=ACCEPT", b"APPEND INBOX UTF8 (~{1+}\r\nx)", b"SEARCH SAVEDSINCE 1-Jan-2026",
        b"STATUS INBOX (DELETED DELETED-STORAGE)",
    ]
)  # fmt: skip


@given(st.lists(st.one_of(COMMANDS, st.lists(TOKENS, max_size=8).map(b"".join)), max_size=25))
@settings(max_examples=40, deadline=None)
def test_a_session_answers_every_command_once(commands: list[bytes]) -> None:
    async def run() -> None:
        account = MemoryAccount()
        await fill(account, [mail(), mail(), b"", b"\x00\r"])
        talk = await Talk(account).log_in("INBOX")
        try:
            for number, command in enumerate(commands):
                tag = b"t%d" % number
                said = await talk.send(tag + b" " + command + b"\r\n")
                assert b"SERVERBUG" not in said, command
                if talk.session.ended:
                    break
                if talk.session.expected_line is not None:
                    await talk.send(b"DONE\r\n" * 2)
                    continue
                if tag + b" " in said:
                    ends = [s for s in said.split(b"\r\n") if s.startswith(tag + b" ")]
                    assert len(ends) == 1, (command, said)
                elif talk.reader.held or b"+ OK" in said:
                    break  # an unfinished literal waits for its octets, as it should
            if not talk.session.ended:
                await account.status(INBOX)
        finally:
            await talk.end()

    asyncio.run(asyncio.wait_for(run(), 20))
