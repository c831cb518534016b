"""What the tests of sync share: two devices of one account, and that they end equal."""

import asyncio
from collections.abc import Callable
from typing import Any

from tests.soledad.memory_provider import Account, Device


async def pair(account: Account, **options: Any) -> tuple[Device, Device]:
    laptop = await account.device("laptop", **options)
    phone = await account.device("phone", **options)
    return laptop, phone


async def equal(*devices: Device) -> dict[str, Any]:
    for _ in range(2):
        for device in devices:
            await device.sync()
    views = [await device.view() for device in devices]
    assert all(view == views[0] for view in views)
    return views[0]


async def prepared(account: Account) -> tuple[Device, Device]:
    laptop, phone = await pair(account)
    for n in range(3):
        await laptop.put(f"d{n}", v=n)
        await laptop.sync()
    await equal(laptop, phone)
    await laptop.put("d1", v="news")
    await laptop.put("d2", v="news")
    return laptop, phone


async def until(device: Device, holds: Callable[[Any], bool]) -> Any:
    """The first status of a running engine for which that holds."""
    found: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def look(status: Any) -> None:
        if holds(status) and not found.done():
            found.set_result(status)

    end = device.engine.on_status(look)
    look(device.engine.status)
    try:
        return await asyncio.wait_for(found, 10)
    finally:
        end()
