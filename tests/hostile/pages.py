"""Attacks on the pages of a pull: order, numbers, sizes. They prove nothing: what is refused is asked for again."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from leap.soledad.errors import BadPage, BadReply, ForgedEnvelope
from leap.soledad.wire import API, MAX_COMMIT_BYTES, LoggedItem, PullPage, PullRequest, decode
from tests.hostile.items import PullAttack
from tests.hostile.server import Attack, Reaction
from tests.hostile.switching_off import Instead, Raise
from tests.hostile.world import World

ORDER = Raise("leap.soledad.syncing.fetch", "_check_page", "is not in order")


class PageAttack(PullAttack):
    """Answers a pull with a page that is none."""

    guarantee = "G12"
    expected = BadPage
    reaction = Reaction.RETRY

    async def on_http(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path != f"{API}/pull":
            return await super().on_http(request, handler)
        return await self.one_page(request)


class ReorderItems(PageAttack):
    """Gives the items of a page in another order than that of their numbers."""

    says = "is not in order"
    checks = (ORDER,)

    async def on_pull(self, request: PullRequest, page: PullPage) -> PullPage:
        self.asked += len(page.items) > 1
        return msgspec.structs.replace(page, items=page.items[::-1])


class RepeatSequenceNumber(PageAttack):
    """Gives two items the same number."""

    says = "is not in order"
    checks = (ORDER,)

    async def on_pull(self, request: PullRequest, page: PullPage) -> PullPage:
        if len(page.items) < 2:
            return page
        self.asked += 1
        first = msgspec.structs.replace(page.items[0], seq=page.items[1].seq)
        return msgspec.structs.replace(page, items=[first, *page.items[1:]])


class NegativeSequenceNumber(PageAttack):
    """Gives an item a number below zero."""

    # Were the number read, the item would still stand before what was asked for.
    expected = BadReply
    says = "not in the protocol"

    @staticmethod
    def read_anything(data: bytes, kind: Any) -> Any:
        if kind is not PullPage:
            return decode(data, kind)
        body = msgspec.msgpack.decode(data)
        return PullPage(**{**body, "items": [LoggedItem(**item) for item in body["items"]]})

    checks = (Instead("leap.soledad.remote.client", "decode", read_anything), ORDER)

    async def on_pull(self, request: PullRequest, page: PullPage) -> PullPage:
        if not page.items:
            return page
        self.asked += 1
        first = msgspec.structs.replace(page.items[0], seq=-7)
        return msgspec.structs.replace(page, items=[first, *page.items[1:]])


class HugeSequenceNumber(PageAttack):
    """Gives an item the largest number there is, so that the device would never ask for a later one."""

    says = "behind the end of the log"
    checks = (Raise("leap.soledad.syncing.fetch", "_check_page", "behind the end of the log"),)

    async def on_pull(self, request: PullRequest, page: PullPage) -> PullPage:
        if not page.items:
            return page
        self.asked += 1
        last = msgspec.structs.replace(page.items[-1], seq=2**53 - 1)
        return msgspec.structs.replace(page, items=[*page.items[:-1], last])


class PromiseMoreForEver(PageAttack):
    """Says that more items follow, and gives none."""

    says = "gives none"
    checks = (Raise("leap.soledad.syncing.fetch", "_check_page", "gives none"),)

    async def on_pull(self, request: PullRequest, page: PullPage) -> PullPage:
        if self.asked == 20:  # twenty rounds are enough to show that there would be no end
            return page
        self.asked += 1
        return msgspec.structs.replace(page, items=[], more=True)

    async def harmed(self, world: World) -> bool:
        return self.asked == 20


class OversizedPage(PageAttack):
    """Gives more than was asked for at once."""

    # Without the check it is read whole, and refused only because nobody sealed it.
    says = "larger than was asked for"
    checks = (Raise("leap.soledad.syncing.fetch", "_check_page", "larger than was asked for"),)
    instead = ForgedEnvelope

    async def on_pull(self, request: PullRequest, page: PullPage) -> PullPage:
        if not page.items:
            return page
        self.asked += 1
        large = msgspec.structs.replace(page.items[0], sealed=b"\1" + bytes(MAX_COMMIT_BYTES))
        return msgspec.structs.replace(page, items=[large, *page.items[1:]])


PAGE_ATTACKS: tuple[type[Attack], ...] = (
    ReorderItems,
    RepeatSequenceNumber,
    NegativeSequenceNumber,
    HugeSequenceNumber,
    PromiseMoreForEver,
    OversizedPage,
)
