"""Sessions that hear of the same change ask the store once, and never get an answer from before it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from leap.mail.asked_together import AskedTogether
from leap.mail.contract import INBOX, ModSeq, NewMessage, Uid
from leap.mail.local import LocalAccount, open_mail_store
from leap.soledad.store import Soledad
from tests.mail.imap.talk import Talk, mail, settled

MANY = 40


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Soledad]:
    async with await open_mail_store(tmp_path / "store.db", bytes(32)) as store:
        yield store


@pytest.fixture
async def account(store: Soledad) -> AsyncIterator[LocalAccount]:
    account = await LocalAccount.open(store, "alice@example.test")
    yield account
    await account.close()


async def test_many_idling_sessions_cost_a_few_questions(
    store: Soledad, account: LocalAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    await account.append(INBOX, [NewMessage(raw=mail())])
    await account.deriving.finish()
    talks = [await Talk(account).log_in("INBOX") for _ in range(MANY)]
    for talk in talks:
        await talk.send(b"i IDLE\r\n")
    await settled()
    asked = 0

    def counting(original: Callable[..., Any]) -> Callable[..., Any]:
        async def counted(*arguments: Any, **named: Any) -> Any:
            nonlocal asked
            asked += 1
            return await original(*arguments, **named)

        return counted

    monkeypatch.setattr(store, "read", counting(store.read))
    monkeypatch.setattr(store, "write", counting(store.write))
    await account.append(INBOX, [NewMessage(raw=mail("late"))])
    async with asyncio.timeout(20):
        while not all(b"* 2 EXISTS" in talk.said for talk in talks):  # noqa: ASYNC110
            await asyncio.sleep(0)
    recent = [int(n) for talk in talks for n in re.findall(rb"\* (\d) RECENT", bytes(talk.said))]
    assert sum(recent) == 2  # the first message and the late one, each claimed by one session
    assert asked < MANY  # three each, without this
    for talk in talks:
        await talk.end()


async def test_everybody_hears_of_every_change_whoever_asked_before(account: LocalAccount) -> None:
    """Changes that come while the sessions ask of the one before."""
    await account.append(INBOX, [NewMessage(raw=mail(f"m{n}")) for n in range(5)])
    talks = [await Talk(account).log_in("INBOX") for _ in range(10)]
    for talk in talks:
        await talk.send(b"i IDLE\r\n")
    for number in range(12):
        await account.store_flags(INBOX, [Uid(1 + number % 5)], "add", [f"word{number}"])
        if number % 3 == 0:
            await asyncio.sleep(0)
        if number % 4 == 1:
            await account.append(INBOX, [NewMessage(raw=mail(f"late{number}"))])
    async with asyncio.timeout(20):
        while not all(b"* 8 EXISTS" in talk.said for talk in talks):  # noqa: ASYNC110
            await asyncio.sleep(0)
    rows = await account.rows(INBOX)
    for talk in talks:
        await talk.send(b"DONE\r\n")
        answer = await talk.send(b"f FETCH 1:* (FLAGS)\r\n")
        for number in range(12):
            assert b"word%d" % number in answer
        assert answer.count(b" FETCH ") == len(rows)
        await talk.end()


async def test_an_answer_begun_before_a_change_is_not_given_after_it() -> None:
    together = AskedTogether()
    release = asyncio.Event()
    given = iter(range(10))

    async def ask() -> list[int]:
        number = next(given)
        if number == 0:
            await release.wait()
        return [number]

    before = asyncio.create_task(together.ask("rows", changed=1, seen=1, ask=ask))
    beside = asyncio.create_task(together.ask("rows", changed=1, seen=1, ask=ask))
    await asyncio.sleep(0)
    assert await together.ask("rows", changed=2, seen=2, ask=ask) == [1]
    release.set()
    assert await asyncio.gather(before, beside) == [[0], [0]]
    assert await together.ask("rows", changed=2, seen=3, ask=ask) == [1]


async def test_a_failure_is_told_to_those_who_wait_and_not_kept() -> None:
    together = AskedTogether()
    fails = True

    async def ask() -> int:
        await asyncio.sleep(0)
        if fails:
            raise ValueError
        return 7

    asking = [together.ask("q", changed=1, seen=1, ask=ask) for _ in range(3)]
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert [type(one) for one in found] == [ValueError] * 3
    fails = False
    assert await together.ask("q", changed=1, seen=1, ask=ask) == 7


async def test_who_is_cancelled_takes_the_answer_from_nobody() -> None:
    together = AskedTogether()
    release = asyncio.Event()

    async def ask() -> ModSeq:
        await release.wait()
        return ModSeq(5)

    first = asyncio.create_task(together.ask("q", changed=1, seen=1, ask=ask))
    second = asyncio.create_task(together.ask("q", changed=1, seen=1, ask=ask))
    await asyncio.sleep(0)
    first.cancel()
    release.set()
    assert await second == 5
