"""Reader threads: the first free one gets the next job."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from functools import partial

import pytest

from leap.soledad.readers import Readers


@pytest.fixture
async def readers() -> AsyncIterator[Readers]:
    made = Readers(2, "reading")
    yield made
    await asyncio.to_thread(made.close)


async def test_jobs_one_after_the_other_run_in_one_thread(readers: Readers) -> None:
    assert {await readers.run(threading.get_ident) for _ in range(5)} == {
        await readers.run(threading.get_ident)
    }


async def test_a_job_that_lasts_leaves_the_next_ones_to_the_other_thread(readers: Readers) -> None:
    go_on = threading.Event()
    lasting = readers.run(lambda: (go_on.wait(20), threading.get_ident()))
    others = {await readers.run(threading.get_ident) for _ in range(3)}
    go_on.set()
    assert len(others) == 1
    assert (await lasting)[1] not in others


async def test_jobs_wait_for_a_free_thread_in_their_order(readers: Readers) -> None:
    go_on = threading.Event()
    lasting = [readers.run(lambda: go_on.wait(20)) for _ in range(2)]
    order: list[int] = []
    waiting = [readers.run(partial(order.append, number)) for number in range(20)]
    assert order == []
    go_on.set()
    await asyncio.gather(*lasting, *waiting)
    assert sorted(order) == list(range(20))
    assert order[0] in (0, 1)


async def test_what_a_job_raises_is_raised_where_it_is_awaited(readers: Readers) -> None:
    with pytest.raises(ZeroDivisionError):
        await readers.run(lambda: 1 // 0)
    assert await readers.run(lambda: 7) == 7


async def test_a_job_cancelled_before_its_turn_does_not_run(readers: Readers) -> None:
    go_on = threading.Event()
    lasting = [readers.run(lambda: go_on.wait(20)) for _ in range(2)]
    ran: list[int] = []
    waiting = readers.run(lambda: ran.append(1))
    waiting.cancel()
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(*lasting)
    assert await readers.run(lambda: list(ran)) == []


async def test_closing_lets_jobs_end_and_takes_no_more() -> None:
    readers = Readers(2, "reading")
    go_on = threading.Event()
    jobs = [readers.run(lambda: go_on.wait(20)) for _ in range(5)]
    closing = asyncio.create_task(asyncio.to_thread(readers.close))
    go_on.set()
    assert await asyncio.gather(*jobs) == [True] * 5
    await closing
    with pytest.raises(RuntimeError):
        readers.run(lambda: 1)
