"""Push notices as server-sent events (WHATWG HTML 9.2): `hello`, `head` and `inbox`, each with one number.

    event: hello   data: 1, the version of this API; always first
    event: head    data: seq of the newest head; once at the beginning, then after each commit
    event: inbox   data: how many inbox items wait; once at the beginning, then after each delivery
    : keep-alive   a comment, when nothing else was sent for `KEEP_ALIVE` seconds

Invariants:
* The first notices are read after the subscription began, so nothing falls between.
"""

from __future__ import annotations

import contextlib

from aiohttp import web

from leap.provider.http.endpoints import authorized
from leap.provider.provider import Provider
from leap.soledad.wire import API

KEEP_ALIVE = 20.0  # seconds; shorter than the idle limits of common proxies
VERSION = 1


def event_routes(provider: Provider, *, keep_alive: float = KEEP_ALIVE) -> list[web.RouteDef]:
    """GET /1/events."""

    async def events(request: web.Request) -> web.StreamResponse:
        who = await authorized(provider, request)
        subscription = provider.events.subscribe(who.account, who.token_hash)
        try:
            reply = web.StreamResponse(
                headers={
                    "Content-Type": "text/event-stream",
                    "Cache-Control": "no-store",
                    "X-Accel-Buffering": "no",  # some proxies hold small pieces back otherwise
                }
            )
            head = await provider.log.head_seq(who.account)
            waiting = await provider.inbox.waiting(who.account)
            await reply.prepare(request)
            await reply.write(
                _event("hello", VERSION) + _event("head", head) + _event("inbox", waiting)
            )
            with contextlib.suppress(ConnectionError):  # the device went away
                while (notices := await subscription.next(keep_alive)) is not None:
                    text = b"".join(_event(kind, data) for kind, data in notices)
                    await reply.write(text or b": keep-alive\n\n")
                await reply.write_eof()
            return reply
        finally:
            provider.events.unsubscribe(subscription)

    return [web.get(API + "/events", events)]


def _event(kind: str, data: int) -> bytes:
    return f"event: {kind}\ndata: {data}\n\n".encode()
