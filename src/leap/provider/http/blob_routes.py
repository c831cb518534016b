"""One blob as raw octets: PUT of any size without holding it in memory, GET whole or by range.

Invariants:
* A range is one range of bytes (RFC 9110 14.1.2); several are answered with the whole blob, as 14.2 allows.
* A PUT that breaks off leaves nothing. One with a Content-Range (RFC 9110 14.5) leaves what came, and the next one
  goes on there; all of it has to have the SHA-256 which Repr-Digest (RFC 9530) announces.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
import re

from aiohttp import web

from leap.provider.errors import BadRange, BadRequest, BlobDiffers, Internal, TooLarge
from leap.provider.http.bodies import Handler, answer, read_body, read_piece
from leap.provider.http.endpoints import authorized
from leap.provider.provider import Provider
from leap.provider.storage.blobs import INLINE_BYTES, StoredBlob
from leap.soledad.wire import API, MAX_BLOB_BYTES, Blob, UploadState

WRITE_BYTES = 1024 * 1024  # one thread hop for each megabyte
_BLOB_ID = re.compile(r"^[0-9a-f]{32}$")
READ_BYTES = 256 * 1024
_RANGE = re.compile(r"^bytes=([0-9]{0,15})-([0-9]{0,15})$")
_CONTENT_RANGE = re.compile(r"^bytes ([0-9]{1,15})-([0-9]{1,15})/([0-9]{1,15})$")
_DIGEST = re.compile(r"(?:^|,)\s*sha-256=:([A-Za-z0-9+/=]{44}):")


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
        if "Content-Range" in request.headers:
            return answer(await _go_on(provider, who.account, blob_id, request))
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
        return await _send(request, blob)

    async def state(request: web.Request) -> web.StreamResponse:
        who = await authorized(provider, request)
        return answer(await provider.uploads.state(who.account, request.match_info["blob_id"]))

    path = API + "/blobs/{blob_id}"
    return [
        web.put(path, with_id(put)),
        web.get(path, with_id(get)),
        web.get(path + "/upload", with_id(state)),
    ]


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
                provider.blobs.need(size)
                await asyncio.to_thread(upload.write, b"".join(waiting))
                waiting, size = [], 0
        provider.blobs.need(size)
        await asyncio.to_thread(upload.write, b"".join(waiting))
        await provider.blobs.finish_upload(account, blob_id, upload)
    finally:
        await asyncio.shield(asyncio.to_thread(upload.discard))


async def _go_on(
    provider: Provider, account: int, blob_id: str, request: web.Request
) -> UploadState:
    """Part of an upload: from where it stands, up to its end or less."""
    start, end, total = content_range(request.headers["Content-Range"])
    sha256 = _digest(request.headers.get("Repr-Digest", ""))
    if total > MAX_BLOB_BYTES:
        raise TooLarge(f"a blob has at most {MAX_BLOB_BYTES} bytes")
    state = await provider.uploads.state(account, blob_id)
    if state.sha256:
        if state.sha256 != sha256:
            raise BlobDiffers(f"blob {blob_id} is there with other bytes")
        return state
    provider.blobs.check_room(total - start)
    async with provider.uploads.receive(account, blob_id, start) as upload:
        waiting = bytearray()
        while True:
            try:
                piece = await read_piece(request)
            except Exception:
                await upload.write(bytes(waiting))  # cut: what came is kept
                raise
            if upload.size + len(waiting) + len(piece) > end:
                raise BadRequest("the body is longer than its headers say")
            waiting += piece
            if len(waiting) >= WRITE_BYTES or not piece:
                data = bytes(waiting)
                waiting.clear()
                await upload.write(data)
            if not piece:
                break
        if upload.size == total:
            await upload.finish(sha256)
            return UploadState(stored=total, sha256=sha256)
        return UploadState(stored=upload.size)


async def _send(request: web.Request, blob: StoredBlob) -> web.StreamResponse:
    headers = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
    start, end, status = 0, blob.size, 200
    asked = _range(request.headers.get("Range"), blob.size)
    if asked is not None:
        start, end = asked
        status = 206
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{blob.size}"
    if blob.path is None:
        sealed = blob.sealed or b""
        return web.Response(status=status, body=sealed[start:end], headers=headers)
    file = await asyncio.to_thread(os.open, blob.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.fstat(file).st_size != blob.size:
            raise Internal  # and not a reply that stops in the middle
        reply = web.StreamResponse(status=status, headers=headers)
        reply.content_length = end - start
        piece = await asyncio.to_thread(os.pread, file, min(READ_BYTES, end - start), start)
        await reply.prepare(request)
        while piece:
            await reply.write(piece)
            start += len(piece)
            size = min(READ_BYTES, end - start)
            piece = await asyncio.to_thread(os.pread, file, size, start) if size else b""
        await reply.write_eof()
        return reply
    finally:
        os.close(file)


def content_range(told: str) -> tuple[int, int, int]:
    """Start, end (not included) and total of a Content-Range. Raises BadRequest."""
    found = _CONTENT_RANGE.match(told)
    if found is not None:
        start, end, total = int(found[1]), int(found[2]) + 1, int(found[3])
        if start < end <= total:
            return start, end, total
    raise BadRequest("this is no Content-Range of a part of a blob")


def _digest(told: str) -> bytes:
    found = _DIGEST.search(told)
    try:
        digest = base64.b64decode(found[1], validate=True) if found is not None else b""
    except binascii.Error:
        digest = b""
    if len(digest) != 32:
        raise BadRequest("a part of a blob comes with the sha-256 of the whole in Repr-Digest")
    return digest


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
    if start >= end:
        raise BadRange(f"this blob has {size} bytes; the range lies outside")
    return start, end
