"""Blobs: small and large, whole and by range, never changed, never another account's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leap.provider.errors import BadRange, BlobDiffers, NotFound, TooLarge
from leap.provider.http.blob_routes import _range
from leap.provider.provider import Provider
from leap.provider.storage.blobs import INLINE_BYTES
from leap.provider.storage.orphans import MIN_AGE, sweep
from leap.soledad.wire import MAX_BATCH_BYTES, Blob
from tests.provider.world import Clock, blob


def files_of(folder: Path) -> list[Path]:
    return [path for path in (folder / "provider" / "blobs").glob("*/*") if path.is_file()]


@pytest.mark.parametrize("size", [0, 1, INLINE_BYTES - 1, INLINE_BYTES, 3 * INLINE_BYTES])
async def test_a_blob_comes_back(provider: Provider, alice: int, size: int) -> None:
    one = blob(size)
    await provider.blobs.put(alice, [one])
    found = await provider.blobs.get(alice, [one.blob_id])
    assert (found.blobs, found.missing, found.more) == ([one], [], False)


async def test_a_blob_may_be_put_again_but_not_changed(
    provider: Provider, alice: int, tmp_path: Path
) -> None:
    for size in (100, INLINE_BYTES):
        one = blob(size)
        await provider.blobs.put(alice, [one])
        await provider.blobs.put(alice, [one])
        changed = Blob(blob_id=one.blob_id, sealed=b"!" + one.sealed[1:])
        with pytest.raises(BlobDiffers):
            await provider.blobs.put(alice, [blob(10), changed])
        assert (await provider.blobs.get(alice, [one.blob_id])).blobs == [one]
    assert len(files_of(tmp_path)) == 1


async def test_those_which_are_missing_are_named(provider: Provider, alice: int) -> None:
    one, other = blob(10), blob(10)
    await provider.blobs.put(alice, [one])
    found = await provider.blobs.get(alice, [other.blob_id, one.blob_id])
    assert (found.blobs, found.missing, found.more) == ([one], [other.blob_id], False)


async def test_a_reply_ends_at_the_limit_and_says_so(provider: Provider, alice: int) -> None:
    large = [blob(MAX_BATCH_BYTES // 2 - 10) for _ in range(3)]
    for one in large:
        await provider.blobs.put(alice, [one])
    found = await provider.blobs.get(alice, [one.blob_id for one in large])
    assert [one.blob_id for one in found.blobs] == [one.blob_id for one in large[:2]]
    assert found.more


async def test_other_accounts_have_other_blobs(provider: Provider, alice: int, bob: int) -> None:
    one = blob(10)
    await provider.blobs.put(alice, [one])
    assert (await provider.blobs.get(bob, [one.blob_id])).missing == [one.blob_id]
    with pytest.raises(NotFound):
        await provider.blobs.find(bob, one.blob_id)
    await provider.blobs.delete(bob, [one.blob_id])
    await provider.blobs.put(bob, [Blob(blob_id=one.blob_id, sealed=b"bob's own")])
    assert (await provider.blobs.get(alice, [one.blob_id])).blobs == [one]


async def test_deleting_frees_the_file(provider: Provider, alice: int, tmp_path: Path) -> None:
    one = blob(INLINE_BYTES)
    await provider.blobs.put(alice, [one])
    await provider.blobs.delete(alice, [one.blob_id, one.blob_id, os.urandom(16).hex()])
    assert files_of(tmp_path) == []
    assert (await provider.blobs.get(alice, [one.blob_id])).missing == [one.blob_id]


async def test_an_upload_in_pieces_becomes_a_blob(provider: Provider, alice: int) -> None:
    upload = provider.blobs.begin_upload()
    upload.write(b"one ")
    upload.write(b"two")
    blob_id = os.urandom(16).hex()
    await provider.blobs.finish_upload(alice, blob_id, upload)
    upload.discard()
    assert (await provider.blobs.get(alice, [blob_id])).blobs[0].sealed == b"one two"


async def test_too_many_are_refused(provider: Provider, alice: int) -> None:
    with pytest.raises(TooLarge):
        await provider.blobs.put(alice, [blob(1) for _ in range(501)])
    with pytest.raises(TooLarge):
        await provider.blobs.put(alice, [blob(MAX_BATCH_BYTES), blob(1)])
    with pytest.raises(TooLarge):
        await provider.blobs.get(alice, ["0" * 32] * 501)


async def test_files_without_a_row_are_swept_and_the_others_stay(
    provider: Provider, alice: int, tmp_path: Path, clock: Clock
) -> None:
    one = blob(INLINE_BYTES)
    await provider.blobs.put(alice, [one])
    files = provider._files
    orphan = files.path_of(files.write(b"left by a crash"))
    for path in files_of(tmp_path):
        os.utime(path, (clock.at, clock.at))
    assert await sweep(provider.db, files, clock.at + MIN_AGE - 1) == 0
    assert await sweep(provider.db, files, clock.at + MIN_AGE + 1) == 1
    assert not orphan.exists()
    assert (await provider.blobs.get(alice, [one.blob_id])).blobs == [one]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (None, None),
        ("bytes=0-9", (0, 10)),
        ("bytes=5-", (5, 100)),
        ("bytes=90-500", (90, 100)),
        ("bytes=-10", (90, 100)),
        ("bytes=-500", (0, 100)),
        ("bytes=0-1,5-6", None),
        ("bytes=-", None),
        ("lines=1-2", None),
    ],
)
def test_ranges_are_read_as_rfc_9110_says(asked: str, found: object) -> None:
    assert _range(asked, 100) == found


@pytest.mark.parametrize("asked", ["bytes=100-", "bytes=100-200", "bytes=-0", "bytes=7-3"])
def test_ranges_outside_are_refused(asked: str) -> None:
    with pytest.raises(BadRange):
        _range(asked, 100)


@given(st.text(max_size=30) | st.from_regex(r"bytes=[0-9,-]*"), st.integers(0, 1000))
def test_no_range_leaves_the_blob(asked: str, size: int) -> None:
    try:
        found = _range(asked, size)
    except BadRange:
        return
    assert found is None or 0 <= found[0] < found[1] <= size
