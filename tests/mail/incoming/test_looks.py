"""Notices without end, and the same mail without end: bounded work, and mail is received all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from leap.mail.incoming.looks import FREE, LONGEST, WINDOW, Looks
from leap.soledad.errors import Unreachable
from leap.soledad.wire import InboxItems
from tests.mail.incoming.test_pipeline import BOB, letter, numbers
from tests.mail.travel import Person


def test_looks_in_vain_make_a_pause_that_grows_and_ends() -> None:
    now = [1000.0]
    looks = Looks(lambda: now[0])
    pauses = []
    for _ in range(40):
        looks.in_vain()
        pauses.append(looks.pause())
    assert pauses[: FREE - 1] == [0.0] * (FREE - 1)
    assert pauses[FREE - 1 : FREE + 2] == [1.0, 2.0, 4.0]
    assert max(pauses) == pauses[-1] == LONGEST
    now[0] += WINDOW + 1
    assert looks.pause() == 0.0


class Counted:
    """Counts the claims of a person's device, and ends the flood after so many turns of the loop."""

    def __init__(self, bob: Person, monkeypatch: Any) -> None:
        self.claims = 0
        self._claim = bob.inbox.claim_inbox
        monkeypatch.setattr(bob.inbox, "claim_inbox", self)

    async def __call__(self, claim: Any) -> InboxItems:
        self.claims += 1
        return await self._claim(claim)


async def flooded(bob: Person, reached: Callable[[], bool], step: float = 0.0) -> None:
    """Wakes without end until it was `reached`, and some hundred times more."""
    worker = asyncio.create_task(bob.incoming.run())
    try:
        async with asyncio.timeout(20):
            while not reached():
                bob.incoming.wake()
                await asyncio.sleep(0.001)
        for _ in range(400):
            bob.incoming.wake()
            await asyncio.sleep(step)
        assert not worker.done()
    finally:
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)


async def test_a_flood_of_notices_makes_few_claims(bob: Person, monkeypatch: Any) -> None:
    counted = Counted(bob, monkeypatch)
    await flooded(bob, lambda: counted.claims >= 2)
    assert counted.claims <= FREE + 2


async def test_a_flood_of_notices_does_not_end_the_pause_after_a_failure(
    bob: Person, monkeypatch: Any
) -> None:
    claims = 0

    async def fails(claim: Any) -> InboxItems:
        nonlocal claims
        claims += 1
        raise Unreachable("the provider is away")

    monkeypatch.setattr(bob.inbox, "claim_inbox", fails)
    await flooded(bob, lambda: claims >= 2)
    assert claims <= FREE + 2


async def test_a_mail_that_is_given_again_and_again_is_taken_few_times(
    bob: Person, monkeypatch: Any
) -> None:
    bob.provider.deliver(BOB, letter(1))
    claim, given = bob.inbox.claim_inbox, []

    async def again(asked: Any) -> InboxItems:
        if not given:
            given.append(await claim(asked))
        counted.append(1)
        return given[0]

    counted: list[int] = []
    monkeypatch.setattr(bob.inbox, "claim_inbox", again)
    await flooded(bob, lambda: len(counted) >= 2, step=0.002)
    assert numbers(await bob.messages()) == [1]
    assert len(counted) <= FREE + 3


async def test_after_a_flood_mail_is_received(bob: Person, monkeypatch: Any) -> None:
    now = [0.0]
    bob.incoming._looks = Looks(lambda: now[0])
    for _ in range(FREE - 1):
        bob.incoming._looks.in_vain()
    arrived = asyncio.Event()
    bob.store.on_change(lambda _: arrived.set())
    worker = asyncio.create_task(bob.incoming.run())
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        bob.provider.deliver(BOB, letter(7))
        bob.incoming.wake()
        while numbers(await bob.messages()) != [7]:
            await arrived.wait()
            arrived.clear()
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
