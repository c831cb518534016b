"""What two devices do to mailboxes at once, in both orders: who pushes first makes no difference to what is left."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from leap.mail.contract import INBOX, MailboxId, NewMessage, RowId
from tests.conformance.account_backend import PLAIN
from tests.mail.devices import MailDevice, MailWorld

ARCHIVE = MailboxId("archive")
both_orders = pytest.mark.parametrize("first", [0, 1])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[MailWorld]:
    world = MailWorld(tmp_path)
    for name in ("laptop", "phone"):
        await world.device(name)
    yield world
    await world.close()


async def put(device: MailDevice, mailbox_id: MailboxId) -> RowId:
    [made] = await device.account.append(mailbox_id, [NewMessage(raw=PLAIN)])
    return made.row_id


async def work(world: MailWorld) -> tuple[MailboxId, RowId]:
    """A mailbox "Work" with one mail, on both devices."""
    made = await world.devices[0].account.create_mailbox("Work")
    row_id = await put(world.devices[0], made.mailbox_id)
    await world.settle()
    return made.mailbox_id, row_id


def rows(view: dict[str, list[tuple[str, list[str], str]]], name: str) -> set[str]:
    return {row_id for row_id, *_ in view.get(name, [])}


@both_orders
async def test_two_renames_the_later_push_counts(world: MailWorld, first: int) -> None:
    mailbox_id, row_id = await work(world)
    await world.devices[0].account.rename_mailbox(mailbox_id, "Zero")
    await world.devices[1].account.rename_mailbox(mailbox_id, "One")
    await world.devices[first].sync()
    view = await world.settle()
    assert rows(view, ("One", "Zero")[first]) == {row_id}
    assert ("Zero", "One")[first] not in view


@both_orders
async def test_a_rename_beats_a_deletion_of_the_mailbox_and_not_that_of_its_mail(
    world: MailWorld, first: int
) -> None:
    mailbox_id, _ = await work(world)
    await world.devices[0].account.rename_mailbox(mailbox_id, "Labour")
    await world.devices[1].account.delete_mailbox(mailbox_id)
    await world.devices[first].sync()
    view = await world.settle()
    assert "Work" not in view
    assert "Labour" in view
    # The one who deleted it expunged the mail which it knew in it.
    assert rows(view, "Labour") == set()
    assert rows(view, "INBOX") == set()


@both_orders
async def test_two_deletions_are_one(world: MailWorld, first: int) -> None:
    mailbox_id, _ = await work(world)
    for device in world.devices:
        await device.account.delete_mailbox(mailbox_id)
    await world.devices[first].sync()
    view = await world.settle()
    assert "Work" not in view
    assert rows(view, "INBOX") == set()


@both_orders
async def test_two_mailboxes_of_one_name_are_one_the_lowest_id_wins(
    world: MailWorld, first: int
) -> None:
    ids, made = [], set()
    for device in world.devices:
        mailbox_id = (await device.account.create_mailbox("Work")).mailbox_id
        ids.append(mailbox_id)
        made.add(await put(device, mailbox_id))
    await world.devices[first].sync()
    view = await world.settle()
    assert rows(view, "Work") == made
    for device in world.devices:
        assert (await device.names())["Work"].mailbox_id == min(ids)


@both_orders
async def test_a_rename_onto_the_name_of_a_new_mailbox_merges_them(
    world: MailWorld, first: int
) -> None:
    mailbox_id, row_id = await work(world)
    await world.devices[0].account.rename_mailbox(mailbox_id, "Same")
    other = (await world.devices[1].account.create_mailbox("Same")).mailbox_id
    added = await put(world.devices[1], other)
    await world.devices[first].sync()
    view = await world.settle()
    assert rows(view, "Same") == {row_id, added}
    assert (await world.devices[0].names())["Same"].mailbox_id == min(mailbox_id, other)


@both_orders
async def test_a_subscription_and_a_rename_are_both_kept(world: MailWorld, first: int) -> None:
    mailbox_id, _ = await work(world)
    await world.devices[0].account.rename_mailbox(mailbox_id, "Labour")
    await world.devices[1].account.set_subscribed(mailbox_id, False)
    await world.devices[first].sync()
    await world.settle()
    for device in world.devices:
        found = (await device.names())["Labour"]
        assert (found.mailbox_id, found.subscribed) == (mailbox_id, False)


@both_orders
@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("how", ["append", "move", "copy"])
async def test_mail_put_into_a_mailbox_the_other_deleted_shows_in_inbox(
    world: MailWorld, how: str, special: bool, first: int
) -> None:
    laptop, phone = world.devices
    target = ARCHIVE if special else (await laptop.account.create_mailbox("Work")).mailbox_id
    row_id = await put(laptop, INBOX)
    await world.settle()
    await phone.account.delete_mailbox(target)
    steps: dict[str, Callable[[], Awaitable[object]]] = {
        "append": lambda: put(laptop, target),
        "move": lambda: move(laptop, row_id, target),
        "copy": lambda: copy(laptop, row_id, target),
    }
    await steps[how]()
    await world.devices[first].sync()
    view = await world.settle()
    assert row_id in rows(view, "INBOX")
    assert len(view["INBOX"]) == (1 if how == "move" else 2)


async def move(device: MailDevice, row_id: RowId, target: MailboxId) -> None:
    uids = [row.uid for row in await device.account.rows(INBOX) if row.row_id == row_id]
    await device.account.move(INBOX, uids, target)


async def copy(device: MailDevice, row_id: RowId, target: MailboxId) -> None:
    uids = [row.uid for row in await device.account.rows(INBOX) if row.row_id == row_id]
    await device.account.copy(INBOX, uids, target)


@both_orders
async def test_inbox_and_special_mailboxes_keep_their_ids_whatever_happens(
    world: MailWorld, first: int
) -> None:
    before = {
        info.special_use: info.mailbox_id
        for info in (await world.devices[0].names()).values()
        if info.special_use
    }
    await world.devices[0].account.rename_mailbox(ARCHIVE, "Old")
    await world.devices[1].account.rename_mailbox(ARCHIVE, "Older")
    row_id = await put(world.devices[0], ARCHIVE)
    await world.devices[first].sync()
    view = await world.settle()
    for device in world.devices:
        names = await device.names()
        assert names["INBOX"].mailbox_id == INBOX
        after = {i.special_use: i.mailbox_id for i in names.values() if i.special_use}
        assert after == before
    assert rows(view, ("Older", "Old")[first]) == {row_id}
