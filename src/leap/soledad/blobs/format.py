"""The sealed form of a blob: chunks of 64 kB, each compressed and authenticated, readable by range.

    0      format  0x01
    1..4   epoch   unsigned, big-endian
    5..36  salt    32 random octets
    37..   index   AEAD of one entry per chunk, 4 octets each: high bit = zstd, the rest = octets in the chunk
           chunks  AEAD of each 64 kB of plaintext, in order, each stored as it is or as one zstd frame
           filler  AEAD of zeros, so that the whole is max(1 KiB, Padmé) long

AEAD is AES-256-GCM with the header as associated data. The number of chunks follows from the plaintext size in the
reference, so that neither it nor a chunk's compressed size can be seen from outside.

Invariants:
* key = HKDF-SHA256(epoch key, salt, label ‖ account ‖ blob id ‖ plaintext size ‖ epoch), used for one blob.
* nonce = part (1 octet) ‖ zeros ‖ chunk number (8 octets) ‖ last (1 octet), as in STREAM (Hoang, Reyhanitabar,
  Rogaway, Vizár 2015): no two AEAD calls under one key share it, no chunk can be moved, repeated or cut off.
* Blob ids are random: no id or size is computed from content alone, so nobody can test what a user holds.
* A blob read whole is checked against the SHA-256 of its reference first. What fails raises BlobAltered.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM

from leap.soledad.envelope import (
    SALT_SIZE,
    TAG_SIZE,
    Epoch,
    RandomBytes,
    derive_key,
    padded_size,
    with_lengths,
    zstd_compress,
    zstd_decompress,
)
from leap.soledad.errors import BlobAltered, ForgedEnvelope, UnknownEpoch, UnknownSuite
from leap.soledad.wire import MAX_BLOB_BYTES, BlobId

FORMAT = 1
CHUNK = 64 * 1024
HEADER = struct.Struct(f">BI{SALT_SIZE}s")
MAX_SIZE = (
    MAX_BLOB_BYTES * 7 // 8
)  # leaves room for padding (at most an eighth) below the limit of the wire

_LABEL = b"leap.soledad blob 1"
_KEY_FIELDS = struct.Struct(
    ">I32sIQII"
)  # blob id (32 hex digits), size, epoch, each behind its length
ENTRY_SIZE = 4
PACKED = 1 << 31
_INDEX, _DATA, _FILLER = 0, 1, 2

Sha256Hex = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]


class BlobRef(msgspec.Struct, frozen=True):
    """What the log says of a blob: its id, the SHA-256 (hex) of its sealed bytes, the octets of its plaintext."""

    blob_id: BlobId
    sha256: Sha256Hex
    size: Annotated[int, msgspec.Meta(ge=0, le=MAX_SIZE)]


class SealedBlob(msgspec.Struct, frozen=True):
    """A blob as the provider stores it, and the reference that verifies it."""

    ref: BlobRef
    sealed: bytes

    def __repr__(self) -> str:
        return f"SealedBlob(ref={self.ref!r})"


def seal_blob(
    data: bytes, *, account: str, epoch: Epoch, random_bytes: RandomBytes = os.urandom
) -> SealedBlob:
    """Seal immutable bytes under a new random id. Raises ValueError above the size limit.

    CPU: about 5 ms a megabyte, so anything large is sealed outside the event loop.
    """
    sealer = Sealer(len(data), account=account, epoch=epoch, random_bytes=random_bytes)
    whole = memoryview(data)
    parts = [sealer.seal_chunk(whole[at : at + CHUNK]) for at in range(0, len(data), CHUNK)]
    filler = b"".join(sealer.filler())
    sealed = b"".join((sealer.beginning(), *parts, filler))
    return SealedBlob(
        BlobRef(sealer.blob_id, hashlib.sha256(sealed).hexdigest(), len(data)), sealed
    )


class Sealer:
    """Seals one blob of known size chunk by chunk; what stands in front of the chunks is known after the last one."""

    def __init__(
        self, size: int, *, account: str, epoch: Epoch, random_bytes: RandomBytes = os.urandom
    ) -> None:
        """Raises ValueError above the size limit."""
        if not 0 <= size <= MAX_SIZE:
            raise ValueError(f"a blob of {size} octets is above the limit of {MAX_SIZE}")
        self.size = size
        self.blob_id = random_bytes(16).hex()
        self.offset = beginning_size(size)  # where the first chunk comes to lie
        self._header = HEADER.pack(FORMAT, epoch.number, random_bytes(SALT_SIZE))
        self._key = _key(self._header, account, self.blob_id, size, epoch)
        self._cipher = AESGCM(self._key)
        self._count = _chunks_of(size)
        self._entries = bytearray()
        self._sealed = self.offset
        self._number = 0

    def seal_chunk(self, chunk: bytes | memoryview) -> bytes:
        """The next chunk, sealed: 64 kB, or what is left of the size. Raises ValueError for another length."""
        number = self._number
        if number == self._count or len(chunk) != min(CHUNK, self.size - number * CHUNK):
            raise ValueError("a chunk of a blob has the wrong length")
        packed = zstd_compress(chunk)
        body, mark = (packed, PACKED) if len(packed) < len(chunk) else (chunk, 0)
        self._entries += (len(body) | mark).to_bytes(ENTRY_SIZE, "big")
        self._number += 1
        sealed = self._cipher.encrypt(
            _nonce(_DATA, number, self._number == self._count), body, self._header
        )
        self._sealed += len(sealed)
        return sealed

    def filler(self) -> Iterator[bytes]:
        """What follows the chunks, in pieces."""
        self._check_complete()
        length = self._sealed + TAG_SIZE
        zeros = padded_size(length) - length
        # As AESGCM.encrypt would give it at once: of a large blob it has tens of megabytes.
        encryptor = Cipher(AES(self._key), GCM(_nonce(_FILLER, 0, True))).encryptor()
        encryptor.authenticate_additional_data(self._header)
        while zeros:
            piece = min(zeros, CHUNK)
            yield encryptor.update(bytes(piece))
            zeros -= piece
        yield encryptor.finalize() + encryptor.tag

    def beginning(self) -> bytes:
        """Header and index, which stand in front of the chunks."""
        self._check_complete()
        index = self._cipher.encrypt(_nonce(_INDEX, 0, True), bytes(self._entries), self._header)
        return self._header + index

    def _check_complete(self) -> None:
        if self._number != self._count:
            raise ValueError("the content of a blob is shorter than announced")


def open_blob(
    sealed: bytes,
    ref: BlobRef,
    *,
    account: str,
    epochs: Mapping[int, Epoch],
    start: int = 0,
    length: int | None = None,
) -> bytes:
    """The plaintext, or `length` octets of it from `start`, of a blob whose sealed bytes are all at hand.

    Read whole, it is compared with the reference's SHA-256; read in part, with the tags of the chunks touched.
    Raises BlobAltered, UnknownSuite or UnknownEpoch.
    """
    if start == 0 and (length is None or length >= ref.size):
        check_whole(sealed, ref)
        if 0 < ref.size <= CHUNK:
            return open_index(sealed, ref, account=account, epochs=epochs).open_only_chunk(sealed)
    index = open_index(sealed, ref, account=account, epochs=epochs)
    first, end = index.span(start, length)
    return index.open_span(memoryview(sealed)[first:end], start, length)


def check_whole(sealed: bytes, ref: BlobRef) -> None:
    """Raise BlobAltered unless these are the sealed bytes the reference names."""
    if hashlib.sha256(sealed).hexdigest() != ref.sha256:
        raise BlobAltered(f"blob {ref.blob_id} is not the one that was stored")


def index_size(ref: BlobRef) -> int:
    """How many octets at the beginning of the sealed blob hold header and index: what to fetch before a range."""
    return beginning_size(ref.size)


def beginning_size(size: int) -> int:
    """The octets of header and index of a blob with so many octets of plaintext."""
    return HEADER.size + _chunks_of(size) * ENTRY_SIZE + TAG_SIZE


def most_sealed(size: int) -> int:
    """The most octets a blob with so many octets of plaintext has when it is sealed."""
    return padded_size(beginning_size(size) + size + (_chunks_of(size) + 1) * TAG_SIZE)


def open_index(
    beginning: bytes, ref: BlobRef, *, account: str, epochs: Mapping[int, Epoch]
) -> BlobIndex:
    """The index from at least the first `index_size(ref)` octets; raises BlobAltered, UnknownSuite, UnknownEpoch."""
    size = index_size(ref)
    if len(beginning) < size:
        raise BlobAltered(f"blob {ref.blob_id} is cut short")
    if beginning[0] != FORMAT:
        raise UnknownSuite(
            f"blob {ref.blob_id} has format {beginning[0]}, which this version does not know"
        )
    header = bytes(beginning[: HEADER.size])
    number = HEADER.unpack(header)[1]
    epoch = epochs.get(number)
    if epoch is None:
        raise UnknownEpoch(number)
    cipher = AESGCM(_key(header, account, ref.blob_id, ref.size, epoch))
    try:
        entries = cipher.decrypt(
            _nonce(_INDEX, 0, True), bytes(beginning[HEADER.size : size]), header
        )
    except InvalidTag:
        raise BlobAltered(f"blob {ref.blob_id} was altered") from None
    return BlobIndex(ref, cipher, header, struct.unpack(f">{len(entries) // ENTRY_SIZE}I", entries))


class BlobIndex:
    """Where each chunk of one sealed blob lies, and the key to open it."""

    def __init__(
        self, ref: BlobRef, cipher: AESGCM, header: bytes, entries: tuple[int, ...]
    ) -> None:
        self._ref = ref
        self._cipher = cipher
        self._header = header
        self._entries = entries
        lengths = ((entry & ~PACKED) + TAG_SIZE for entry in entries)
        self._offsets = list(accumulate(lengths, initial=index_size(ref)))

    def span(self, start: int = 0, length: int | None = None) -> tuple[int, int]:
        """Where in the sealed bytes (from, up to) the chunks of this plaintext range lie."""
        chunks = self._chunks(start, length)
        return self._offsets[chunks.start], self._offsets[chunks.stop]

    def open_span(
        self, sealed: bytes | memoryview, start: int = 0, length: int | None = None
    ) -> bytes:
        """The plaintext range, from exactly the sealed bytes that `span` names for it; raises BlobAltered."""
        chunks = self._chunks(start, length)
        first, end = self.span(start, length)
        if len(sealed) != end - first:
            raise BlobAltered(f"blob {self._ref.blob_id} is cut short")
        opened = b"".join(self._open(memoryview(sealed), chunks))
        skip = start - chunks.start * CHUNK
        return opened[skip:] if length is None else opened[skip : skip + max(0, length)]

    def open_only_chunk(self, sealed: bytes) -> bytes:
        """The plaintext of a blob of one chunk, from all its sealed bytes: most mail is that, and is read in
        thousands; raises BlobAltered."""
        first, end = self._offsets
        return b"".join(self._open(memoryview(sealed)[first:end], range(1)))

    def _chunks(self, start: int, length: int | None) -> range:
        size = self._ref.size
        if start < 0:
            raise ValueError("a range begins at 0 or later")
        begin = min(start, size)
        end = size if length is None else min(size, begin + max(0, length))
        if begin == end:
            return range(begin // CHUNK, begin // CHUNK)
        return range(begin // CHUNK, (end + CHUNK - 1) // CHUNK)

    def _open(self, sealed: memoryview, chunks: range) -> Iterator[bytes]:
        count, base = len(self._entries), self._offsets[chunks.start]
        for number in chunks:
            entry = self._entries[number]
            part = sealed[self._offsets[number] - base : self._offsets[number + 1] - base]
            nonce = _nonce(_DATA, number, number == count - 1)
            try:
                body = self._cipher.decrypt(nonce, part, self._header)
                chunk = zstd_decompress(body, CHUNK) if entry & PACKED else body
            except (InvalidTag, ForgedEnvelope):
                raise BlobAltered(f"blob {self._ref.blob_id} was altered") from None
            if len(chunk) != min(CHUNK, self._ref.size - number * CHUNK):
                raise BlobAltered(f"blob {self._ref.blob_id} has a chunk of the wrong size")
            yield chunk


def _chunks_of(size: int) -> int:
    return (size + CHUNK - 1) // CHUNK


def index_nonce() -> bytes:
    """Of the index."""
    return _nonce(_INDEX, 0, True)


def chunk_nonce(number: int, *, last: bool) -> bytes:
    """Of a chunk."""
    return _nonce(_DATA, number, last)


def _nonce(part: int, number: int, last: bool) -> bytes:
    return bytes((part, 0, 0)) + number.to_bytes(8, "big") + bytes((last,))


def _key(header: bytes, account: str, blob_id: str, size: int, epoch: Epoch) -> bytes:
    return blob_key(HEADER.unpack(header)[2], key_place(account), blob_id, size, epoch)


def key_place(account: str) -> bytes:
    """What the keys of all blobs of an account have in common."""
    return with_lengths(_LABEL, account.encode())


def blob_key(salt: bytes, place: bytes, blob_id: str, size: int, epoch: Epoch) -> bytes:
    """The key of one blob, which says where it belongs; `place` is `key_place` of its account."""
    # The fields behind the account as `with_lengths` joins them, in one call: lists of mail are read in thousands
    rest = _KEY_FIELDS.pack(32, blob_id.encode(), 8, size, 4, epoch.number)
    return derive_key(epoch.key, salt, place + rest)
