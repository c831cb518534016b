"""When work in the background goes on."""

from __future__ import annotations

import asyncio

from leap.soledad.pace import Pace


async def test_work_waits_while_somebody_is_busy_and_no_longer_than_it_may() -> None:
    busy = True
    pace = Pace(0.01, 30.0, busy=lambda: busy)
    resting = asyncio.ensure_future(pace.rest())
    done, _ = await asyncio.wait([resting], timeout=0.1)
    assert not done
    busy = False
    await asyncio.wait_for(resting, 5)
    busy = True
    await asyncio.wait_for(Pace(0.01, 0.05, busy=lambda: busy).rest(), 5)


async def test_whoever_waits_for_the_work_is_not_kept_waiting_by_those_who_write() -> None:
    pace = Pace(60.0, 60.0, busy=lambda: True)
    with pace.hurry():
        await asyncio.wait_for(pace.rest(), 5)


async def test_work_that_is_far_behind_waits_for_readers_and_not_for_writers() -> None:
    pace = Pace(60.0, 60.0)
    pace.wrote()
    await asyncio.wait_for(pace.rest(behind=True), 5)
    pace.read()
    resting = asyncio.ensure_future(pace.rest(behind=True))
    done, _ = await asyncio.wait([resting], timeout=0.1)
    assert not done
    with pace.hurry():
        await asyncio.wait_for(resting, 5)
