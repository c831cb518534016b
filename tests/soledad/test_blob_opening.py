"""Many blobs opened together give what each gives by itself."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.soledad import envelope
from leap.soledad.blobs.format import CHUNK, open_blob, seal_blob
from leap.soledad.blobs.opening import open_many
from leap.soledad.envelope import Epoch
from leap.soledad.errors import BlobAltered, SoledadError, UnknownEpoch
from tests.soledad.test_blob_format import ACCOUNT, EPOCH, EPOCHS, SIZES, mixed, seal


@given(sizes=st.lists(st.sampled_from([*SIZES, 5_000, 30_000]), max_size=8))
@settings(max_examples=30, deadline=None)
def test_all_sizes_together(sizes: list[int]) -> None:
    contents = [mixed(size) for size in sizes]
    blobs = [seal(data) for data in contents]
    pairs = [(blob.sealed, blob.ref) for blob in blobs]
    assert open_many(pairs, account=ACCOUNT, epochs=EPOCHS) == contents


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_one_altered_octet_opens_nothing_or_is_in_the_filler(data: st.DataObject) -> None:
    size = data.draw(st.sampled_from([1, 3_000, CHUNK, CHUNK + 1]))
    good, bad = seal(mixed(500)), seal(mixed(size))
    sealed = bytearray(bad.sealed)
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        opened = open_many(
            [(good.sealed, good.ref), (bytes(sealed), bad.ref)], account=ACCOUNT, epochs=EPOCHS
        )
    except SoledadError:
        return
    assert opened == [mixed(500), mixed(size)]  # behind the last chunk there are only zeros, sealed


@given(cut=st.integers(0, 400))
@settings(max_examples=60, deadline=None)
def test_a_blob_that_is_cut_short_does_not_open(cut: int) -> None:
    blob = seal(bytes(range(256)) + b"x" * 44)
    with pytest.raises(BlobAltered):
        open_many([(blob.sealed[: min(cut, 150)], blob.ref)], account=ACCOUNT, epochs=EPOCHS)


def test_a_blob_of_another_id_size_or_epoch_does_not_open() -> None:
    one, two = seal(b"one"), seal(b"two")
    with pytest.raises(BlobAltered):
        open_many([(one.sealed, two.ref)], account=ACCOUNT, epochs=EPOCHS)
    with pytest.raises(BlobAltered):
        open_many([(one.sealed, one.ref)], account="another", epochs=EPOCHS)
    with pytest.raises(UnknownEpoch):
        open_many([(one.sealed, one.ref)], account=ACCOUNT, epochs={4: Epoch(4, EPOCH.key)})


def test_it_opens_the_same_without_what_only_the_c_library_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(envelope.zstandard, "backend_features", set())
    contents = [mixed(size) for size in SIZES]
    blobs = [seal_blob(data, account=ACCOUNT, epoch=EPOCH) for data in contents]
    pairs = [(blob.sealed, blob.ref) for blob in blobs]
    assert open_many(pairs, account=ACCOUNT, epochs=EPOCHS) == contents
    assert [
        open_blob(blob.sealed, blob.ref, account=ACCOUNT, epochs=EPOCHS) for blob in blobs
    ] == contents
