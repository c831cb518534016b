"""INPROGRESS (RFC 9585): who waits long hears that the command is being worked on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from leap.mail.contract import INBOX, MailboxId, MessageMetadata, RowId, SearchedText, Uid
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


class Noticing(Talk):
    """Lets its account go on when it was told of progress."""

    awaited = b""

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.awaited and self.awaited in data and isinstance(self.account, Slow):
            self.account.go.set()


async def _noticed(account: Slow, command: bytes, notice: bytes) -> list[bytes]:
    """The lines told while the command lasts; then what it answers."""
    await account.claim_recent(INBOX)
    talk = Noticing(account)
    await talk.log_in("INBOX")
    talk.session.progress_interval = 0.001
    talk.awaited = notice
    account.go.clear()
    async with asyncio.timeout(10):
        said = await talk.send(command)
    await talk.session.sleep(0)
    assert talk.take() == b""
    await talk.end()
    return said.split(b"\r\n")


async def test_a_long_command_tells_its_tag_and_how_far_it_is() -> None:
    """RFC 9585 4: notices stop with the tagged answer."""
    account = Slow()
    await fill(account, [mail(extra=f"X-Number: {n}\r\n") for n in range(20)])
    notice = b'* OK [INPROGRESS ("A001" 16 20)] Still at work\r\n'
    lines = await _noticed(account, b"A001 SEARCH HEADER X-Number 19\r\n", notice)
    assert lines[-3:] == [b"* SEARCH 20", b"A001 OK Searched.", b""]
    notice = b'* OK [INPROGRESS ("A002" NIL NIL)] Still at work\r\n'
    lines = await _noticed(account, b"A002 SEARCH BODY nothing\r\n", notice)
    assert lines[-3:] == [b"* SEARCH", b"A002 OK Searched.", b""]


async def test_a_tag_with_a_bracket_is_not_told() -> None:
    account = Slow()
    await fill(account, [mail()])
    notice = b"* OK [INPROGRESS (NIL NIL NIL)] Still at work\r\n"
    lines = await _noticed(account, b"A]1 SEARCH BODY line\r\n", notice)
    assert lines[-2] == b"A]1 OK Searched."


@pytest.mark.parametrize(("done", "told"), [(0, b"0 5"), (4, b"4 5"), (5, b"NIL NIL")])
async def test_what_is_done_is_less_than_what_is_to_do(done: int, told: bytes) -> None:
    """RFC 9585 4: PROGRESS is never GOAL."""
    said: asyncio.Queue[bytes] = asyncio.Queue()
    progress = Progress(b"t", said.put_nowait, 0.001)
    assert progress.expect(5)
    assert not progress.expect(7), "the first one counts"
    progress.advance(done)
    line = await asyncio.wait_for(said.get(), 10)
    progress.stop()
    assert line == b'OK [INPROGRESS ("t" %s)] Still at work' % told


async def test_short_commands_and_those_before_the_log_in_tell_nothing() -> None:
    talk = Talk(Slow())
    talk.session.progress_interval = 0.0
    assert b"INPROGRESS (" not in await talk.send(b"a LOGIN x y\r\n")
    await talk.log_in("INBOX")
    assert b"INPROGRESS (" not in await talk.send(b"b NOOP\r\n")
    await talk.end()
