"""Attacks on push notices: too many of them, and none."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from leap.soledad.remote.transport import Patience
from leap.soledad.wire import API, PullPage, PullRequest
from tests.hostile.server import Attack
from tests.hostile.switching_off import Argument, Instead


class FloodWithNotices(Attack):
    """Says without end that there is news, so that the device works without end."""

    guarantee = "G12"
    checks = (Instead("leap.soledad.syncing.notices", "FREE_NOTICES", 1_000_000),)

    async def on_pull(self, request: PullRequest, page: PullPage) -> PullPage:
        self.asked += 1
        return page


class SilenceNotices(Attack):
    """Opens the stream of notices and says nothing on it any more, so that the device waits for ever."""

    guarantee = "G12"
    patience = Patience(stream_silence=0.3)
    checks = (Argument("leap.soledad.remote.transport", "Transport.stream", "sock_read", None),)
    streams = 0

    def __init__(self, *parts: Any, **options: Any) -> None:
        super().__init__(*parts, **options)
        self.released = asyncio.Event()

    async def close(self) -> None:
        self.released.set()
        await super().close()

    async def on_http(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path != f"{API}/events":
            return await super().on_http(request, handler)
        self.streams += 1
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await reply.prepare(request)
        await reply.write(b"event: hello\ndata: 1\n\n")
        await self.released.wait()
        return reply


NOTICE_ATTACKS: tuple[type[Attack], ...] = (FloodWithNotices, SilenceNotices)
