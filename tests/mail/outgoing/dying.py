"""A process that sends and cancels mail until it kills itself, at a transaction that is told: before or after it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from leap.mail.delivery_wishes import NO_WISHES, DeliveryWishes
from tests.mail.travel import DOMAIN, FakeProvider, mail, open_person

ALICE, BOB = f"alice@{DOMAIN}", f"bob@{DOMAIN}"
EVE, CAROL, DAVE = "eve@elsewhere.test", "carol@elsewhere.test", "dave@elsewhere.test"


class Witness(FakeProvider):
    """A provider whose memory outlives the process: a line for each recipient of what it was handed."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.replies = {CAROL: (451, "4.2.0 Later")}
        self._path = path

    async def submit(
        self,
        submission_id: str,
        sender: str,
        recipients: Sequence[str],
        message: bytes,
        wishes: DeliveryWishes = NO_WISHES,
    ) -> dict[str, tuple[int, str]]:
        taken = [one for one in recipients if self.replies.get(one, (250, ""))[0] == 250]
        note(self._path, *(f"{message[-8:-2].decode()} {submission_id} {one}" for one in taken))
        return await super().submit(submission_id, sender, recipients, message, wishes)


def note(path: Path, *lines: str) -> None:
    """Written to the system at once: it outlives the process."""
    with path.open("ab", buffering=0) as file:
        file.write("".join(f"{line}\n" for line in lines).encode())


def letters() -> list[tuple[bytes, list[str]]]:
    return [
        (mail(to=to[0], body=b"mail-%d\r\n" % number), to)
        for number, to in enumerate(([EVE], [EVE, CAROL], [DAVE], [CAROL, DAVE]))
    ]


def work(folder: Path, last: int, after: bool) -> None:
    """Dies at the transaction of that number; returns when there are not so many."""
    asyncio.run(_work(folder, last, after))


async def _work(folder: Path, last: int, after: bool) -> None:
    alice = await open_person(
        Witness(folder / "handed"), folder, "alice", device="laptop", with_key=False
    )
    transact, left = alice.store.transact, last

    async def dying(job: Callable[[Any], Any], durable: bool = False) -> Any:
        nonlocal left
        left -= 1
        if left < 0 and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = await transact(job, durable)
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    alice.store.transact = dying  # type: ignore[method-assign]
    ids = []
    for raw, recipients in letters():
        ids.append(await alice.outgoing.submit(raw, ALICE, recipients))
        note(folder / "accepted", ids[-1])

    async def call_back(outbox_id: str) -> None:
        if await alice.outgoing.cancel(outbox_id):
            note(folder / "told", outbox_id)

    await call_back(ids[2])
    sending = [asyncio.create_task(alice.sender.process(one)) for one in ids]
    await asyncio.gather(call_back(ids[3]), *sending)
    await call_back(ids[1])  # eve has it, carol not
    await call_back(ids[0])  # too late
    await alice.close()
