"""What came by sync is found by the same words: at once where that needs no provider, and by the index later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leap.mail.contract import INBOX, NewMessage, RowId
from tests.conformance.account_backend import ENCODED, PLAIN
from tests.mail.devices import MailDevice, MailWorld


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[MailWorld]:
    world = MailWorld(tmp_path)
    yield world
    await world.close()


async def add(device: MailDevice, *raws: bytes) -> list[RowId]:
    made = await device.account.append(INBOX, [NewMessage(raw=raw) for raw in raws])
    return [one.row_id for one in made]


async def found(device: MailDevice, query: str) -> list[RowId]:
    return [one.row.row_id for one in (await device.account.search(query)).found]


async def until_indexed(device: MailDevice, left: int) -> None:
    counted = "SELECT count(*) FROM mail_text WHERE state = 0"
    async with asyncio.timeout(10):
        while True:
            if await device.store.read(lambda c: c.execute(counted).fetchone()[0]) == left:
                return
            await asyncio.sleep(0.01)


async def test_mail_of_another_device_is_indexed_when_its_content_is_here(world: MailWorld) -> None:
    laptop, phone = await world.device("laptop"), await world.device("phone")
    heron, reiher = await add(laptop, PLAIN, ENCODED)
    await laptop.sync()
    await phone.sync()
    told = await phone.account.search("heron")
    assert (told.found, told.unsearched) == ((), 2)
    await phone.account.read(heron)
    assert await found(phone, "heron") == [heron]
    assert (await phone.account.search("heron")).unsearched == 1
    await until_indexed(phone, 1)
    # IMAP fetches what it has to read
    uids = [row.uid for row in await phone.account.rows(INBOX)]
    assert len(await phone.account.search_text(INBOX, uids, "body", "reiher")) == 1
    await until_indexed(phone, 0)
    assert await found(phone, "to:bob reiher") == [reiher]


async def test_mail_deleted_on_another_device_is_found_no_more(world: MailWorld) -> None:
    laptop, phone = await world.device("laptop"), await world.device("phone")
    heron, reiher = await add(laptop, PLAIN, ENCODED)
    await world.settle()
    await phone.account.read(heron)
    await phone.account.read(reiher)
    await until_indexed(phone, 0)
    uids = [row.uid for row in await laptop.account.rows(INBOX)]
    await laptop.account.store_flags(INBOX, uids[:1], "add", ["\\Deleted"])
    await laptop.account.expunge(INBOX)
    await world.settle()
    assert await found(phone, "") == await found(phone, "reiher OR heron") == [reiher]
    kept = "SELECT (SELECT count(*) FROM mail_text), (SELECT count(*) FROM mail_words_docsize)"
    assert await phone.store.read(lambda c: c.execute(kept).fetchone()) == (1, 1)
