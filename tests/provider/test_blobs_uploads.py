"""Uploads which go on: in parts, after a cut, after the provider was stopped; and never as other bytes."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from leap.provider.provider import Provider
from leap.provider.storage.room import LOOK_EVERY
from leap.provider.storage.uploads import KEPT_SECONDS, MOST_AT_ONCE
from leap.soledad import wire
from leap.soledad.errors import Refused, Unreachable
from leap.soledad.remote.client import ProviderClient
from tests.provider.world import Clock, Served, blob, opened, served
from tests.soledad.cut_proxy import cut_line


@pytest.fixture
async def https(provider: Provider, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(provider, tmp_path) as running:
        yield running


def part_headers(data: bytes, start: int, end: int) -> dict[str, str]:
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    return {
        "Content-Range": f"bytes {start}-{end - 1}/{len(data)}",
        "Repr-Digest": f"sha-256=:{digest}:",
    }


async def put_part(https: Served, token: str, blob_id: str, data: bytes, start: int, end: int):
    return await https.call(
        "PUT",
        f"/1/blobs/{blob_id}",
        data[start:end],
        token=token,
        headers=part_headers(data, start, end),
    )


async def state_of(https: Served, token: str, blob_id: str) -> wire.UploadState:
    status, body = await https.call("GET", f"/1/blobs/{blob_id}/upload", token=token)
    assert status == 200
    return wire.decode(body, wire.UploadState)


def partial_files(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "provider" / "blobs" / "partial").iterdir())


async def test_parts_become_one_blob(https: Served, tmp_path: Path) -> None:
    token = await https.device("alice")
    blob_id, data = os.urandom(16).hex(), os.urandom(300_000)
    for start, end in ((0, 1), (1, 100_000), (100_000, 299_999)):
        status, body = await put_part(https, token, blob_id, data, start, end)
        assert status == 200
        assert wire.decode(body, wire.UploadState) == wire.UploadState(stored=end)
        assert (await https.call("GET", f"/1/blobs/{blob_id}", token=token))[0] == 404
    done = wire.UploadState(stored=300_000, sha256=hashlib.sha256(data).digest())
    for _ in range(2):  # the reply may be lost
        _, body = await put_part(https, token, blob_id, data, 299_999, 300_000)
        assert wire.decode(body, wire.UploadState) == done
    assert await state_of(https, token, blob_id) == done
    assert (await https.call("GET", f"/1/blobs/{blob_id}", token=token))[1] == data
    assert partial_files(tmp_path) == []


async def test_a_part_at_the_wrong_place_is_refused(https: Served) -> None:
    token = await https.device("alice")
    blob_id, data = os.urandom(16).hex(), os.urandom(1000)
    await put_part(https, token, blob_id, data, 0, 500)
    for start in (0, 400, 501):
        assert (await put_part(https, token, blob_id, data, start, 1000))[0] == 416
    assert (await state_of(https, token, blob_id)).stored == 500


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Content-Range", "bytes 0-9/5"),
        ("Content-Range", "bytes 9-0/20"),
        ("Content-Range", "lines 0-9/10"),
        ("Repr-Digest", "sha-256=:AAAA:"),
        ("Repr-Digest", "md5=:AAAA:"),
        ("Repr-Digest", ""),
    ],
)
async def test_a_part_has_to_say_where_it_belongs_and_what_the_whole_is(
    https: Served, name: str, value: str
) -> None:
    token = await https.device("alice")
    headers = part_headers(b"0123456789", 0, 10) | {name: value}
    status, error, _ = await https.refused(
        "PUT", f"/1/blobs/{'1' * 32}", b"0123456789", token=token, headers=headers
    )
    assert (status, error) == (400, "bad-request")


async def test_what_is_not_what_was_announced_is_forgotten(https: Served, tmp_path: Path) -> None:
    token = await https.device("alice")
    blob_id, data = os.urandom(16).hex(), os.urandom(1000)
    await put_part(https, token, blob_id, data, 0, 500)
    (path,) = partial_files(tmp_path)
    path.write_bytes(bytes(500))  # as a crash of the provider's machine may leave it
    status, error, _ = await https.refused(
        "PUT",
        f"/1/blobs/{blob_id}",
        data[500:],
        token=token,
        headers=part_headers(data, 500, 1000),
    )
    assert (status, error) == (400, "bad-digest")
    assert await state_of(https, token, blob_id) == wire.UploadState(stored=0)
    assert partial_files(tmp_path) == []


async def test_a_blob_is_never_changed_by_an_upload(https: Served) -> None:
    token = await https.device("alice")
    blob_id, data = os.urandom(16).hex(), os.urandom(1000)
    await put_part(https, token, blob_id, data, 0, 1000)
    status, error, _ = await https.refused(
        "PUT",
        f"/1/blobs/{blob_id}",
        bytes(1000),
        token=token,
        headers=part_headers(bytes(1000), 0, 1000),
    )
    assert (status, error) == (409, "blob-differs")


async def test_accounts_do_not_see_each_others_uploads(https: Served) -> None:
    alice, bob = await https.device("alice"), await https.device("bob")
    blob_id, data = os.urandom(16).hex(), os.urandom(1000)
    await put_part(https, alice, blob_id, data, 0, 600)
    assert (await state_of(https, bob, blob_id)).stored == 0
    other = os.urandom(1000)
    assert (await put_part(https, bob, blob_id, other, 0, 1000))[0] == 200
    assert (await put_part(https, alice, blob_id, data, 600, 1000))[0] == 200
    assert (await https.call("GET", f"/1/blobs/{blob_id}", token=alice))[1] == data


async def test_the_newest_request_goes_on_and_the_one_before_writes_no_more(
    https: Served, provider: Provider
) -> None:
    token = await https.device("alice")
    (number,) = await provider.db.read(lambda c: c.execute("SELECT number FROM account").fetchone())
    blob_id, data = os.urandom(16).hex(), os.urandom(1000)
    async with provider.uploads.receive(number, blob_id, 0) as first:
        await first.write(data[:400])
        assert (await put_part(https, token, blob_id, data, 400, 1000))[0] == 200
        with pytest.raises(Exception, match="another request"):
            await first.write(data[400:])
    assert (await https.call("GET", f"/1/blobs/{blob_id}", token=token))[1] == data


async def test_an_upload_nobody_goes_on_with_is_kept_for_a_day(
    provider: Provider, alice: int, clock: Clock, tmp_path: Path
) -> None:
    async with provider.uploads.receive(alice, "1" * 32, 0) as upload:
        await upload.write(b"some")
    (path,) = partial_files(tmp_path)
    os.utime(path, (clock.at, clock.at))
    clock.at += KEPT_SECONDS - 1
    assert await provider.uploads.expire() == 0
    clock.at += 2
    assert await provider.uploads.expire() == 1
    assert partial_files(tmp_path) == []


async def test_an_account_begins_so_many_uploads_and_the_oldest_makes_room(
    provider: Provider, alice: int, tmp_path: Path
) -> None:
    for number in range(MOST_AT_ONCE + 3):
        async with provider.uploads.receive(alice, f"{number:032x}", 0) as upload:
            await upload.write(b"some")
        os.utime(
            tmp_path / "provider" / "blobs" / "partial" / f"{alice}-{number:032x}",
            (number, number),
        )
    left = sorted(path.name for path in partial_files(tmp_path))
    assert left == [f"{alice}-{number:032x}" for number in range(3, MOST_AT_ONCE + 3)]


@pytest.mark.parametrize("cut", [2_000, 300_000, 999_000])
async def test_an_upload_that_is_cut_goes_on_where_it_stopped(
    https: Served, tmp_path: Path, cut: int
) -> None:
    token = await https.device("alice")
    data = os.urandom(1_000_000)
    path = tmp_path / "sealed"
    path.write_bytes(data)
    digest = hashlib.sha256(data).digest()
    async with cut_line(https.url) as line:
        # the first connection is cut while it asks or sends, the next ones in the middle of what is left
        line.up = [cut, 200_000]
        async with ProviderClient(line.url, ca_file=https.ca_file, token=token) as client:
            blob_id = os.urandom(16).hex()
            for _ in range(4):
                try:
                    await client.put_blob_file(blob_id, path, digest)
                    break
                except Unreachable:
                    continue
            else:
                raise AssertionError("the upload does not come to its end")
            assert await client.get_blob(blob_id) == data
        assert cut not in line.up
        assert line.sent_up < 1_700_000  # what had come was not sent again


async def test_an_upload_goes_on_after_the_provider_was_stopped(tmp_path: Path) -> None:
    data = os.urandom(600_000)
    path, blob_id = tmp_path / "sealed", os.urandom(16).hex()
    path.write_bytes(data)
    async with opened(tmp_path / "provider") as provider, served(provider, tmp_path) as https:
        token = await https.device("alice")
        await put_part(https, token, blob_id, data, 0, 400_000)
    async with (
        opened(tmp_path / "provider") as provider,
        served(provider, tmp_path) as https,
        cut_line(https.url) as line,
        ProviderClient(line.url, ca_file=https.ca_file, token=token) as client,
    ):
        assert (await state_of(https, token, blob_id)).stored == 400_000
        await client.put_blob_file(blob_id, path, hashlib.sha256(data).digest())
        assert line.sent_up < 250_000
        assert await client.get_blob(blob_id) == data


async def test_a_file_garbled_at_the_provider_is_sent_anew_once(
    https: Served, tmp_path: Path
) -> None:
    token = await https.device("alice")
    data = os.urandom(600_000)
    path, blob_id = tmp_path / "sealed", os.urandom(16).hex()
    path.write_bytes(data)
    await put_part(https, token, blob_id, data, 0, 400_000)
    partial_files(tmp_path)[0].write_bytes(bytes(400_000))
    async with ProviderClient(https.url, ca_file=https.ca_file, token=token) as client:
        await client.put_blob_file(blob_id, path, hashlib.sha256(data).digest())
        assert await client.get_blob(blob_id) == data
        path.write_bytes(bytes(600_000))
        with pytest.raises(Refused, match="send it again"):
            await client.put_blob_file(os.urandom(16).hex(), path, hashlib.sha256(data).digest())
    assert partial_files(tmp_path) == []


async def test_uploads_beside_each_other_do_not_mix(https: Served, tmp_path: Path) -> None:
    token = await https.device("alice")
    blobs = {os.urandom(16).hex(): os.urandom(400_000) for _ in range(4)}
    for blob_id, data in blobs.items():
        (tmp_path / blob_id).write_bytes(data)
    async with ProviderClient(https.url, ca_file=https.ca_file, token=token) as client:
        await asyncio.gather(
            *(
                client.put_blob_file(blob_id, tmp_path / blob_id, hashlib.sha256(data).digest())
                for blob_id, data in blobs.items()
            )
        )
        for blob_id, data in blobs.items():
            assert await client.get_blob(blob_id) == data


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(small)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("only root can mount a small file system to fill")
    yield small
    subprocess.run(["umount", str(small)], check=True)


@pytest.mark.parametrize("seen", ["before", "meanwhile"])
async def test_an_upload_without_room_takes_none_from_others_and_goes_on_with_room(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: str
) -> None:
    data = os.urandom(5_000_000)
    path, blob_id, digest = tmp_path / "sealed", os.urandom(16).hex(), hashlib.sha256(data).digest()
    path.write_bytes(data)
    async with (
        opened(small_disk / "provider") as provider,
        served(provider, tmp_path) as https,
    ):
        token = await https.device("alice")
        filler = small_disk / "other"
        filler.write_bytes(bytes(3_600_000))
        if seen == "meanwhile":  # others fill the disk while it comes
            real = provider.blobs.need
            monkeypatch.setattr(
                provider.blobs, "need", lambda size: None if size > 2_000_000 else real(size)
            )
        async with ProviderClient(https.url, ca_file=https.ca_file, token=token) as client:
            with pytest.raises((Refused, Unreachable)) as refused:
                await client.put_blob_file(blob_id, path, digest)
            if isinstance(refused.value, Refused):
                assert refused.value.error == "storage-full"
            await asyncio.sleep(LOOK_EVERY)
            await client.put_blobs([blob(1000)])
            assert list((small_disk / "provider" / "blobs" / "partial").iterdir()) == []
            filler.unlink()
            await asyncio.sleep(LOOK_EVERY)
            await client.put_blob_file(blob_id, path, digest)
            assert await client.get_blob(blob_id) == data
