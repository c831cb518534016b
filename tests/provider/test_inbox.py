"""The inbox: leases, order, once and only once, and large mail in files."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from leap.provider.contract import SUBMISSION_MEMORY, UnknownAccount
from leap.provider.errors import TooLarge
from leap.provider.inbox import INLINE_BYTES
from leap.provider.provider import Provider
from leap.soledad.errors import StoreFull
from leap.soledad.wire import InboxClaim
from tests.provider.world import DOMAIN, Clock, delivery, opened, prepared

ALICE = prepared(f"alice@{DOMAIN}").secrets.account_id


async def claimed(provider: Provider, account: int, **wanted: int) -> list[bytes]:
    reply = await provider.inbox.claim(account, InboxClaim(**wanted))
    return [item.sealed for item in reply.items]


async def test_mail_comes_in_order_and_stays_until_it_is_acknowledged(
    provider: Provider, alice: int, clock: Clock
) -> None:
    await provider.deliver([delivery(ALICE, b"one"), delivery(ALICE, b"two")])
    await provider.deliver([delivery(ALICE, b"three")])
    reply = await provider.inbox.claim(alice, InboxClaim(limit=2))
    assert [item.sealed for item in reply.items] == [b"one", b"two"]
    assert reply.waiting == 1
    assert reply.items[0].received == int(clock.at)
    await provider.inbox.ack(alice, [reply.items[0].inbox_id])
    await provider.inbox.ack(alice, [reply.items[0].inbox_id])
    clock.at += 121
    assert await claimed(provider, alice) == [b"two", b"three"]


async def test_what_one_device_leased_another_does_not_get(
    provider: Provider, alice: int, clock: Clock
) -> None:
    await provider.deliver([delivery(ALICE, b"%d" % n) for n in range(20)])
    taken = await asyncio.gather(*(claimed(provider, alice, limit=7, ttl=60) for _ in range(4)))
    assert sorted(mail for one in taken for mail in one) == sorted(b"%d" % n for n in range(20))
    clock.at += 59
    assert await claimed(provider, alice) == []
    clock.at += 1
    assert len(await claimed(provider, alice)) == 20


async def test_a_device_that_comes_back_goes_on_with_what_it_had_leased(
    provider: Provider, alice: int, clock: Clock
) -> None:
    await provider.deliver([delivery(ALICE, b"one"), delivery(ALICE, b"two")])
    first = await provider.inbox.claim(alice, InboxClaim(), "laptop")
    assert (await provider.inbox.claim(alice, InboxClaim(), "phone")).items == []
    assert (await provider.inbox.claim(alice, InboxClaim())).items == []
    again = await provider.inbox.claim(alice, InboxClaim(), "laptop")
    assert again.items == first.items
    clock.at += 121
    assert (await provider.inbox.claim(alice, InboxClaim(), "phone")).items == first.items
    assert (await provider.inbox.claim(alice, InboxClaim(), "laptop")).items == []


async def test_a_lease_can_be_given_back(provider: Provider, alice: int) -> None:
    await provider.deliver([delivery(ALICE, b"one")])
    reply = await provider.inbox.claim(alice, InboxClaim())
    assert reply.waiting == 0
    assert await provider.inbox.release(alice, [reply.items[0].inbox_id]) == 1
    assert await claimed(provider, alice) == [b"one"]


async def test_a_lease_is_never_longer_than_an_hour(
    provider: Provider, alice: int, clock: Clock
) -> None:
    await provider.deliver([delivery(ALICE, b"one")])
    await claimed(provider, alice, ttl=2**52)
    clock.at += 3600
    assert await claimed(provider, alice) == [b"one"]


async def test_a_claim_ends_at_the_limit_of_bytes_but_takes_one(
    provider: Provider, alice: int
) -> None:
    await provider.deliver([delivery(ALICE, b"x" * 1000) for _ in range(5)])
    assert len(await claimed(provider, alice, max_bytes=2500)) == 2
    assert len(await claimed(provider, alice, max_bytes=10)) == 1


async def test_a_submission_is_delivered_once_per_recipient(
    provider: Provider, alice: int, bob: int, clock: Clock
) -> None:
    for _ in range(2):
        await provider.deliver([delivery(ALICE, b"one", submission="s1")])
    await provider.deliver([delivery(ALICE, b"two", submission="s2")])
    assert await claimed(provider, alice) == [b"one", b"two"]
    clock.at += SUBMISSION_MEMORY + 1
    await provider.deliver([delivery(ALICE, b"again", submission="s1")])
    assert b"again" in await claimed(provider, alice)
    assert await provider.inbox.forget_submissions() == 1


async def test_a_delivery_is_all_or_nothing(provider: Provider, alice: int) -> None:
    with pytest.raises(UnknownAccount):
        await provider.deliver([delivery(ALICE, b"one", "s1"), delivery("0" * 32, b"two")])
    assert await provider.inbox.waiting(alice) == 0
    await provider.deliver([delivery(ALICE, b"one", "s1")])
    assert await claimed(provider, alice) == [b"one"]


async def test_large_mail_lies_in_a_file_and_goes_with_its_acknowledgement(
    provider: Provider, alice: int, tmp_path: Path
) -> None:
    def stored() -> list[Path]:
        folder = tmp_path / "provider" / "blobs"
        return [path for path in folder.glob("??/*") if path.is_file()]

    large = b"x" * INLINE_BYTES
    for _ in range(2):
        await provider.deliver([delivery(ALICE, large, "s1")])
    assert len(stored()) == 1
    assert stored()[0].stat().st_mode & 0o777 == 0o600
    reply = await provider.inbox.claim(alice, InboxClaim())
    assert [item.sealed for item in reply.items] == [large]
    await provider.inbox.ack(alice, [reply.items[0].inbox_id])
    assert stored() == []
    with pytest.raises(UnknownAccount):
        await provider.deliver([delivery("0" * 32, large)])
    assert stored() == []


async def test_a_file_that_is_gone_does_not_block_the_others(
    provider: Provider, alice: int, tmp_path: Path
) -> None:
    await provider.deliver([delivery(ALICE, b"x" * INLINE_BYTES), delivery(ALICE, b"small")])
    for path in (tmp_path / "provider" / "blobs").glob("??/*"):
        path.unlink()
    assert await claimed(provider, alice) == [b"small"]


async def test_bobs_mail_cannot_be_touched_by_alice(
    provider: Provider, alice: int, bob: int
) -> None:
    await provider.deliver([delivery(prepared(f"bob@{DOMAIN}").secrets.account_id, b"for bob")])
    reply = await provider.inbox.claim(bob, InboxClaim())
    await provider.inbox.ack(alice, [reply.items[0].inbox_id])
    assert await provider.inbox.release(alice, [reply.items[0].inbox_id]) == 0
    assert await claimed(provider, alice) == []
    assert await provider.inbox.release(bob, [reply.items[0].inbox_id]) == 1


async def test_a_full_disk_is_said_and_nothing_is_remembered(
    provider: Provider, alice: int
) -> None:
    await provider.db.write(
        lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchall()
    )
    with pytest.raises(StoreFull):
        await provider.deliver([delivery(ALICE, b"x" * 200_000, "s1")])
    await provider.db.write(
        lambda connection: connection.execute("PRAGMA max_page_count = 100000").fetchall()
    )
    await provider.deliver([delivery(ALICE, b"x" * 200_000, "s1")])
    assert await provider.inbox.waiting(alice) == 1


async def test_too_many_ids_are_refused(provider: Provider, alice: int) -> None:
    with pytest.raises(TooLarge):
        await provider.inbox.ack(alice, ["x"] * 1001)


async def test_mail_outlives_a_restart(tmp_path: Path, clock: Clock) -> None:
    folder = tmp_path / "again"
    async with opened(folder, now=clock) as provider:
        number = await provider.accounts.sign_up(prepared(f"alice@{DOMAIN}").signup)
        await provider.deliver([delivery(ALICE, b"one"), delivery(ALICE, b"y" * INLINE_BYTES)])
    async with opened(folder, now=clock) as provider:
        assert await claimed(provider, number) == [b"one", b"y" * INLINE_BYTES]
