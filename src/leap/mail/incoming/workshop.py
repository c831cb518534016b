"""Where mail is made ready, in a thread or in another process, and the look-up of senders' keys.

Invariants:
* Nothing of it runs on the event loop.
* Outcomes come in the order of the items.
* It ends: what takes too long is opened apart, where it can be stopped, and so is what may have brought the program
  down before. An item that has to be stopped there is refused, and those beside it are not.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from leap.keymanager.openpgp import offload
from leap.mail.incoming.apart import Stopped, run_apart
from leap.mail.incoming.ready import Desk, Outcome, Ready, Refused, make_all_ready
from leap.mail.incoming.senders import Senders, SendersWanted, SignerKeys, look_up
from leap.soledad.errors import SoledadError
from leap.soledad.store import Soledad

MANY = 200  # items for which it is worth starting a process, which takes a quarter of a second
PATIENCE = 120.0  # seconds for a lot, which takes one or two at most where nothing is wrong
APART = 60.0  # seconds of CPU for what is opened apart


class Workshop:
    """Makes the mail of one account ready."""

    def __init__(
        self, store: Soledad, keys: SignerKeys, own_domain: str, now: Callable[[], float]
    ) -> None:
        self._store = store
        self._keys = keys
        self._own_domain = own_domain
        self._now = now
        self._senders = Senders()
        self._many = False

    def begin_batch(self, count: int) -> None:
        """So many items follow. Their senders are looked up again: keys may have changed since."""
        self._senders = Senders()
        self._many = count >= MANY

    async def make(self, items: Sequence[bytes], *, apart: bool = False) -> list[Ready | Refused]:
        """The outcome of each item; `apart` for those which may do harm.

        Raises what the store raises, MemoryError, OSError.
        """
        run = self._run_apart if apart else self._run
        desk = await self._desk()
        outcomes = await run(items, desk)
        while wanted := {
            at: one for at, one in enumerate(outcomes) if isinstance(one, SendersWanted)
        }:
            self._senders = await look_up(
                self._senders, wanted.values(), self._keys, self._own_domain
            )
            desk = replace(desk, senders=self._senders)
            again = await run([items[at] for at in wanted], desk)
            for at, outcome in zip(wanted, again, strict=True):
                outcomes[at] = outcome
        return [one for one in outcomes if not isinstance(one, SendersWanted)]

    async def _desk(self) -> Desk:
        material = self._store.material
        if material is None:
            raise SoledadError("the account is not set up on this device")
        return Desk(
            account=material.account_id,
            inbox_keys=material.inbox_keys,
            own_keys=await self._keys.own_keys(),
            epoch=material.epoch,
            own_domain=self._own_domain,
            now=self._now(),
            senders=self._senders,
        )

    async def _run(self, items: Sequence[bytes], desk: Desk) -> list[Outcome]:
        """Never in place: a small mail can unpack to much, and its signer's certificate can be large."""
        try:
            async with asyncio.timeout(PATIENCE):
                if len(items) == 1 or not self._many:
                    return await asyncio.to_thread(make_all_ready, items, desk)
                return await offload.run_batch(make_all_ready, items, desk)
        except TimeoutError:
            return await self._run_apart(items, desk)

    async def _run_apart(self, items: Sequence[bytes], desk: Desk) -> list[Outcome]:
        """All in one process, and when that has to be stopped, each in its own."""
        try:
            return await asyncio.to_thread(run_apart, make_all_ready, items, desk, seconds=APART)
        except Stopped as stopped:
            if len(items) == 1:
                return [Refused(f"opening it was stopped: {stopped}", poisoned=True)]
        return [(await self._run_apart([one], desk))[0] for one in items]
