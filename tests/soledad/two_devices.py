"""What the tests of sync share: two devices of one account, and that they end equal."""

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
