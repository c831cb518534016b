"""INPROGRESS (RFC 9585): who waits long hears that the command is being worked on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from leap.mail.contract import MailboxId, MessageMetadata, RowId, SearchedText, Uid
from leap.mail.imap.session.progress import Progress
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, fill, mail


class Slow(MemoryAccount):
    """A search, and header 17, wait until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def search_text(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], where: SearchedText, needle: str
    ) -> list[Uid]:
        await self.go.wait()
        return await super().search_text(mailbox_id, uids, where, needle)

    async def metadata(self, row_ids: Sequence[RowId]) -> list[MessageMetadata]:
        if RowId("r17") in row_ids:
            await self.go.wait()
        return await super().metadata(row_ids)


async def _noticed(talk: Talk, command: bytes, account: Slow) -> list[bytes]:
    """The lines told while the command lasts; then what it answers."""
    talk.session.progress_interval = 0.001
    waiting = asyncio.create_task(talk.send(command))
    async with asyncio.timeout(10):
        while talk.said.count(b"INPROGRESS") < 2:
            await asyncio.sleep(0)
    account.go.set()
    return (await waiting).split(b"\r\n")


async def test_a_long_command_tells_its_tag_and_how_far_it_is() -> None:
    """RFC 9585 4: notices stop with the tagged answer."""
    account = Slow()
    await fill(account, [mail(extra=f"X-Number: {n}\r\n") for n in range(20)])
    await account.claim_recent(MailboxId("inbox"))
    talk = await Talk(account).log_in("INBOX")
    lines = await _noticed(talk, b"A001 SEARCH HEADER X-Number 19\r\n", account)
    assert lines[0] == b'* OK [INPROGRESS ("A001" 16 20)] Still at work'
    assert lines[-3:] == [b"* SEARCH 20", b"A001 OK Searched.", b""]
    account.go.clear()
    lines = await _noticed(talk, b"A002 SEARCH BODY line\r\n", account)
    assert lines[0] == b'* OK [INPROGRESS ("A002" NIL NIL)] Still at work'
    assert lines[-2] == b"A002 OK Searched."
    await asyncio.sleep(0.005)
    assert talk.take() == b""
    await talk.end()


async def test_a_tag_with_a_bracket_is_not_told() -> None:
    account = Slow()
    await fill(account, [mail()])
    talk = await Talk(account).log_in("INBOX")
    lines = await _noticed(talk, b"A]1 SEARCH BODY line\r\n", account)
    assert lines[0] == b"* OK [INPROGRESS (NIL NIL NIL)] Still at work"
    await talk.end()


@pytest.mark.parametrize(("done", "told"), [(0, b"0 5"), (4, b"4 5"), (5, b"NIL NIL")])
async def test_what_is_done_is_less_than_what_is_to_do(done: int, told: bytes) -> None:
    """RFC 9585 4: PROGRESS is never GOAL."""
    lines: list[bytes] = []
    progress = Progress(b"t", lines.append, 0.001)
    assert progress.expect(5)
    assert not progress.expect(7), "the first one counts"
    progress.advance(done)
    async with asyncio.timeout(10):
        while not lines:
            await asyncio.sleep(0)
    progress.stop()
    assert lines[0] == b'OK [INPROGRESS ("t" %s)] Still at work' % told


async def test_short_commands_and_those_before_the_log_in_tell_nothing() -> None:
    talk = Talk(Slow())
    talk.session.progress_interval = 0.0
    assert b"INPROGRESS (" not in await talk.send(b"a LOGIN x y\r\n")
    await talk.log_in("INBOX")
    assert b"INPROGRESS (" not in await talk.send(b"b NOOP\r\n")
    await talk.end()
