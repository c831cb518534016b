"""Sealed blobs: whole, by range, altered, cut and swapped."""

import hashlib
import os
import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.soledad.blobs.format import (
    CHUNK,
    HEADER,
    BlobRef,
    check_whole,
    index_size,
    open_blob,
    open_index,
    seal_blob,
)
from leap.soledad.envelope import Epoch, padded_size
from leap.soledad.errors import BlobAltered, UnknownEpoch, UnknownSuite

EPOCH = Epoch(3, b"k" * 32)
EPOCHS = {3: EPOCH}
ACCOUNT = "a1"
SIZES = [0, 1, 100, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 17]


def seal(data: bytes):
    return seal_blob(data, account=ACCOUNT, epoch=EPOCH)


def opened(blob, **arguments):
    return open_blob(blob.sealed, blob.ref, account=ACCOUNT, epochs=EPOCHS, **arguments)


def mixed(size: int) -> bytes:
    """Chunks that compress and chunks that do not, in turn."""
    source = random.Random(size)
    pieces = []
    while sum(map(len, pieces)) < size:
        pieces.append(
            source.randbytes(CHUNK) if len(pieces) % 2 else b"a line of a mail\r\n" * 3641
        )
    return b"".join(pieces)[:size]


@pytest.mark.parametrize("size", SIZES)
def test_a_blob_opens_as_it_was(size):
    data = mixed(size)
    blob = seal(data)
    assert blob.ref.size == size
    assert blob.ref.sha256 == hashlib.sha256(blob.sealed).hexdigest()
    assert opened(blob) == data


@pytest.mark.parametrize("size", SIZES)
def test_any_range_can_be_read(size):
    data = mixed(size)
    blob = seal(data)
    source = random.Random(1)
    places = [
        0,
        1,
        CHUNK - 1,
        CHUNK,
        CHUNK + 1,
        size,
        size + 5,
        *(source.randrange(size + 1) for _ in range(5)),
    ]
    for start in places:
        for length in (0, 1, 2, CHUNK, None, source.randrange(size + 1)):
            expected = data[start:] if length is None else data[start : start + length]
            assert opened(blob, start=start, length=length) == expected


def test_a_range_needs_only_the_index_and_its_own_chunks():
    """What a device does over the network: two range requests, none of them the whole blob."""
    data = mixed(20 * CHUNK)
    blob = seal(data)
    beginning = blob.sealed[: index_size(blob.ref)]
    index = open_index(beginning, blob.ref, account=ACCOUNT, epochs=EPOCHS)
    first, end = index.span(5 * CHUNK + 10, 100)
    assert end - first <= CHUNK + 16
    assert (
        index.open_span(blob.sealed[first:end], 5 * CHUNK + 10, 100) == data[5 * CHUNK + 10 :][:100]
    )
    with pytest.raises(BlobAltered):
        index.open_span(blob.sealed[first : end - 1], 5 * CHUNK + 10, 100)


def test_every_altered_octet_is_found_when_read_whole():
    blob = seal(b"hello")
    for position in range(len(blob.sealed)):
        altered = bytearray(blob.sealed)
        altered[position] ^= 1
        with pytest.raises(BlobAltered):
            open_blob(bytes(altered), blob.ref, account=ACCOUNT, epochs=EPOCHS)


def test_an_altered_chunk_is_found_when_read_by_range():
    data = mixed(3 * CHUNK)
    blob = seal(data)
    index = open_index(blob.sealed, blob.ref, account=ACCOUNT, epochs=EPOCHS)
    first, end = index.span(CHUNK, 10)
    for position in (first, (first + end) // 2, end - 1):
        altered = bytearray(blob.sealed)
        altered[position] ^= 1
        with pytest.raises(BlobAltered):
            open_blob(
                bytes(altered), blob.ref, account=ACCOUNT, epochs=EPOCHS, start=CHUNK, length=10
            )
        assert (
            open_blob(bytes(altered), blob.ref, account=ACCOUNT, epochs=EPOCHS, start=0, length=10)
            == data[:10]
        )


def test_chunks_cannot_change_places():
    data = os.urandom(2 * CHUNK)
    blob = seal(data)
    start, size = index_size(blob.ref), CHUNK + 16
    swapped = bytearray(blob.sealed)
    swapped[start : start + 2 * size] = (
        blob.sealed[start + size : start + 2 * size] + blob.sealed[start : start + size]
    )
    with pytest.raises(BlobAltered):
        open_blob(bytes(swapped), blob.ref, account=ACCOUNT, epochs=EPOCHS, start=1, length=10)


@pytest.mark.parametrize(
    "change",
    [{"blob_id": "0" * 32}, {"size": 2 * CHUNK}, {"size": 3 * CHUNK - 1}, {"size": 0}],
)
def test_a_reference_that_says_something_else_opens_nothing(change):
    blob = seal(os.urandom(3 * CHUNK))
    ref = msgspec.structs.replace(blob.ref, **change)
    for part in ({}, {"start": 1, "length": 5}):
        with pytest.raises(BlobAltered):
            open_blob(blob.sealed, ref, account=ACCOUNT, epochs=EPOCHS, **part)


def test_a_blob_of_another_account_or_key_does_not_open():
    blob = seal(b"hello")
    with pytest.raises(BlobAltered):
        open_blob(blob.sealed, blob.ref, account="a2", epochs=EPOCHS)
    with pytest.raises(BlobAltered):
        open_blob(blob.sealed, blob.ref, account=ACCOUNT, epochs={3: Epoch(3, b"z" * 32)})
    with pytest.raises(UnknownEpoch):
        open_blob(blob.sealed, blob.ref, account=ACCOUNT, epochs={})


def test_another_format_is_named_as_such():
    blob = seal(b"hello")
    other = b"\x09" + blob.sealed[1:]
    ref = msgspec.structs.replace(blob.ref, sha256=hashlib.sha256(other).hexdigest())
    with pytest.raises(UnknownSuite):
        open_blob(other, ref, account=ACCOUNT, epochs=EPOCHS)


def test_a_cut_blob_is_found_even_by_range():
    blob = seal(mixed(2 * CHUNK))
    for length in (0, 1, HEADER.size, index_size(blob.ref) - 1, index_size(blob.ref) + 5):
        with pytest.raises(BlobAltered):
            open_blob(
                blob.sealed[:length],
                blob.ref,
                account=ACCOUNT,
                epochs=EPOCHS,
                start=1,
                length=CHUNK,
            )


@given(st.binary(max_size=400), st.integers(min_value=0, max_value=10**6))
@settings(max_examples=30)
def test_bytes_from_outside_raise_only_theirs(data, size):
    ref = BlobRef("0" * 32, hashlib.sha256(data).hexdigest(), size)
    check_whole(data, ref)
    with pytest.raises((BlobAltered, UnknownSuite, UnknownEpoch)):
        open_blob(data, ref, account=ACCOUNT, epochs=EPOCHS)


@pytest.mark.parametrize("size", [0, 10, 5_000, 100_000, 1_000_000])
def test_the_size_seen_from_outside_is_rounded(size):
    sealed = seal(os.urandom(size)).sealed
    assert len(sealed) == padded_size(len(sealed))


def test_equal_data_never_looks_equal():
    first, second = seal(b"the same"), seal(b"the same")
    assert first.ref.blob_id != second.ref.blob_id
    assert first.sealed[37:] != second.sealed[37:]


def test_a_compressible_blob_gets_small_and_its_padding_is_not_zeros():
    blob = seal(b"a line of a mail\r\n" * 50_000)
    assert len(blob.sealed) < 10_000
    tail = seal(b"").sealed[-500:]
    assert len(set(tail)) > 100


def test_nothing_of_the_content_is_shown():
    assert "hello" not in repr(seal(b"hello" * 100))


def test_known_answer():
    """The format as it stands: a change of any octet breaks what people have stored."""
    data = b"leap" * 40_000
    blob = seal_blob(data, account=ACCOUNT, epoch=EPOCH, random_bytes=lambda size: b"s" * size)
    stored = seal_blob(b"leap", account=ACCOUNT, epoch=EPOCH, random_bytes=lambda size: b"s" * size)
    assert (len(blob.sealed), len(stored.sealed)) == (1024, 1024)
    assert stored.ref.sha256 == "64c783472fe41ea6938710b49cc43582f5debaa2b0e5785538f27bec18573447"
