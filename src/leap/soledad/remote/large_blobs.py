"""Large blobs over HTTPS, from and into files: what is cut goes on where it stopped, in both directions.

Invariants:
* An upload asks first how far it has come, and announces the SHA-256 of the whole: the provider keeps no other bytes.
* After a cut it goes on at once while the provider has got more each time, `MAX_CUTS` times; else the cut is the
  caller's to wait out.
* Memory holds a few pieces, however large the blob.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from pathlib import Path

from leap.soledad.errors import BadReply, Refused, Unreachable
from leap.soledad.remote.transport import Transport
from leap.soledad.wire import API, UploadState, WireError, decode

PIECE = 256 * 1024
MAX_CUTS = 100  # a provider could say of each cut that it got one octet more


async def send_file(http: Transport, blob_id: str, path: Path, sha256: bytes) -> None:
    """Stores the octets of a file as a blob, durably. Refused: blob-differs, bad-digest, storage-full, too-large."""
    size = (await asyncio.to_thread(path.stat)).st_size
    best, cut, cuts, garbled = -1, None, 0, False
    while True:
        state = await upload_state(http, blob_id)
        if state.sha256 or state.stored > size:
            if state.sha256 == sha256:
                return
            raise Refused("blob-differs", "the provider has another blob of this id", 409)
        if state.stored <= best or cuts > MAX_CUTS:
            assert cut is not None
            raise cut
        best = state.stored
        try:
            await _send_from(http, blob_id, path, state.stored, size, sha256)
        except Unreachable as error:
            cut, cuts = error, cuts + 1
        except Refused as error:
            if error.error == "bad-range":  # it got more, or less, than it said
                cut = Unreachable(f"{http.host} does not know how far an upload has come")
                cuts += 1
            elif error.error == "bad-digest" and not garbled:
                garbled, best = True, -1
            else:
                raise


async def upload_state(http: Transport, blob_id: str) -> UploadState:
    """How far an upload has come."""
    reply = await http.request("GET", f"{API}/blobs/{blob_id}/upload", limit=64 * 1024)
    try:
        return decode(reply.body, UploadState)
    except WireError as error:
        raise BadReply(
            f"{http.host} answered with something that is not in the protocol"
        ) from error


async def _send_from(
    http: Transport, blob_id: str, path: Path, start: int, size: int, sha256: bytes
) -> None:
    digest = base64.b64encode(sha256).decode("ascii")
    headers = {
        "Content-Type": "application/octet-stream",
        "Content-Range": f"bytes {start}-{size - 1}/{size}",  # RFC 9110 14.4, 14.5
        "Content-Length": str(size - start),
        "Repr-Digest": f"sha-256=:{digest}:",  # RFC 9530
    }
    file = await asyncio.to_thread(os.open, path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        await http.send(
            "PUT", f"{API}/blobs/{blob_id}", _pieces(file, start, size), size - start, headers
        )
    finally:
        os.close(file)


async def _pieces(file: int, start: int, end: int) -> AsyncIterator[bytes]:
    while start < end:
        piece = await asyncio.to_thread(os.pread, file, min(PIECE, end - start), start)
        if not piece:
            raise BadReply("a blob's file became shorter while it was sent")
        yield piece
        start += len(piece)


async def receive(http: Transport, blob_id: str, start: int, limit: int) -> AsyncIterator[bytes]:
    """The sealed bytes from `start`, as they come, `limit` at most; nothing if the blob ends there.

    Raises Unreachable when it is cut, Refused (not-found).
    """
    headers = {"Range": f"bytes={start}-"} if start else {}
    try:
        async for piece in http.receive(f"{API}/blobs/{blob_id}", headers, start, limit):
            yield piece
    except Refused as error:
        if error.status != 416:  # RFC 9110 15.5.17: it ends before `start`
            raise
