"""Opens many whole blobs in one go, as lists of mail are read: what the interpreter's lock is given up for, it is given
up for once.

Invariant: every blob's index and chunks are authenticated, in their place and under the blob's own key. The SHA-256 of
the whole was compared when the blob was put here; whoever calls this has compared that hash with the reference's.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from leap.soledad.blobs.format import (
    CHUNK,
    ENTRY_SIZE,
    FORMAT,
    HEADER,
    PACKED,
    BlobRef,
    beginning_size,
    blob_key,
    chunk_nonce,
    index_nonce,
    key_place,
)
from leap.soledad.envelope import TAG_SIZE, Epoch, zstd_decompress_all
from leap.soledad.errors import BlobAltered, ForgedEnvelope, UnknownEpoch, UnknownSuite

_INDEX_NONCE = index_nonce()
_ONLY_CHUNK = chunk_nonce(0, last=True)


def open_many(
    blobs: Sequence[tuple[bytes | memoryview, BlobRef]],
    *,
    account: str,
    epochs: Mapping[int, Epoch],
) -> list[bytes]:
    """The plaintext of each. Raises BlobAltered, UnknownSuite or UnknownEpoch if one of them does not open."""
    place = key_place(account)
    frames: list[bytes] = []  # of all blobs, to be unpacked together
    opened: list[list[bytes | int]] = []  # of each blob: chunks, or the number of their frame
    for sealed, ref in blobs:
        chunks: list[bytes | int] = []
        for body, is_packed in _bodies(memoryview(sealed), ref, place, epochs):
            if is_packed:
                chunks.append(len(frames))
                frames.append(body)
            else:
                chunks.append(body)
        opened.append(chunks)
    try:
        unpacked = zstd_decompress_all(frames, CHUNK)
    except ForgedEnvelope:
        raise BlobAltered("one of several blobs was altered") from None
    return [
        _joined([unpacked[one] if isinstance(one, int) else one for one in chunks], ref)
        for chunks, (_, ref) in zip(opened, blobs, strict=True)
    ]


def _bodies(
    sealed: memoryview, ref: BlobRef, place: bytes, epochs: Mapping[int, Epoch]
) -> list[tuple[bytes, bool]]:
    """The authenticated chunks of a blob, and whether each is a zstd frame."""
    begin = beginning_size(ref.size)
    if len(sealed) < begin:
        raise BlobAltered(f"blob {ref.blob_id} is cut short")
    if sealed[0] != FORMAT:
        raise UnknownSuite(
            f"blob {ref.blob_id} has format {sealed[0]}, which this version does not know"
        )
    header = bytes(sealed[: HEADER.size])
    _, number, salt = HEADER.unpack(header)
    epoch = epochs.get(number)
    if epoch is None:
        raise UnknownEpoch(number)
    cipher = AESGCM(blob_key(salt, place, ref.blob_id, ref.size, epoch))
    try:
        entries = cipher.decrypt(_INDEX_NONCE, sealed[HEADER.size : begin], header)
        if len(entries) == ENTRY_SIZE:  # most mail
            entry = int.from_bytes(entries, "big")
            end = begin + (entry & ~PACKED) + TAG_SIZE
            return [(cipher.decrypt(_ONLY_CHUNK, sealed[begin:end], header), bool(entry & PACKED))]
        listed = struct.unpack(f">{len(entries) // ENTRY_SIZE}I", entries)
        places = accumulate(((one & ~PACKED) + TAG_SIZE for one in listed), initial=begin)
        last = len(listed) - 1
        return [
            (
                cipher.decrypt(chunk_nonce(at, last=at == last), sealed[start:end], header),
                bool(listed[at] & PACKED),
            )
            for at, (start, end) in enumerate(pairwise(places))
        ]
    except InvalidTag:
        raise BlobAltered(f"blob {ref.blob_id} was altered") from None


def _joined(chunks: Sequence[bytes], ref: BlobRef) -> bytes:
    whole = chunks[0] if len(chunks) == 1 else b"".join(chunks)
    if len(whole) != ref.size or any(len(chunk) != CHUNK for chunk in chunks[:-1]):
        raise BlobAltered(f"blob {ref.blob_id} has a chunk of the wrong size")
    return whole
