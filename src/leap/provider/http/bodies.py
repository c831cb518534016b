"""Bodies in and out: read up to a limit, decoded to a value, answered as a value, refused as an ErrorReply.

Invariants:
* No body is held beyond the limit of its endpoint; a longer one is refused at the limit (413).
* Whatever goes wrong, what leaves is an ErrorReply of one sentence: no traceback, nothing of a request.
* A client which sends nothing for `READ_SECONDS` in the middle of a body is given up.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from aiohttp import web

from leap.provider.errors import (
    BadRequest,
    Internal,
    NotFound,
    Refusal,
    SlowDown,
    StorageFull,
    TooLarge,
)
from leap.soledad.errors import StoreFull
from leap.soledad.wire import (
    CONTENT_TYPE,
    MAX_BATCH_BYTES,
    MAX_COMMIT_BYTES,
    ErrorReply,
    WireError,
    decode,
    encode,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
T = TypeVar("T")

SMALL_BODY = 64 * 1024
LOG_BODY = MAX_COMMIT_BYTES + 1024 * 1024  # items, their MessagePack frames, and a head
BLOBS_BODY = MAX_BATCH_BYTES + 256 * 1024
KEYSET_BODY = 8 * 1024 * 1024  # a keyset of 4 MiB, two wraps of 1 MiB, a verifier
SIGNUP_BODY = 256 * 1024  # about 15 kB; anyone may send one, so no more than needed is held
READ_SECONDS = 30.0

_FULL = {errno.ENOSPC, errno.EDQUOT}
_NOTHING = b"\x80"  # an empty MessagePack map

_log = logging.getLogger(__name__)


async def read_body(request: web.Request, limit: int) -> bytes:
    """The whole body. Raises TooLarge, BadRequest."""
    if request.content_length is not None and request.content_length > limit:
        raise TooLarge(f"a body here has at most {limit} bytes")
    pieces: list[bytes] = []
    size = 0
    while piece := await read_piece(request):
        size += len(piece)
        if size > limit:
            raise TooLarge(f"a body here has at most {limit} bytes")
        pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def read_piece(request: web.Request) -> bytes:
    """What has arrived of the body, b"" at its end. Raises BadRequest."""
    try:
        async with asyncio.timeout(READ_SECONDS):
            return await request.content.readany()
    except TimeoutError:
        raise BadRequest("the body stopped in the middle") from None
    except (web.RequestPayloadError, asyncio.IncompleteReadError):
        raise BadRequest("the body is cut short or not as its headers say") from None


async def read_value(request: web.Request, kind: type[T], limit: int) -> T:
    """The body as a value of the protocol. Raises TooLarge, BadRequest."""
    data = await read_body(request, limit)
    try:
        return decode(data, kind)
    except WireError as error:
        raise BadRequest(str(error)) from None


def answer(value: object) -> web.Response:
    """A reply with a value of the protocol, or an empty map for None."""
    body = _NOTHING if value is None else encode(value)
    return web.Response(body=body, content_type=CONTENT_TYPE)


def refuse(refusal: Refusal) -> web.Response:
    """The reply for a refusal."""
    reply = web.Response(
        status=refusal.status,
        body=encode(ErrorReply(error=refusal.error, message=refusal.message)),
        content_type=CONTENT_TYPE,
    )
    if refusal.retry_after is not None:
        reply.headers["Retry-After"] = str(refusal.retry_after)
    if refusal.status == 401:
        reply.headers["WWW-Authenticate"] = "Bearer"  # RFC 9110 11.6.1
    return reply


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns whatever a handler raises into a reply."""
    try:
        return await handler(request)
    except Refusal as error:
        return refuse(error)
    except StoreFull:
        return refuse(StorageFull())
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return refuse(_of_http(error))
    except (
        ConnectionError
    ):  # the client is gone: nobody gets this answer, and the operator need not hear of it
        return refuse(BadRequest("the connection broke"))
    except OSError as error:
        if error.errno in _FULL:
            return refuse(StorageFull())
        return _failed(request, error)
    except Exception as error:
        return _failed(request, error)


def _failed(request: web.Request, error: Exception) -> web.Response:
    """For the operator where it failed and how, in one line; never what was being worked on."""
    route = request.match_info.route.resource
    last = traceback.extract_tb(error.__traceback__)[-1]
    _log.error(
        "%s %s failed: %s in %s line %s",
        request.method,
        route.canonical if route is not None else "-",
        type(error).__name__,
        Path(last.filename).name,
        last.lineno,
    )
    return refuse(Internal())


def _of_http(error: web.HTTPException) -> Refusal:
    if error.status == 404:
        return NotFound("there is nothing at this address")
    if error.status == 413:
        return TooLarge("the body is too large")
    if error.status == 429:
        return SlowDown("too many requests")
    refusal = BadRequest(f"this cannot be done here: {error.reason}")
    refusal.status = error.status
    return refusal
