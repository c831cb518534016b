"""What one device alone cannot notice, and what does no harm: docs/threat-model.md says so, and these show it."""

from __future__ import annotations

from typing import Any

import msgspec

from leap.soledad.wire import PullPage, PullRequest
from tests.hostile.server import Attack


class FreezeLog(Attack):
    """Shows a device for ever what it has seen already."""

    guarantee = "L1"
    frozen: PullPage

    async def freeze(self) -> None:
        """From now on nothing is news."""
        page = await super(type(self.log), self.log).pull(self.alice, PullRequest(since=0))
        self.frozen = msgspec.structs.replace(page, more=False)
        self.evil = True

    async def on_pull(self, request: PullRequest, page: PullPage) -> PullPage:
        items = [item for item in self.frozen.items if item.seq > request.since]
        return msgspec.structs.replace(self.frozen, items=items)


class WithholdUnseenSuffix(FreezeLog):
    """Shows a device the log only up to a head which the device has not seen yet, though there are later ones."""

    guarantee = "L1"


class KeepForksApart(Attack):
    """Shows each device another history for ever."""

    guarantee = "L2"


class ShowOldLogToNewDevice(Attack):
    """Shows a new device the log as it was."""

    guarantee = "L3"


class PermuteSequenceNumbers(Attack):
    """Numbers the items of a page otherwise; nothing hangs on their order, so nothing comes of it."""

    guarantee = "L4"

    async def on_pull(self, request: PullRequest, page: PullPage) -> PullPage:
        numbers = [item.seq for item in page.items]
        turned: list[Any] = [
            msgspec.structs.replace(item, seq=number)
            for number, item in zip(numbers, page.items[::-1], strict=True)
        ]
        self.asked += len(turned) > 1
        return msgspec.structs.replace(page, items=turned)


LIMITS: tuple[type[Attack], ...] = (
    FreezeLog,
    WithholdUnseenSuffix,
    KeepForksApart,
    ShowOldLogToNewDevice,
    PermuteSequenceNumbers,
)
