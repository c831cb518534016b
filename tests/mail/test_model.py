"""What changes of mail costs, counted: blobs written, octets pushed, chunks read, space that comes back."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leap.mail.contract import INBOX, MailboxId, NewMessage, RowId, SecurityStatus
from leap.mail.local import LocalAccount, open_mail_store
from leap.mail.message.compose import binary_entity
from leap.soledad.blobs import packs
from leap.soledad.maintenance import compact
from leap.soledad.remote import ProviderClient
from leap.soledad.store import Soledad
from leap.soledad.syncing import SyncEngine
from tests.mail.devices import ALICE, KEY, MailDevice, MailWorld
from tests.provider.world import opened, served
from tests.soledad.test_syncing_https import enrolled

ARCHIVE = MailboxId("archive")
RAW = b"From: bob@example.test\r\nSubject: Heron\r\n\r\nStands still.\r\n"
LARGE = 30 * 1024 * 1024
CHUNK = 64 * 1024  # of a blob's format


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[MailWorld]:
    world = MailWorld(tmp_path)
    yield world
    await world.close()


@pytest.fixture
async def laptop(world: MailWorld) -> MailDevice:
    return await world.device("laptop")


@pytest.fixture
async def phone(world: MailWorld, laptop: MailDevice) -> MailDevice:
    return await world.device("phone")


async def add(device: MailDevice, count: int = 1, raw: bytes = RAW) -> list[RowId]:
    made = await device.account.append(INBOX, [NewMessage(raw=raw)] * count)
    return [one.row_id for one in made]


async def blobs_here(store: Soledad) -> int:
    count: int = await store.read(lambda c: c.execute("SELECT count(*) FROM blob").fetchone()[0])
    return count


def pushed(world: MailWorld, since: int) -> tuple[int, int]:
    """Items, and octets of them, that devices put into the log after the first `since` commits."""
    items = [item for commit in world.provider.commits[since:] for item in commit.items]
    return len(items), sum(len(item.sealed) for item in items)


def mail(octets: int, seed: int) -> bytes:
    """A mail with a file in it which no compression makes small."""
    content = random.Random(seed).randbytes(octets * 74 // 101)
    return binary_entity(content, "image/png", fields=[b"Subject: Heron\r\n"])


# -- copy and move


async def test_a_copy_writes_no_blob_here_nor_at_the_provider(
    world: MailWorld, laptop: MailDevice, phone: MailDevice
) -> None:
    await add(laptop, 50, mail(8_000, 1))
    await world.settle()
    kept, there = await blobs_here(laptop.store), dict(world.provider.blobs)
    assert len(there) == kept == 100
    commits, asked = len(world.provider.commits), len(laptop.remote.requests)
    uids = [row.uid for row in await laptop.account.rows(INBOX)]
    for _ in range(3):
        await laptop.account.copy(INBOX, uids, ARCHIVE)
    await laptop.sync()
    assert await blobs_here(laptop.store) == kept
    assert world.provider.blobs == there
    assert "put_blobs" not in laptop.remote.requests[asked:]
    _, octets = pushed(world, commits)
    assert octets / 150 < 400  # a row with its references, less than a tenth of the mail

    fetched = len(phone.remote.fetched)
    await world.settle()
    assert phone.remote.fetched[fetched:] == []
    rows = await phone.account.rows(ARCHIVE)
    assert len(await phone.account.metadata([row.row_id for row in rows])) == 150
    assert len({row.message_id for row in rows}) == 50


async def test_a_move_and_a_flag_each_push_one_small_item(
    world: MailWorld, laptop: MailDevice
) -> None:
    await add(laptop, 300)
    await laptop.sync()
    first, *_, last = await laptop.account.rows(INBOX)
    for step in ("flag", "move"):
        commits, asked = len(world.provider.commits), len(laptop.remote.requests)
        if step == "flag":
            await laptop.account.store_flags(INBOX, [first.uid], "add", ["\\Seen"])
        else:
            await laptop.account.move(INBOX, [last.uid], ARCHIVE)
        await laptop.sync()
        items, octets = pushed(world, commits)
        print(step, items, octets)
        assert items == 1
        assert octets < 256 * 140
        assert "put_blobs" not in laptop.remote.requests[asked:]


async def test_the_same_message_added_twice_is_two_messages(
    world: MailWorld, laptop: MailDevice, phone: MailDevice
) -> None:
    one, other = await add(laptop, 2)
    rows = await laptop.account.rows(INBOX)
    assert len({row.message_id for row in rows}) == 2
    assert await blobs_here(laptop.store) == 4
    await world.settle()
    await phone.account.store_flags(INBOX, [rows[0].uid], "add", ["\\Deleted"])
    assert await phone.account.expunge(INBOX) == [rows[0].uid]
    await world.settle()
    for device in world.devices:
        [row] = await device.account.rows(INBOX)
        assert row.row_id in (one, other)
        assert await device.account.read(row.row_id) == RAW


# -- reading a part of a large one


async def test_a_part_of_a_large_message_costs_its_own_chunks_wherever_it_lies(
    world: MailWorld, laptop: MailDevice, phone: MailDevice
) -> None:
    raw = mail(LARGE, 2)
    [row_id] = await add(laptop, 1, raw)
    start, length = 20_000_000, 100_000
    part = raw[start : start + length]

    before = octets_read()
    assert await laptop.account.read(row_id, start, length) == part
    here = octets_read() - before
    await laptop.sync()
    await phone.sync()
    there: list[int] = []
    given = world.provider.get_blob_range

    def counted(blob_id: str, start: int, length: int) -> bytes:
        there.append(length)
        return given(blob_id, start, length)

    world.provider.get_blob_range = counted  # type: ignore[method-assign]
    phone.remote.requests.clear()
    assert await phone.account.read(row_id, start, length) == part
    assert set(phone.remote.requests) == {"get_blob_range"}
    first, whole = sum(there), await blobs_here(phone.store)
    there.clear()
    assert await phone.account.read(row_id, 0, 2_000) == raw[:2_000]
    second = sum(there)
    print(f"a part of 100,000 octets: {here} read here, {first} there; 2,000 more: {second} there")
    # the index of chunks, which is read once, and up to three chunks around the part
    assert here < 4 * CHUNK + LARGE // CHUNK * 100
    assert first < 4 * CHUNK + LARGE // CHUNK * 100
    assert second <= 2 * CHUNK
    assert await blobs_here(phone.store) == whole


def octets_read() -> int:
    """By this process from any file since it began."""
    line = Path("/proc/self/io").read_text().splitlines()[0]
    return int(line.removeprefix("rchar: "))


# -- what is deleted


async def test_what_nothing_refers_to_frees_its_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packs, "PACK_BYTES", 300_000)
    async with await open_mail_store(tmp_path / "store.db", KEY) as store:
        account = LocalAccount(store, ALICE)
        messages = [NewMessage(raw=mail(40_000, seed)) for seed in range(50)]
        for first in range(0, 50, 5):
            await account.append(INBOX, messages[first : first + 5])
            await (
                store.settle()
            )  # appended mail is listed a little later, all that waits by one transaction
        full = store.blobs.packs.octets()
        assert full > 50 * 20_000
        await account.store_flags(INBOX, range(1, 51), "add", ["\\Deleted"])  # type: ignore[arg-type]
        await account.expunge(INBOX)
        assert await blobs_here(store) == 0
        await store.empty_trash()
        assert store.blobs.packs.octets() < full / 3  # all but the pack that is written
        await account.append(INBOX, messages[:25])
        await account.store_flags(INBOX, range(51, 76), "add", ["\\Deleted"])  # type: ignore[arg-type]
        await account.expunge(INBOX)
        freed = await compact(store)  # and that one by `bitmask doctor compact`
        assert store.blobs.packs.octets() == 0
        left = (tmp_path / "store.db").stat().st_size
        assert left == freed.after
        await account.close()


async def test_deleted_mail_leaves_both_devices_and_the_disk_of_the_provider(
    tmp_path: Path,
) -> None:
    """Header record, content and the encrypted original, in the database and as files."""
    provider_folder = tmp_path / "provider"
    async with opened(provider_folder) as provider, served(provider, tmp_path) as https:
        made = await enrolled(https, "laptop")
        store = await open_mail_store(tmp_path / "laptop.db", KEY)
        await store.save_material(made)
        client = ProviderClient(https.url, ca_file=https.ca_file, token=made.token)
        engine = SyncEngine(store, client, gather=0)
        account = LocalAccount(store, ALICE)
        before = files(provider_folder)
        for number, size in enumerate((2_000, 200_000)):
            await account.deliver(
                mail(size, number),
                row_id=RowId(f"r{number}"),
                security=SecurityStatus(encryption="end-to-end"),
                original=mail(size, 10 + number),
                internal_date=1_700_000_000,
            )
        await engine.sync()
        there = await client.list_blobs()
        assert len(there.blobs) == 6
        assert len(files(provider_folder)) == len(before) + 2  # the small ones are in its database
        await account.store_flags(INBOX, range(1, 3), "add", ["\\Deleted"])  # type: ignore[arg-type]
        await account.expunge(INBOX)
        for _ in range(2):  # the deletion is pushed and acknowledged, then the blobs go
            await engine.sync()
        assert (await client.list_blobs()).blobs == []
        assert await blobs_here(store) == 0
        assert not [path for path in store.blobs.files.folder.rglob("*") if path.is_file()]
        assert files(provider_folder) == before
        await engine.close()
        await client.close()
        await account.close()
        await store.close()


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("known", [False, True])
async def test_a_copy_made_while_the_last_row_is_expunged_elsewhere_keeps_all_of_the_message(
    world: MailWorld, laptop: MailDevice, phone: MailDevice, first: int, known: bool
) -> None:
    """Whoever syncs first, and whether or not the deletion had reached the provider's disk before."""
    await laptop.account.deliver(
        RAW,
        row_id=RowId("r"),
        security=SecurityStatus(encryption="end-to-end"),
        original=b"as it came",
        internal_date=1_700_000_000,
    )
    await world.settle()
    [row] = await laptop.account.rows(INBOX)
    await laptop.account.copy(INBOX, [row.uid], ARCHIVE)
    [there] = await phone.account.rows(INBOX)
    await phone.account.store_flags(INBOX, [there.uid], "add", ["\\Deleted"])
    await phone.account.expunge(INBOX)
    if known:
        for _ in range(3):
            await phone.sync()
    await world.devices[first].sync()
    for _ in range(3):
        view = await world.settle()
    assert view["INBOX"] == []
    [(copy, _, _)] = view["Archive"]
    for device in world.devices:
        assert await device.account.read(RowId(copy)) == RAW
        assert await device.account.read_original(RowId(copy)) == b"as it came"
        [made] = await device.account.metadata([RowId(copy)])
        assert made.subject == "Heron"
    assert len(world.provider.blobs) == 3
