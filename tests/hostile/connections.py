"""Attacks below the protocol: redirects, compression, endless and slow answers."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import msgspec
from aiohttp import web

from leap.soledad.errors import BadReply, Redirected, RolledBack, StrangeEncoding, TooMuch, TooSlow
from leap.soledad.remote.transport import Patience
from leap.soledad.wire import API, PullPage, decode
from tests.hostile.server import INFO, Attack, Reaction
from tests.hostile.switching_off import Argument, Instead, Raise, Text
from tests.hostile.world import World

TRANSPORT = "leap.soledad.remote.transport"
TOO_MUCH = (
    Text(TRANSPORT, "Transport._read", "(response.content_length or 0) > limit", "False"),
    Text(TRANSPORT, "Transport._read", "size > limit", "False"),
)
ENCODING = (
    Raise(TRANSPORT, "Transport._open", "encoding nobody asked for"),
    Argument(TRANSPORT, "Transport._live_session", "auto_decompress", True),
)


class ConnectionAttack(Attack):
    """The phone pulls."""

    guarantee = "G12"
    reaction = Reaction.RETRY

    async def prepare(self, world: World) -> None:
        await world.laptop.put("d1", v="news")
        await world.laptop.sync()

    async def act(self, world: World) -> None:
        await world.phone.sync()

    async def succeeded(self, world: World) -> bool:
        return bool(await world.phone.get("d1") == {"v": "news"})

    async def on_http(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path != f"{API}/pull" or request.query_string:
            return await super().on_http(request, handler)
        self.asked += 1
        return await self.answer(request, handler)

    async def answer(self, request: web.Request, handler: Any) -> web.StreamResponse:
        raise NotImplementedError


class RedirectElsewhere(ConnectionAttack):
    """Sends the device, with its token, to another place."""

    expected = Redirected
    says = "elsewhere"
    checks = (Argument(TRANSPORT, "Transport._open", "allow_redirects", True),)

    async def answer(self, request: web.Request, handler: Any) -> web.StreamResponse:
        return web.Response(status=307, headers={"Location": f"{API}/pull?elsewhere"})


class CompressAnswer(ConnectionAttack):
    """Compresses an answer, so that its size says nothing of what it unpacks to."""

    # That nothing is unpacked is a setting of the session; that it is refused, a check.
    expected = StrangeEncoding
    says = "encoding nobody asked for"
    checks = ENCODING

    async def answer(self, request: web.Request, handler: Any) -> web.StreamResponse:
        reply = await self.one_page(request)
        assert isinstance(reply.body, bytes)
        packed = gzip.compress(reply.body)
        headers = {"Content-Encoding": "gzip"}
        return web.Response(body=packed, content_type=reply.content_type, headers=headers)


class AnswerWithWebPage(ConnectionAttack):
    """Answers with a web page, as the log-in page of a hotel does."""

    # Taken for an empty answer, it would stop sync with an alarm.
    expected = BadReply
    says = "not in the protocol"

    @staticmethod
    def read_as_nothing(data: bytes, kind: Any) -> Any:
        if kind is PullPage and data.startswith(b"<"):
            return PullPage(items=[], head=b"", head_seq=0, more=False)
        return decode(data, kind)

    checks = (Instead("leap.soledad.remote.client", "decode", read_as_nothing),)
    instead = RolledBack

    async def answer(self, request: web.Request, handler: Any) -> web.StreamResponse:
        return web.Response(text="<html>Welcome to our hotel</html>", content_type="text/html")


class StaySilent(ConnectionAttack):
    """Takes a request and does not answer."""

    expected = TooSlow
    says = "does not answer in time"
    patience = Patience(silence=1, whole=20, slowest_line=1e9)
    checks = (Argument(TRANSPORT, "Transport.pieces", "sock_read", None),)

    async def answer(self, request: web.Request, handler: Any) -> web.StreamResponse:
        # Longer than the device waits; without its limit it gets an answer.
        await asyncio.sleep(1.3)
        reply: web.StreamResponse = await handler(request)
        return reply


class DripAnswer(ConnectionAttack):
    """Answers one octet at a time, so that the line is never silent and the answer never there."""

    expected = TooSlow
    says = "does not answer in time"
    patience = Patience(silence=5, whole=2, slowest_line=1e9)
    checks = (Raise(TRANSPORT, "Transport.pieces", "does not answer in time"),)

    async def answer(self, request: web.Request, handler: Any) -> web.StreamResponse:
        whole = await self.one_page(request)
        data = whole.body
        assert isinstance(data, bytes)
        reply = web.StreamResponse(headers={"Content-Type": whole.content_type})
        await reply.prepare(request)
        for n in range(25):
            await reply.write(data[n : n + 1])
            await asyncio.sleep(0.1)
        await reply.write(data[25:])
        return reply


class DescriptionAttack(Attack):
    """The phone asks what the provider says of itself."""

    guarantee = "G12"
    reaction = Reaction.REFUSAL
    domain = ""

    async def act(self, world: World) -> None:
        self.domain = (await world.phone.client.info()).domain

    async def succeeded(self, world: World) -> bool:
        return self.domain == INFO.domain

    async def on_http(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path != "/provider":
            return await super().on_http(request, handler)
        self.asked += 1
        return self.answer(msgspec.json.encode(INFO))

    def answer(self, description: bytes) -> web.Response:
        raise NotImplementedError


class AnswerTooMuch(DescriptionAttack):
    """Gives a megabyte where a line was asked for."""

    # What is announced is looked at, and what comes is counted.
    expected = TooMuch
    says = "more than was asked for"
    checks = TOO_MUCH

    def answer(self, description: bytes) -> web.Response:
        return web.Response(body=b" " * 1_000_000 + description)


class BombAnswer(DescriptionAttack):
    """Gives a few kilobytes which unpack to ten megabytes."""

    # Even unpacked it would not get past the limit.
    expected = StrangeEncoding
    says = "encoding nobody asked for"
    checks = (*ENCODING, *TOO_MUCH)

    def answer(self, description: bytes) -> web.Response:
        bomb = gzip.compress(b" " * 10_000_000 + description)
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})


CONNECTION_ATTACKS: tuple[type[Attack], ...] = (
    RedirectElsewhere,
    CompressAnswer,
    AnswerWithWebPage,
    StaySilent,
    DripAnswer,
    AnswerTooMuch,
    BombAnswer,
)
