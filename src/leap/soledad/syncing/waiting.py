"""How the parts of sync wait: for an event or a time, and longer after each failure."""

from __future__ import annotations

import asyncio
import contextlib
import random

FIRST_DELAY, LAST_DELAY = 1.0, 60.0  # seconds between attempts


async def wait(event: asyncio.Event, seconds: float | None) -> None:
    """Until the event is set, but not longer than `seconds`."""
    # Not wait_for: on Python 3.11 it can swallow a cancellation that comes with the event.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def jitter() -> float:
    """So that the devices of an account do not come back all at once."""
    return random.uniform(0.5, 1.0)  # noqa: S311
