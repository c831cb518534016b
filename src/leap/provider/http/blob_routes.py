"""One blob as raw octets: PUT of any size without holding it in memory, GET whole or by range.

Invariants:
* A range is one range of bytes (RFC 9110 14.1.2); several are answered with the whole blob, as 14.2 allows.
* An upload that breaks off leaves nothing.
"""

from __future__ import annotations

import asyncio
import re

from aiohttp import web

from leap.provider.errors import BadRequest, TooLarge
from leap.provider.http.bodies import Handler, answer, read_body, read_piece
from leap.provider.http.endpoints import authorized
from leap.provider.provider import Provider
from leap.provider.storage.blobs import INLINE_BYTES, StoredBlob
from leap.soledad.wire import API, MAX_BLOB_BYTES, Blob

WRITE_BYTES = 1024 * 1024  # one thread hop for each megabyte
_BLOB_ID = re.compile(r"^[0-9a-f]{32}$")
_RANGE = re.compile(r"^bytes=(\d*)-(\d*)$")


class BadRange(Exception):
    """The range lies outside the blob."""


def blob_routes(provider: Provider) -> list[web.RouteDef]:
    """PUT and GET of one blob."""

    def with_id(work: Handler) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            if not _BLOB_ID.match(request.match_info["blob_id"]):
                raise BadRequest("a blob id has 32 hex digits")
            return await work(request)

        return handler

    async def put(request: web.Request) -> web.StreamResponse:
        who = await authorized(provider, request)
        blob_id = request.match_info["blob_id"]
        length = request.content_length
        if length is not None and length > MAX_BLOB_BYTES:
            raise TooLarge(f"a blob has at most {MAX_BLOB_BYTES} bytes")
        if length is not None and length < INLINE_BYTES:
            sealed = await read_body(request, INLINE_BYTES)
            await provider.blobs.put(who.account, [Blob(blob_id=blob_id, sealed=sealed)])
        else:
            await _upload(provider, who.account, blob_id, request)
        return answer(None)

    async def get(request: web.Request) -> web.StreamResponse:
        who = await authorized(provider, request)
        blob = await provider.blobs.find(who.account, request.match_info["blob_id"])
        if blob.path is not None:
            # Knows ranges, and sends in pieces read outside the loop.
            return web.FileResponse(blob.path, headers={"Content-Type": "application/octet-stream"})
        return _send(blob, request.headers.get("Range"))

    path = API + "/blobs/{blob_id}"
    return [web.put(path, with_id(put)), web.get(path, with_id(get))]


async def _upload(provider: Provider, account: int, blob_id: str, request: web.Request) -> None:
    upload = await asyncio.to_thread(provider.blobs.begin_upload)
    try:
        waiting: list[bytes] = []
        size = total = 0
        while piece := await read_piece(request):
            waiting.append(piece)
            size += len(piece)
            total += len(piece)
            if total > MAX_BLOB_BYTES:
                raise TooLarge(f"a blob has at most {MAX_BLOB_BYTES} bytes")
            if size >= WRITE_BYTES:
                await asyncio.to_thread(upload.write, b"".join(waiting))
                waiting, size = [], 0
        await asyncio.to_thread(upload.write, b"".join(waiting))
        await provider.blobs.finish_upload(account, blob_id, upload)
    finally:
        await asyncio.shield(asyncio.to_thread(upload.discard))


def _send(blob: StoredBlob, asked: str | None) -> web.Response:
    sealed = blob.sealed or b""
    headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
    try:
        found = _range(asked, len(sealed))
    except BadRange:
        headers["Content-Range"] = f"bytes */{len(sealed)}"
        return web.Response(status=416, headers=headers)
    if found is None:
        return web.Response(body=sealed, headers=headers)
    start, end = found
    headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(sealed)}"
    return web.Response(status=206, body=sealed[start:end], headers=headers)


def _range(asked: str | None, size: int) -> tuple[int, int] | None:
    """Start and end of the range asked for, None for the whole. Raises BadRange."""
    found = _RANGE.match(asked or "")
    if found is None or found[1] == found[2] == "":
        return None  # RFC 9110 14.2: what is not understood is ignored
    if found[1] == "":  # the last n bytes
        start, end = max(size - int(found[2]), 0), size
    else:
        start = int(found[1])
        end = size if found[2] == "" else min(int(found[2]) + 1, size)
        if found[2] != "" and int(found[2]) < start:
            return None
    if start >= end:
        raise BadRange
    return start, end
