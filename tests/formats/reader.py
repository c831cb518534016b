"""A second reader of envelope, blob and head, written from docs/formats alone: nothing of leap is imported.

It answers the plaintext, or raises Unreadable with a reason.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import Any

import msgspec
import zstandard
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


class Unreadable(Exception):
    """Not what the documents describe."""


def hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 with SHA-256."""
    key = hmac.digest(salt or bytes(32), secret, "sha256")
    out, block = b"", b""
    for number in range(1, (length + 31) // 32 + 1):
        block = hmac.digest(key, block + info + bytes([number]), "sha256")
        out += block
    return out[:length]


def fields(*values: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(value)) + value for value in values)


def padme(length: int) -> int:
    """Padmé, but at least 1 KiB."""
    if length <= 1024:
        return 1024
    e = length.bit_length() - 1
    s = e.bit_length()
    mask = (1 << (e - s)) - 1
    return (length + mask) & ~mask


def unzstd(frame: bytes, limit: int) -> bytes:
    try:
        if not 0 <= zstandard.frame_content_size(frame) <= limit:
            raise Unreadable("a frame claims too much, or does not say how much")
        return zstandard.ZstdDecompressor().decompress(frame, allow_extra_data=False)
    except zstandard.ZstdError:
        raise Unreadable("not one zstd frame") from None


def decrypt(key: bytes, nonce: bytes, data: bytes, associated: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(nonce, data, associated)
    except (InvalidTag, ValueError):
        raise Unreadable("the tag does not hold") from None


def open_envelope(
    sealed: bytes, kind: str, account: str, item_id: bytes, version: int, epochs: dict[int, bytes]
) -> bytes:
    """docs/formats/envelope.md"""
    if len(sealed) < 37 + 9 + 16 or sealed[0] != 1:
        raise Unreadable("no envelope of format 1")
    epoch = int.from_bytes(sealed[1:5], "big")
    if epoch not in epochs:
        raise Unreadable("no key of this epoch")
    info = fields(
        b"leap.soledad envelope 1",
        kind.encode(),
        account.encode(),
        item_id,
        struct.pack(">Q", version),
        sealed[1:5],
    )
    key = hkdf(epochs[epoch], sealed[5:37], info, 32)
    inner = decrypt(key, bytes(12), sealed[37:], sealed[:37])
    method, length = struct.unpack_from(">BQ", inner)
    if len(inner) != padme(9 + length) and length <= len(inner):
        raise Unreadable("not padded as described")
    if 9 + length > len(inner) or any(inner[9 + length :]):
        raise Unreadable("the filling is not zeros")
    body = inner[9 : 9 + length]
    if method == 0:
        return body
    if method == 1:
        return unzstd(body, 64 * 1024 * 1024)
    raise Unreadable("an unknown method")


def open_blob(
    sealed: bytes,
    account: str,
    blob_id: str,
    sha256: str,
    size: int,
    epochs: dict[int, bytes],
) -> bytes:
    """docs/formats/blob.md, read whole."""
    if hashlib.sha256(sealed).hexdigest() != sha256:
        raise Unreadable("not the blob of the reference")
    if len(sealed) < 37 or sealed[0] != 1:
        raise Unreadable("no blob of format 1")
    epoch = int.from_bytes(sealed[1:5], "big")
    if epoch not in epochs:
        raise Unreadable("no key of this epoch")
    info = fields(
        b"leap.soledad blob 1",
        account.encode(),
        blob_id.encode(),
        struct.pack(">Q", size),
        sealed[1:5],
    )
    key, header = hkdf(epochs[epoch], sealed[5:37], info, 32), sealed[:37]

    def nonce(part: int, number: int, last: bool) -> bytes:
        return bytes([part, 0, 0]) + struct.pack(">Q", number) + bytes([last])

    count = (size + 65535) // 65536
    place = 37 + 4 * count + 16
    if len(sealed) < place:
        raise Unreadable("cut short")
    index = decrypt(key, nonce(0, 0, True), sealed[37:place], header)
    out = []
    for number, (entry,) in enumerate(struct.iter_unpack(">I", index)):
        length = (entry & 0x7FFFFFFF) + 16
        part = sealed[place : place + length]
        place += length
        body = decrypt(key, nonce(1, number, number == count - 1), part, header)
        out.append(unzstd(body, 65536) if entry >> 31 else body)
    if any(decrypt(key, nonce(2, 0, True), sealed[place:], header)):
        raise Unreadable("the filler is not zeros")
    plaintext = b"".join(out)
    if len(plaintext) != size or [len(chunk) for chunk in out[:-1]] != [65536] * (
        count - 1 if count else 0
    ):
        raise Unreadable("chunks of the wrong size")
    return plaintext


def open_head(
    sealed: bytes, account: str, epochs: dict[int, bytes], devices: dict[str, bytes], seq: int
) -> dict[str, Any]:
    """docs/formats/head.md; `devices` are the signing keys of those not revoked."""
    opened = open_envelope(sealed, "head", account, bytes(32), 0, epochs)
    try:
        body, signature = msgspec.msgpack.decode(opened, type=tuple[bytes, bytes])
        record: dict[str, Any] = msgspec.msgpack.decode(body, type=dict[str, Any])
    except msgspec.MsgspecError:
        raise Unreadable("not a record and its signature") from None
    key = devices.get(record["author"])
    if key is None:
        raise Unreadable("not a device that counts")
    try:
        signed = fields(b"leap.soledad head 1", account.encode(), body)
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
    except InvalidSignature:
        raise Unreadable("the signature does not hold") from None
    if record["seq"] != seq:
        raise Unreadable("shown at another seq")
    return record


def set_digest(epoch_key: bytes, account: str, items: list[tuple[bytes, int, bytes]]) -> bytes:
    """docs/formats/head.md"""
    key = hkdf(epoch_key, b"", fields(b"leap.soledad set digest 1", account.encode()), 64)
    total = 0
    for item_id, version, sha256 in items:
        term = hmac.digest(key, item_id + struct.pack(">Q", version) + sha256, "sha512")
        total = (total + int.from_bytes(term, "big")) % (1 << 512)
    return total.to_bytes(64, "big")
