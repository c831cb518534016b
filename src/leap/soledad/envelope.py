"""The one mandatory envelope around everything that leaves a device for the provider's log.

    0      format      0x01: zstd, Padmé, HKDF-SHA256, AES-256-GCM
    1..4   epoch       unsigned, big-endian: which epoch key
    5..36  salt        32 random octets, fresh for every seal
    37..   ciphertext  AES-256-GCM, 16 octets of tag at the end; inside it:
                       0     0x00 stored as it is, 0x01 zstd frame
                       1..8  length of the body, unsigned, big-endian
                       9..   body, then zeros up to max(1 KiB, Padmé)

Invariants:
* key = HKDF-SHA256(epoch key, salt, label ‖ kind ‖ account ‖ item id ‖ version ‖ epoch), fields with lengths, used
  for one seal. The provider keeps everything ever sent, refused pushes too, so no nonce may come from version or
  content: the nonce is always zero and the key is new each time (RFC 5116 section 3.2 asks for distinct nonces per
  key; here keys are distinct).
* Authenticated: all of the header (as associated data) and, through the key, the place where the item belongs. An
  item shown under another id, kind, version or account does not open.
* What does not open raises ForgedEnvelope; there is no unsealed form.
"""

from __future__ import annotations

import hmac
import os
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import msgspec
import zstandard
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from leap.soledad.errors import (
    CompressionBomb,
    ForgedEnvelope,
    NotSealed,
    UnknownEpoch,
    UnknownSuite,
)

FORMAT = 1
LAST_FORMAT = (
    31  # no format will be above it: from the blank on it is text, or a bare MessagePack value
)
SALT_SIZE = 32
TAG_SIZE = 16
HEADER = struct.Struct(f">BI{SALT_SIZE}s")
INNER = struct.Struct(">BQ")
MAX_PLAINTEXT = 64 * 1024 * 1024
SMALLEST = 1024  # most documents are smaller, so most look alike
ZSTD_LEVEL = 3  # zstd's own default: above it mail text gains 2 % and costs twice the time
NONCE = bytes(12)

RandomBytes = Callable[[int], bytes]

_LABEL = b"leap.soledad envelope 1"
_STORED, _ZSTD = 0, 1
_local = threading.local()


class Epoch(msgspec.Struct, frozen=True):
    """One epoch of an account: everything sealed between two changes of the key."""

    number: Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
    key: Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]

    def __repr__(self) -> str:
        return f"Epoch(number={self.number})"


def seal(
    plaintext: bytes,
    *,
    kind: str,
    account: str,
    item_id: bytes,
    version: int,
    epoch: Epoch,
    compress: bool = True,
    random_bytes: RandomBytes = os.urandom,
) -> bytes:
    """Seal one item for its place in the log.

    `version` counts the item's versions; `account` is the account id. Raises ValueError above 64 MiB.
    """
    if len(plaintext) > MAX_PLAINTEXT:
        raise ValueError(
            f"an item of {len(plaintext)} octets is above the limit of {MAX_PLAINTEXT}"
        )
    method, body = _STORED, plaintext
    if compress:
        packed = zstd_compress(plaintext)
        if len(packed) < len(plaintext):
            method, body = _ZSTD, packed
    inner = INNER.pack(method, len(body)) + body
    inner += bytes(padded_size(len(inner)) - len(inner))
    header = HEADER.pack(FORMAT, epoch.number, random_bytes(SALT_SIZE))
    key = _item_key(header, kind, account, item_id, version, epoch)
    return header + AESGCM(key).encrypt(NONCE, inner, header)


def open_envelope(
    sealed: bytes,
    *,
    kind: str,
    account: str,
    item_id: bytes,
    version: int,
    epochs: Mapping[int, Epoch],
    max_size: int = MAX_PLAINTEXT,
) -> bytes:
    """The plaintext of an item sealed for exactly this place.

    Raises UnknownSuite for another format, NotSealed for what has none, UnknownEpoch when the epoch's key is not in
    `epochs`, ForgedEnvelope otherwise. `max_size` limits the plaintext, in octets.
    """
    if not sealed:
        raise ForgedEnvelope("a sealed item is empty")
    if sealed[0] > LAST_FORMAT:
        raise NotSealed(f"a {kind} lies in clear where only sealed ones may lie")
    if sealed[0] != FORMAT:
        raise UnknownSuite(
            f"a sealed item has format {sealed[0]}, which this version does not know"
        )
    if len(sealed) < HEADER.size + INNER.size + TAG_SIZE:
        raise ForgedEnvelope("a sealed item is cut short")
    header = bytes(sealed[: HEADER.size])
    number = HEADER.unpack(header)[1]
    epoch = epochs.get(number)
    if epoch is None:
        raise UnknownEpoch(number)
    key = _item_key(header, kind, account, item_id, version, epoch)
    try:
        inner = AESGCM(key).decrypt(NONCE, memoryview(sealed)[HEADER.size :], header)
    except InvalidTag:
        raise ForgedEnvelope(f"a sealed {kind} was altered, or belongs to another place") from None
    method, length = INNER.unpack_from(inner)
    end = INNER.size + length
    if end > len(inner) or inner.count(0, end) != len(inner) - end:
        raise ForgedEnvelope(f"a sealed {kind} is padded wrongly")
    body = inner[INNER.size : end]
    if method == _STORED:
        if length > max_size:
            raise ForgedEnvelope(f"a sealed {kind} is larger than permitted")
        return body
    if method == _ZSTD:
        return zstd_decompress(body, max_size)
    raise ForgedEnvelope(f"a sealed {kind} is packed by an unknown method")


def item_id_of(id_key: bytes, doc_id: str) -> bytes:
    """The 32 octets by which the provider knows a document; they say nothing about its name."""
    return hmac.digest(id_key, b"item\0" + doc_id.encode(), "sha256")


def row_key_of(id_key: bytes, name: bytes) -> str:
    """A deterministic row id (hex) that only this account's devices can compute."""
    return hmac.digest(id_key, b"row\0" + name, "sha256").hex()


def padded_size(size: int) -> int:
    """The next Padmé size of at least 1 KiB: sizes leak at most log log bits (Nikitin et al. 2019, section 4)."""
    if size <= SMALLEST:
        return SMALLEST
    exponent = size.bit_length() - 1
    free_bits = exponent - exponent.bit_length()
    mask = (1 << free_bits) - 1
    return (size + mask) & ~mask


def derive_key(secret: bytes, salt: bytes, info: bytes, length: int = 32) -> bytes:
    """HKDF-SHA256 (RFC 5869)."""
    # RFC 5869 2.2, 2.3 in two calls instead of objects: a sixth of the time, and every blob has a key of its own
    extracted = hmac.digest(salt or bytes(32), secret, "sha256")
    block, made = b"", b""
    for number in range(1, -(-length // 32) + 1):
        block = hmac.digest(extracted, block + info + bytes((number,)), "sha256")
        made += block
    return made[:length]


def with_lengths(*fields: bytes) -> bytes:
    """Fields joined so that no two different lists give the same octets."""
    return b"".join(len(field).to_bytes(4, "big") + field for field in fields)


def zstd_compress(data: bytes | memoryview) -> bytes:
    """One zstd frame that states its content size."""
    compressor: zstandard.ZstdCompressor | None = getattr(_local, "compressor", None)
    if compressor is None:  # one per thread: the objects are costly to make and not safe to share
        compressor = _local.compressor = zstandard.ZstdCompressor(
            level=ZSTD_LEVEL, write_checksum=False
        )
    return compressor.compress(data)


def zstd_decompress(frame: bytes, max_size: int) -> bytes:
    """The content of one frame; raises ForgedEnvelope if it is none, or larger than `max_size`."""
    try:
        # Looked at first: the library allocates what the frame claims, whatever limit it is given.
        claimed = zstandard.frame_content_size(frame)
        if not 0 <= claimed <= max_size:
            raise CompressionBomb("a sealed item unpacks to more than permitted")
        return _decompressor().decompress(frame, max_output_size=max_size, allow_extra_data=False)
    except zstandard.ZstdError:
        raise ForgedEnvelope("a sealed item does not unpack") from None


def zstd_decompress_all(frames: Sequence[bytes], max_size: int) -> list[bytes]:
    """The content of each frame, at most `max_size` octets, without giving up the interpreter's lock for each.

    Raises as `zstd_decompress`.
    """
    if len(frames) < 2 or "multi_decompress_to_buffer" not in zstandard.backend_features:
        return [zstd_decompress(frame, max_size) for frame in frames]
    try:
        if not all(0 < zstandard.frame_content_size(frame) <= max_size for frame in frames):
            return [zstd_decompress(frame, max_size) for frame in frames]  # which names the error
        several: list[bytes | bytearray | memoryview] = list(frames)
        found = _decompressor().multi_decompress_to_buffer(several)
        return [found[number].tobytes() for number in range(len(found))]
    except zstandard.ZstdError:
        raise ForgedEnvelope("a sealed item does not unpack") from None


def _decompressor() -> zstandard.ZstdDecompressor:
    decompressor: zstandard.ZstdDecompressor | None = getattr(_local, "decompressor", None)
    if decompressor is None:
        decompressor = _local.decompressor = zstandard.ZstdDecompressor()
    return decompressor


def _item_key(
    header: bytes, kind: str, account: str, item_id: bytes, version: int, epoch: Epoch
) -> bytes:
    number = HEADER.unpack(header)[1]
    place = with_lengths(
        _LABEL,
        kind.encode(),
        account.encode(),
        item_id,
        version.to_bytes(8, "big"),
        number.to_bytes(4, "big"),
    )
    return derive_key(epoch.key, header[5:], place)
