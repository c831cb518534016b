"""What a hostile provider shows: each lie is named by its own error, and nothing local is lost."""

from typing import Any

import msgspec
import pytest

from leap.soledad.errors import (
    BadKeyset,
    BadReply,
    DigestMismatch,
    ForgedEnvelope,
    ForgedHead,
    ForkJoined,
    ProviderLies,
    RolledBack,
)
from leap.soledad.syncing import SyncStopped
from leap.soledad.wire import MAX_COMMIT_BYTES, LoggedItem, PullPage
from tests.soledad.memory_provider import Account, Device
from tests.soledad.two_devices import equal, pair, prepared


async def lie(device: Device, kind: type[ProviderLies]) -> None:
    """Sync must refuse with `kind`, set an alarm and lose nothing local; it stays stopped."""
    await device.put("local", v="kept")
    before = await device.view()
    with pytest.raises(kind):
        await device.sync()
    assert device.engine.status.alarm
    assert await device.view() == before
    with pytest.raises(SyncStopped):
        await device.sync()
    await device.restart()
    with pytest.raises(SyncStopped):
        await device.sync()
    assert await device.view() == before


async def test_withheld_item(account: Account) -> None:
    laptop, phone = await prepared(account)
    await laptop.sync()
    newest = max(account.provider.items.values(), key=lambda item: item.seq)
    del account.provider.items[newest.item_id]
    await lie(phone, DigestMismatch)
    account.provider.items[newest.item_id] = newest
    await phone.engine.clear_alarm()
    await equal(phone, laptop)


async def test_withheld_item_from_a_new_device(account: Account) -> None:
    laptop, _ = await prepared(account)
    await laptop.sync()
    tablet = await account.device("tablet")
    account.provider.items.popitem()
    await lie(tablet, DigestMismatch)
    assert tablet.engine.status.provisional


async def test_old_item_beside_the_new_head(account: Account) -> None:
    laptop, phone = await prepared(account)
    old = dict(account.provider.items)
    await laptop.sync()
    for item_id, item in account.provider.items.items():
        if item.version > old[item_id].version:
            account.provider.items[item_id] = LoggedItem(
                seq=item.seq,
                item_id=item_id,
                version=old[item_id].version,
                sealed=old[item_id].sealed,
            )
    await lie(phone, DigestMismatch)


async def test_altered_item_version(account: Account) -> None:
    laptop, phone = await prepared(account)
    await laptop.sync()
    for item in list(account.provider.items.values()):
        account.provider.items[item.item_id] = LoggedItem(
            seq=item.seq, item_id=item.item_id, version=item.version + 1, sealed=item.sealed
        )
    await lie(phone, ForgedEnvelope)


async def test_swapped_items(account: Account) -> None:
    laptop, phone = await prepared(account)
    await laptop.sync()
    items = account.provider.items
    a, b = sorted(items.values(), key=lambda item: item.seq)[-2:]
    for one, other in ((a, b), (b, a)):
        items[one.item_id] = LoggedItem(
            seq=one.seq, item_id=one.item_id, version=one.version, sealed=other.sealed
        )
    await lie(phone, ForgedEnvelope)


async def test_plaintext_item(account: Account) -> None:
    laptop, phone = await prepared(account)
    await laptop.sync()
    newest = max(account.provider.items.values(), key=lambda item: item.seq)
    account.provider.items[newest.item_id] = LoggedItem(
        seq=newest.seq, item_id=newest.item_id, version=newest.version, sealed=b'{"v": "evil"}' * 20
    )
    await lie(phone, ProviderLies)


async def test_rolled_back_head(account: Account) -> None:
    laptop, _ = await prepared(account)
    provider = account.provider
    head, seq, items = provider.head, provider.head_seq, dict(provider.items)
    await laptop.sync()
    provider.head, provider.head_seq, provider.items = head, seq, items
    await lie(laptop, RolledBack)


async def test_empty_log_after_a_full_one(account: Account) -> None:
    laptop, _ = await prepared(account)
    provider = account.provider
    provider.head, provider.head_seq, provider.items = b"", 0, {}
    await lie(laptop, RolledBack)


async def test_head_at_another_seq(account: Account) -> None:
    laptop, phone = await prepared(account)
    await laptop.sync()
    account.provider.head_seq += 5
    await lie(phone, ForgedHead)


async def test_altered_head(account: Account) -> None:
    laptop, phone = await prepared(account)
    await laptop.sync()
    head = bytearray(account.provider.head)
    head[-1] ^= 1
    account.provider.head = bytes(head)
    await lie(phone, ProviderLies)


async def test_refused_push_that_is_served_after_all(account: Account) -> None:
    """The provider answers 409 to the laptop, shows it the phone's head, and later the laptop's own refused one."""
    laptop, phone = await prepared(account)
    await laptop.sync()
    await phone.sync()
    provider = account.provider
    before = (provider.head, provider.head_seq, dict(provider.items))
    await laptop.put("d0", v="refused")
    forked: list[Any] = []

    async def phone_first() -> None:
        laptop.remote.before.clear()
        await phone.put("d1", v="phone")
        await phone.sync()

    def note(call: Any) -> Any:
        pending.append(laptop.store)
        return call()

    pending: list[Any] = []
    laptop.remote.before["commit"] = phone_first

    def capture(call: Any) -> Any:
        after = (provider.head, provider.head_seq, dict(provider.items))
        provider.head, provider.head_seq, provider.items = before[0], before[1], dict(before[2])
        call()  # kept in secret
        forked.append((provider.head, provider.head_seq, dict(provider.items)))
        provider.head, provider.head_seq, provider.items = after
        return call()

    laptop.remote.faults["commit"] = [capture]
    await laptop.sync()
    provider.head, provider.head_seq, provider.items = forked[0]
    await lie(laptop, RolledBack)
    await phone.put("x", v=1)
    with pytest.raises((RolledBack, ForkJoined)):
        await phone.sync()


async def test_forked_devices_cannot_be_joined(account: Account) -> None:
    laptop, phone = await prepared(account)
    provider = account.provider
    before = (provider.head, provider.head_seq, dict(provider.items))
    await laptop.sync()
    mine = (provider.head, provider.head_seq, dict(provider.items))
    provider.head, provider.head_seq, provider.items = before[0], before[1], dict(before[2])
    await phone.put("d0", v="other world")
    await phone.sync()
    await phone.put("d0", v="other world 2")
    await phone.sync()
    await lie(laptop, ProviderLies)  # shown the phone's world
    provider.head, provider.head_seq, provider.items = mine
    await lie(phone, ProviderLies)


async def test_items_out_of_order_are_not_taken(account: Account) -> None:
    laptop, phone = await prepared(account)
    await laptop.sync()

    def shuffle(call: Any) -> Any:
        page = call()
        return msgspec.structs.replace(page, items=page.items[::-1])

    def behind(call: Any) -> Any:
        return msgspec.structs.replace(call(), head_seq=0)

    def more(call: Any) -> Any:
        return msgspec.structs.replace(call(), items=[], more=True)

    def too_many(call: Any) -> Any:
        page = call()
        bulk = [
            LoggedItem(seq=n, item_id=n.to_bytes(32, "big"), version=1, sealed=b"")
            for n in range(1, 3_000)
        ]
        return msgspec.structs.replace(page, items=bulk, head_seq=2**50)

    def too_large(call: Any) -> Any:
        page = call()
        first = msgspec.structs.replace(page.items[0], sealed=bytes(MAX_COMMIT_BYTES + 1))
        return msgspec.structs.replace(page, items=[first])

    for fault in (shuffle, behind, more, too_many, too_large):
        phone.remote.faults["pull"] = [fault]
        with pytest.raises(BadReply):
            await phone.sync()
        assert await put_aside(phone) == 0
    await equal(phone, laptop)


async def put_aside(device: Device) -> int:
    count: int = await device.store.read(
        lambda c: c.execute("SELECT count(*) FROM pulled_item").fetchone()[0]
    )
    return count


@pytest.mark.parametrize("head", ["made up", "the true one"])
async def test_a_pull_without_end_puts_nothing_on_the_disk(account: Account, head: str) -> None:
    laptop, phone = await prepared(account)
    if head == "the true one":
        await laptop.sync()

    def endless(call: Any) -> Any:
        page = call()
        items = [
            LoggedItem(seq=seq, item_id=seq.to_bytes(32, "big"), version=1, sealed=bytes(100_000))
            for seq in range(page.head_seq + 1, page.head_seq + 21)
        ]
        shown = page.head if head == "the true one" else b"h" * 1_000
        return PullPage(items=items, head=shown, head_seq=2**50, more=True)

    phone.remote.always["pull"] = endless
    await lie(phone, ProviderLies)
    assert phone.remote.requests.count("pull") <= 1
    assert await put_aside(phone) == 0


async def test_items_which_no_device_sealed_are_not_put_aside(account: Account) -> None:
    laptop, _ = await prepared(account)
    await laptop.sync()
    tablet = await account.device("tablet")

    def padded(call: Any) -> Any:
        page = call()
        junk = LoggedItem(seq=1, item_id=bytes(32), version=1, sealed=bytes(1_000_000))
        rest = [item for item in page.items if item.seq > 1]
        return msgspec.structs.replace(page, items=[junk, *rest])

    tablet.remote.always["pull"] = padded
    await lie(tablet, ProviderLies)
    assert await put_aside(tablet) == 0


async def test_a_head_that_moves_back_between_two_pages_is_refused(account: Account) -> None:
    laptop, phone = await pair(account)
    for n in range(2_100):  # more than one page
        await laptop.put(f"d{n}", v=n)
    await laptop.sync()
    provider = account.provider
    old_head, old_seq = provider.head, provider.head_seq
    await laptop.put("d0", v="news")
    await laptop.sync()

    def back(call: Any) -> Any:
        page = call()
        return msgspec.structs.replace(page, items=page.items[:1], head=old_head, head_seq=old_seq)

    phone.remote.faults["pull"] = [None, back]
    await lie(phone, RolledBack)


async def test_a_keyset_of_a_new_device_is_fetched_and_checked(account: Account) -> None:
    laptop, phone = await pair(account)  # the laptop's keyset does not list the phone
    await phone.put("d", v=1)
    await phone.sync()
    laptop.remote.requests.clear()
    await laptop.sync()
    assert "secrets" in laptop.remote.requests
    assert await laptop.content("d") == {"v": 1}
    await laptop.sync()
    assert laptop.remote.requests.count("secrets") == 1


async def test_a_keyset_older_than_the_one_at_hand_is_refused(account: Account) -> None:
    laptop, phone = await pair(account)
    older = account.provider.keyset  # lists both of them
    tablet = await account.device("tablet")
    await tablet.put("d", v=1)
    await tablet.sync()
    await equal(laptop, phone)  # both know the tablet now
    watch = await account.device("watch")
    await watch.sync()
    await watch.put("d", v=2)
    await watch.sync()
    account.provider.keyset = older
    await lie(laptop, BadKeyset)


async def test_commit_by_a_device_nobody_listed(account: Account) -> None:
    laptop, _ = await pair(account)
    await equal(laptop)
    keyset = account.provider.keyset
    stranger = await account.device("stranger")
    await stranger.put("evil", v=1)
    await stranger.sync()
    account.provider.keyset = keyset
    await lie(laptop, ForgedHead)
