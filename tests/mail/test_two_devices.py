"""Two devices of one account: what one does the other shows, and what both do at once ends the same on both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leap.mail.contract import (
    INBOX,
    ContentUnavailable,
    MailboxId,
    NewMessage,
    RowId,
    SecurityStatus,
    Uid,
)
from leap.mail.model import MAIL_ROWS
from leap.soledad.blobs import BlobRef
from leap.soledad.syncing import pull
from leap.soledad.transaction import Transaction
from tests.conformance.account_backend import ENCODED, PLAIN
from tests.mail.devices import MailDevice, MailWorld
from tests.soledad.memory_provider import lost_request

ARCHIVE, TRASH = MailboxId("archive"), MailboxId("trash")


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


async def add(device: MailDevice, *flags: str, raw: bytes = PLAIN, to: MailboxId = INBOX) -> RowId:
    [made] = await device.account.append(to, [NewMessage(raw=raw, flags=flags)])
    return made.row_id


async def uid_of(device: MailDevice, row_id: RowId, mailbox: MailboxId = INBOX) -> Uid:
    return next(row.uid for row in await device.account.rows(mailbox) if row.row_id == row_id)


# -- one after the other


async def test_mail_its_flags_and_what_lists_show_reach_the_other_device(
    laptop: MailDevice, phone: MailDevice
) -> None:
    row_id = await add(laptop, "\\Seen", "$Work", raw=ENCODED)
    await laptop.sync()
    stream = phone.account.changes()
    await phone.sync()
    assert (await anext(stream)).mailbox_id == INBOX
    [row] = await phone.account.rows(INBOX)
    assert (row.row_id, row.flags, row.size) == (row_id, ("$Work", "\\Seen"), len(ENCODED))
    assert await phone.account.metadata([row_id]) == await laptop.account.metadata([row_id])
    assert await phone.account.read(row_id) == ENCODED
    assert await phone.account.claim_recent(INBOX) == [row.uid]


async def test_flags_moves_copies_and_deletions_travel(
    world: MailWorld, laptop: MailDevice, phone: MailDevice
) -> None:
    one, two, three = [await add(laptop, raw=PLAIN + b"%d" % i) for i in range(3)]
    await world.settle()
    account = phone.account
    await account.store_flags(INBOX, [await uid_of(phone, one)], "add", ["\\Flagged"])
    await account.copy(INBOX, [await uid_of(phone, one)], ARCHIVE)
    await account.move(INBOX, [await uid_of(phone, two)], ARCHIVE)
    await account.store_flags(INBOX, [await uid_of(phone, three)], "add", ["\\Deleted"])
    await account.expunge(INBOX)
    view = await world.settle()
    assert view["INBOX"] == [(one, ("\\Flagged",), len(PLAIN) + 1)]
    assert len(view["Archive"]) == 2
    assert (two, (), len(PLAIN) + 1) in view["Archive"]
    expunged = await laptop.account.expunged(INBOX, 0)  # type: ignore[arg-type]
    assert len(expunged) == 2


async def test_each_device_numbers_for_itself_and_never_again(
    world: MailWorld, laptop: MailDevice, phone: MailDevice
) -> None:
    await add(laptop)
    await add(phone)
    await world.settle()
    assert await laptop.uids("inbox") == [1, 2]
    assert await phone.uids("inbox") == [1, 2]
    assert (await laptop.account.rows(INBOX))[0].row_id != (await phone.account.rows(INBOX))[
        0
    ].row_id


async def test_mailboxes_travel_with_all_that_is_said_of_them(
    world: MailWorld, laptop: MailDevice, phone: MailDevice
) -> None:
    made = await laptop.account.create_mailbox("a/b")
    await laptop.account.rename_mailbox(ARCHIVE, "Old")
    await laptop.account.set_subscribed(TRASH, False)
    await laptop.account.delete_mailbox(MailboxId("junk"))
    await world.settle()
    names = await phone.names()
    assert names["a/b"].mailbox_id == made.mailbox_id
    assert names["Old"].mailbox_id == ARCHIVE
    assert not names["Trash"].subscribed
    assert "Junk" not in names
    await phone.account.delete_mailbox(made.mailbox_id)
    assert "a/b" not in await world.settle()


async def test_header_records_are_opened_without_being_asked_for(
    laptop: MailDevice, phone: MailDevice
) -> None:
    for i in range(5):
        await add(laptop, raw=PLAIN + b"%d" % i)
    await laptop.sync()
    await phone.sync()

    async def opened() -> None:
        while await phone.store.read(
            lambda c: c.execute("SELECT count(*) FROM mail_header_wanted").fetchone()[0]
        ):
            pass

    await asyncio.wait_for(opened(), 10)


async def test_header_records_that_sync_fetched_are_opened_without_another_request(
    laptop: MailDevice, phone: MailDevice
) -> None:
    row_id = await add(laptop)
    await laptop.sync()
    phone.remote.faults["get_blobs"].extend([lost_request] * 10)
    await phone.sync()
    with pytest.raises(ContentUnavailable):
        await phone.account.metadata([row_id])
    phone.remote.faults["get_blobs"].clear()
    phone.remote.requests.clear()
    [wanted] = await phone.store.read(
        lambda c: c.execute("SELECT header_id, header_sha256, header_size FROM mail_row").fetchall()
    )
    await phone.store.fetch_batch([BlobRef(*wanted)])

    async def opened() -> None:
        while not await phone.store.read(
            lambda c: c.execute("SELECT count(*) FROM mail_metadata").fetchone()[0]
        ):
            pass

    await asyncio.wait_for(opened(), 10)
    assert phone.remote.requests == ["get_blobs"]
    await phone.account.metadata([row_id])


async def test_a_large_first_pull_is_numbered_by_date_behind_what_was_here(
    world: MailWorld, laptop: MailDevice, phone: MailDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "MANY_PAGES", 1)
    first = await add(phone)

    def fill(tx: Transaction) -> None:
        for n in range(600):
            values = {"message_id": f"m{n}", "internal_date": n * 7 % 600, "size": 1}
            tx.insert_row(MAIL_ROWS.name, f"r{n:04}", {**values, "mailbox": INBOX})

    await laptop.store.transact(fill)
    await laptop.sync()
    await phone.sync()
    rows = await phone.account.rows(INBOX)
    assert rows[0].row_id == first
    assert [row.internal_date for row in rows[1:]] == list(range(600))
    assert [row.uid for row in rows] == list(range(1, 602))
    status = await phone.account.status(INBOX)
    assert (status.messages, status.uid_next) == (601, 602)
    await world.settle()


async def test_content_still_at_the_provider_is_unavailable_while_offline_and_comes_later(
    laptop: MailDevice, phone: MailDevice
) -> None:
    row_id = await add(laptop)
    await laptop.sync()
    phone.remote.faults["get_blobs"].extend([lost_request] * 10)
    await phone.sync()
    with pytest.raises(ContentUnavailable, match="try again later"):
        await phone.account.metadata([row_id])
    with pytest.raises(ContentUnavailable, match="try again later"):
        await phone.account.read(row_id)
    [row] = await phone.account.rows(INBOX)
    with pytest.raises(ContentUnavailable):
        await phone.account.search_text(INBOX, [row.uid], "body", "heron")
    phone.remote.faults["get_blobs"].clear()
    [made] = await phone.account.metadata([row_id])
    assert made.subject == "Plain words"
    assert await phone.account.search_text(INBOX, [row.uid], "body", "heron") == [row.uid]


# -- both at once


async def test_flags_set_on_both_are_both_there(
    world: MailWorld, laptop: MailDevice, phone: MailDevice
) -> None:
    row_id = await add(laptop, "$old")
    await world.settle()
    for device, op, flag in (
        (laptop, "add", "\\Seen"),
        (phone, "add", "\\Flagged"),
        (laptop, "remove", "$old"),
    ):
        await device.account.store_flags(INBOX, [await uid_of(device, row_id)], op, [flag])  # type: ignore[arg-type]
    assert (await world.settle())["INBOX"][0][1] == ("\\Flagged", "\\Seen")


@pytest.mark.parametrize("first", [0, 1])
async def test_a_move_beats_an_expunge(
    world: MailWorld, laptop: MailDevice, phone: MailDevice, first: int
) -> None:
    row_id = await add(laptop, "\\Deleted")
    await world.settle()
    await laptop.account.move(INBOX, [await uid_of(laptop, row_id)], ARCHIVE)
    await phone.account.expunge(INBOX)
    await world.devices[first].sync()
    view = await world.settle()
    assert (view["INBOX"], [one[0] for one in view["Archive"]]) == ([], [row_id])
    for device in world.devices:
        assert await device.account.read(row_id) == PLAIN
        assert (await device.account.metadata([row_id]))[0].subject == "Plain words"


async def test_a_copy_keeps_the_content_that_the_other_device_deleted(
    world: MailWorld, laptop: MailDevice, phone: MailDevice
) -> None:
    row_id = await add(laptop, "\\Deleted")
    await world.settle()
    await laptop.account.copy(INBOX, [await uid_of(laptop, row_id)], ARCHIVE)
    await phone.account.expunge(INBOX)
    for _ in range(3):
        view = await world.settle()
    [(copy, _, _)] = view["Archive"]
    assert view["INBOX"] == []
    for device in world.devices:
        assert await device.account.read(RowId(copy)) == PLAIN
        await device.account.metadata([RowId(copy)])


async def test_two_mailboxes_with_one_name_become_one(
    world: MailWorld, laptop: MailDevice, phone: MailDevice
) -> None:
    ids = [(await device.account.create_mailbox("Work")).mailbox_id for device in world.devices]
    rows = {
        await add(device, to=mailbox_id)
        for device, mailbox_id in zip(world.devices, ids, strict=True)
    }
    view = await world.settle()
    assert {row_id for row_id, _, _ in view["Work"]} == rows
    names = await laptop.names()
    assert names["Work"].mailbox_id == min(ids)
    await phone.account.rename_mailbox(min(ids), "Labour")
    view = await world.settle()
    assert "Work" not in view
    assert len(view["Labour"]) == 2
    await laptop.account.delete_mailbox(min(ids))
    view = await world.settle()
    assert "Labour" not in view
    assert view["INBOX"] == []


async def test_a_special_mailbox_wins_over_one_of_the_same_name(
    world: MailWorld, laptop: MailDevice, phone: MailDevice
) -> None:
    await laptop.account.rename_mailbox(ARCHIVE, "Old")
    made = await laptop.account.create_mailbox("Archive")
    row_id = await add(laptop, to=made.mailbox_id)
    await laptop.account.rename_mailbox(made.mailbox_id, "Mine")
    await world.settle()
    await laptop.account.rename_mailbox(made.mailbox_id, "Same")
    await phone.account.rename_mailbox(ARCHIVE, "Same")
    view = await world.settle()
    assert (await phone.names())["Same"].mailbox_id == ARCHIVE
    assert [one[0] for one in view["Same"]] == [row_id]


async def test_changes_of_a_special_mailbox_on_both_devices_are_both_kept(
    world: MailWorld, laptop: MailDevice, phone: MailDevice
) -> None:
    await laptop.account.rename_mailbox(ARCHIVE, "Old")
    await phone.account.set_subscribed(ARCHIVE, False)
    await world.settle()
    found = (await laptop.names())["Old"]
    assert (found.mailbox_id, found.subscribed, found.special_use) == (ARCHIVE, False, "\\Archive")


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("special", [False, True])
async def test_mail_put_into_a_mailbox_the_other_deleted_appears_in_inbox(
    world: MailWorld, laptop: MailDevice, phone: MailDevice, first: int, special: bool
) -> None:
    target = ARCHIVE if special else (await laptop.account.create_mailbox("Work")).mailbox_id
    moved = await add(laptop)
    await world.settle()
    await phone.account.delete_mailbox(target)
    await laptop.account.move(INBOX, [await uid_of(laptop, moved)], target)
    added = await add(laptop, to=target)
    await world.devices[first].sync()
    view = await world.settle()
    assert {row_id for row_id, _, _ in view["INBOX"]} == {moved, added}
    for device in world.devices:
        assert await device.account.read(added) == PLAIN


async def test_incoming_mail_stored_by_both_is_there_once(
    world: MailWorld, laptop: MailDevice, phone: MailDevice
) -> None:
    row_id = RowId("d" * 64)
    for device in world.devices:
        assert await device.account.deliver(
            PLAIN,
            row_id=row_id,
            security=SecurityStatus(encryption="none"),
            original=b"as it came",
            internal_date=1_700_000_000,
        )
    await laptop.account.store_flags(INBOX, [Uid(1)], "add", ["\\Seen"])
    await phone.account.store_flags(INBOX, [Uid(1)], "add", ["\\Flagged"])
    view = await world.settle()
    assert [one[0] for one in view["INBOX"]] == [row_id]
    assert set(view["INBOX"][0][1]) >= {"\\Flagged"}
    for device in world.devices:
        assert await device.uids("inbox") == [1]
        assert await device.account.read(row_id) == PLAIN
        assert await device.account.read_original(row_id) == b"as it came"
        assert (await device.account.metadata([row_id]))[0].subject == "Plain words"
    first, second = [
        await device.store.read(lambda c: c.execute("SELECT content_id FROM mail_row").fetchall())
        for device in world.devices
    ]
    assert first == second


async def test_annotations_of_both_come_together(laptop: MailDevice, phone: MailDevice) -> None:
    """Different entries are all kept, the other device hears of them by name."""
    await laptop.account.annotate(ARCHIVE, {"/shared/comment": b"old", "/shared/gone": b"x"})
    await laptop.sync()
    await phone.sync()
    heard = phone.account.changes()
    await laptop.account.annotate(ARCHIVE, {"/shared/comment": b"new", "/shared/gone": None})
    await laptop.account.annotate(None, {"/private/comment": b"mine"})
    await phone.account.annotate(ARCHIVE, {"/private/comment": b"phone"})
    for device in (laptop, phone, laptop):
        await device.sync()
    for device in (laptop, phone):
        assert await device.account.annotations() == {"/private/comment": b"mine"}
        assert await device.account.annotations(ARCHIVE) == {
            "/shared/comment": b"new",
            "/private/comment": b"phone",
        }
    told: dict[MailboxId | None, set[str]] = {}
    async with asyncio.timeout(5):
        while len(told) < 2:
            change = await anext(heard)
            if change.topic == "annotations":
                told.setdefault(change.mailbox_id, set()).update(change.entries)
    assert told[ARCHIVE] >= {"/shared/comment", "/shared/gone"}
    assert told[None] == {"/private/comment"}
