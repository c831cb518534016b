"""What an account's blobs are, by id: for finding orphans, and for knowing what is safely there."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from leap.provider.provider import Provider
from leap.provider.storage.blobs import INLINE_BYTES
from leap.soledad.errors import BadReply
from leap.soledad.remote.client import ProviderClient
from leap.soledad.wire import BlobsList, BlobsListed, ListedBlob
from tests.provider.world import Clock, blob, served


async def test_blobs_are_listed_by_id_with_size_hash_and_age(
    provider: Provider, alice: int, bob: int, clock: Clock
) -> None:
    first = [blob(10), blob(INLINE_BYTES)]
    await provider.blobs.put(alice, first)
    await provider.blobs.put(bob, [blob(10)])
    clock.at += 100
    second = [blob(1000), blob(2 * INLINE_BYTES)]
    await provider.blobs.put(alice, [*second, first[0]])  # putting it again makes it young
    clock.at += 5
    listed = await provider.blobs.listed(alice, BlobsList())
    expected = [
        ListedBlob(
            blob_id=one.blob_id,
            size=len(one.sealed),
            sha256=hashlib.sha256(one.sealed).digest(),
            age=5 if one in (first[0], *second) else 105,
        )
        for one in sorted([*first, *second], key=lambda one: one.blob_id)
    ]
    assert listed == BlobsListed(blobs=expected, more=False)


async def test_a_list_goes_on_after_the_last_one(provider: Provider, alice: int) -> None:
    blobs = [blob(10) for _ in range(7)]
    await provider.blobs.put(alice, blobs)
    ids: list[str] = []
    after, more = "", True
    while more:
        page = await provider.blobs.listed(alice, BlobsList(after=after, limit=3))
        ids += [one.blob_id for one in page.blobs]
        after, more = ids[-1], page.more
    assert ids == sorted(one.blob_id for one in blobs)


async def test_a_device_lists_over_https_and_only_with_its_token(
    provider: Provider, tmp_path: Path
) -> None:
    async with served(provider, tmp_path) as web:
        token = await web.device("alice")
        async with ProviderClient(web.url, ca_file=web.ca_file, token=token) as client:
            one = blob(10)
            await client.put_blobs([one])
            listed = await client.list_blobs()
            assert [found.blob_id for found in listed.blobs] == [one.blob_id]
            assert (await client.list_blobs(one.blob_id)).blobs == []
        status, error, _ = await web.refused("POST", "/1/blobs/list", BlobsList())
        assert (status, error) == (401, "unauthorized")
        status, error, _ = await web.refused(
            "POST", "/1/blobs/list", b"\x81\xa5after\xa3../", token=token
        )
        assert (status, error) == (400, "bad-request")


async def test_a_list_without_order_or_end_is_not_believed(
    provider: Provider, alice: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = ListedBlob(blob_id="1" * 32, size=1, sha256=bytes(32), age=1)
    two = ListedBlob(blob_id="2" * 32, size=1, sha256=bytes(32), age=1)
    async with served(provider, tmp_path) as web:
        token, _ = await provider.tokens.issue(alice, "laptop", "laptop")
        async with ProviderClient(web.url, ca_file=web.ca_file, token=token) as client:
            for blobs, more in (([two, one], False), ([one, one], False), ([], True)):

                async def lie(
                    *_: object, told: list[ListedBlob] = blobs, more: bool = more
                ) -> BlobsListed:
                    return BlobsListed(blobs=told, more=more)

                monkeypatch.setattr(provider.blobs, "listed", lie)
                with pytest.raises(BadReply):
                    await client.list_blobs()
