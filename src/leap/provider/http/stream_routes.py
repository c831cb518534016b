"""Pull and stage, as one value each way or as frames of many (`leap.soledad.frames`).

Invariants:
* One page, or one group of staged requests, is in memory at a time, whatever the length of the stream.
* Each page is read with its head in one snapshot; what is staged is durable group by group: what arrived before a
  cut counts.
* A peer that takes or gives less than `SLOWEST` octets a second is given up, and a stream ends after
  `LONGEST_SECONDS` at a page; the device asks again from there.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from leap.provider.errors import BadRequest, Refusal, SlowDown, TooLarge
from leap.provider.http.bodies import (
    LOG_BODY,
    READ_SECONDS,
    SMALL_BODY,
    answer,
    read_piece,
    read_value,
)
from leap.provider.http.endpoints import authorized
from leap.provider.provider import Provider
from leap.provider.sync.log import MAX_PUSH_BYTES
from leap.soledad.errors import SoledadError
from leap.soledad.frames import FRAMES_TYPE, FrameReader, frame
from leap.soledad.wire import (
    API,
    MAX_COMMIT_BYTES,
    MAX_COMMIT_ITEMS,
    PullRequest,
    StageReply,
    StageRequest,
    WireError,
    decode,
    encode,
)

MAX_STREAMS = 16  # at once, of one account
LONGEST_SECONDS = 3600.0
SLOWEST = 1_000  # octets per second, after the first `READ_SECONDS`
PIECE = 64 * 1024
MAX_GROUP = 256  # requests stored in one transaction
MAX_STREAMED = MAX_PUSH_BYTES * 5 // 4  # a whole push and what is around its items

_log = logging.getLogger(__name__)


def stream_routes(provider: Provider) -> list[web.RouteDef]:
    """POST /1/pull and POST /1/stage."""
    open_streams: Counter[int] = Counter()

    @contextmanager
    def streaming(account: int) -> Iterator[None]:
        if open_streams[account] >= MAX_STREAMS:
            raise SlowDown("too many streams of this account are open", retry_after=10)
        open_streams[account] += 1
        try:
            yield
        finally:
            open_streams[account] -= 1
            if not open_streams[account]:
                del open_streams[account]

    async def pull(request: web.Request) -> web.StreamResponse:
        who = await authorized(provider, request)
        asked = await read_value(request, PullRequest, SMALL_BODY)
        if not asked.stream:
            return answer(await provider.log.pull(who.account, asked))
        with streaming(who.account):
            return await _send_pages(provider, request, who.account, asked)

    async def stage(request: web.Request) -> web.StreamResponse:
        who = await authorized(provider, request)
        if request.content_type != FRAMES_TYPE:
            value = await read_value(request, StageRequest, LOG_BODY)
            return answer(await provider.log.stage(who.account, value))
        with streaming(who.account):
            return answer(await _Staging(provider, who.account).take(request))

    return [web.post(API + "/pull", pull), web.post(API + "/stage", stage)]


async def _send_pages(
    provider: Provider, request: web.Request, account: int, asked: PullRequest
) -> web.StreamResponse:
    end = time.monotonic() + LONGEST_SECONDS
    page = await provider.log.pull(account, asked)
    reply = web.StreamResponse(headers={"Content-Type": FRAMES_TYPE, "Cache-Control": "no-store"})
    await reply.prepare(request)
    try:
        while True:
            data = frame(encode(page))
            for start in range(0, len(data), PIECE):
                async with asyncio.timeout(READ_SECONDS + PIECE / SLOWEST):
                    await reply.write(data[start : start + PIECE])
            if not page.more or time.monotonic() > end:
                break
            asked = PullRequest(
                since=page.items[-1].seq, max_items=asked.max_items, max_bytes=asked.max_bytes
            )
            page = await provider.log.pull(account, asked)
        await reply.write_eof()
    except ConnectionError:
        pass  # the device went away
    except (TimeoutError, Refusal, SoledadError, OSError) as error:
        # The status is sent already: a cut is the only way left to say that this is not the end.
        _log.warning("a pull was cut short: %s", type(error).__name__)
        if request.transport is not None:
            request.transport.abort()
    return reply


class _Staging:
    """Takes one body of staged requests."""

    def __init__(self, provider: Provider, account: int) -> None:
        self._provider = provider
        self._account = account
        self._waiting: list[StageRequest] = []
        self._items = self._bytes = 0  # of those which wait
        self._push_id: str | None = None
        self._reply: StageReply | None = None

    async def take(self, request: web.Request) -> StageReply:
        """Stores what comes as it comes. Raises BadRequest, TooLarge, StageDiffers."""
        reader = FrameReader(LOG_BODY)
        began = time.monotonic()
        total = 0
        try:
            while piece := await read_piece(request):
                total += len(piece)
                if total > MAX_STREAMED:
                    raise TooLarge(f"a push holds at most {MAX_PUSH_BYTES} bytes of items")
                for data in reader.feed(piece):
                    await self._add(decode(data, StageRequest))
                if time.monotonic() - began > READ_SECONDS + total / SLOWEST:
                    raise BadRequest("the body comes too slowly")
            reader.end()
        except WireError as error:
            await self._store()
            raise BadRequest(str(error)) from None
        except (Refusal, ConnectionError):
            await self._store()
            raise
        await self._store()
        if self._reply is None:
            raise BadRequest("the body holds no frame")
        return self._reply

    async def _add(self, value: StageRequest) -> None:
        if self._push_id not in (None, value.push_id):
            raise BadRequest("one body holds items of one push")
        self._push_id = value.push_id
        size = sum(len(item.sealed) for item in value.items)
        if (
            self._bytes + size > MAX_COMMIT_BYTES
            or self._items + len(value.items) > MAX_COMMIT_ITEMS
            or len(self._waiting) == MAX_GROUP
        ):
            await self._store()
        self._waiting.append(value)
        self._items += len(value.items)
        self._bytes += size

    async def _store(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._items = self._bytes = 0
        if waiting:
            self._reply = await self._provider.log.stage(self._account, *waiting)
