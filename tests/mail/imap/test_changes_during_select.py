"""What happens to a mailbox while it is being selected is told by the next command, and counted right."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from leap.mail.contract import INBOX, MailboxId, Uid
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, fill, mail, settled


class Busy(MemoryAccount):
    """Something happens just before uids are claimed as recent."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def claim_recent(self, mailbox_id: MailboxId) -> list[Uid]:
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
            await settled()
        return await super().claim_recent(mailbox_id)


@pytest.fixture
async def account() -> Busy:
    account = Busy()
    await fill(account, [mail()] * 2)
    return account


async def select(account: Busy, extra: bytes = b"") -> tuple[Talk, list[bytes]]:
    talk = await Talk(account).log_in()
    said = await talk.send(
        b"e ENABLE QRESYNC\r\n" * bool(extra) + b"s SELECT INBOX" + extra + b"\r\n"
    )
    return talk, said.split(b"\r\n")


async def test_mail_that_arrives_during_select_is_told_and_recent_afterwards(account: Busy) -> None:
    account.meanwhile = lambda: fill(account, [mail()])
    talk, lines = await select(account)
    assert b"* 2 EXISTS" in lines
    assert b"* 2 RECENT" in lines
    assert await talk.send(b"a NOOP\r\n") == b"* 3 EXISTS\r\n* 3 RECENT\r\na OK Nothing done.\r\n"
    assert b"FLAGS (\\Recent)" in await talk.send(b"b FETCH 3 FLAGS\r\n")
    await talk.end()


async def test_mail_that_goes_during_select_is_told_gone_by_the_next_command(account: Busy) -> None:
    async def delete() -> None:
        await account.move(INBOX, [Uid(1)], MailboxId("junk"))

    account.meanwhile = delete
    talk, lines = await select(account, b" (QRESYNC (1 1 1:2))")
    assert b"* 2 EXISTS" in lines
    assert not [line for line in lines if line.startswith(b"* VANISHED")]
    said = await talk.send(b"a NOOP\r\n")
    assert said.startswith(b"* VANISHED 1\r\n")
    await talk.end()


async def test_mail_that_came_and_went_unseen_is_not_counted_as_recent(account: Busy) -> None:
    talk, _ = await select(account)
    account.meanwhile = lambda: fill(account, [mail()])  # claimed, but not learned yet
    await fill(account, [mail()])
    assert b"* 3 EXISTS\r\n* 3 RECENT\r\n" in await talk.send(b"a NOOP\r\n")
    await account.move(INBOX, [Uid(4)], MailboxId("junk"))
    await fill(account, [mail()])
    assert b"* 4 EXISTS\r\n* 4 RECENT\r\n" in await talk.send(b"b NOOP\r\n")
    await talk.end()
