"""Claim, open, store, push, ack: each mail is there once, wherever the process is cut off, and on two devices."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from leap.keymanager.openpgp import offload
from leap.mail.contract import INBOX, TooLarge
from leap.mail.incoming import consumed, lots, pipeline, ready, workshop
from leap.mail.incoming.consumed import (
    ids_of,
)
from leap.mail.incoming.opening import Opened, open_mail
from leap.mail.local import Arrived
from leap.soledad.errors import StoreFull, Unreachable
from leap.soledad.inbox_seal import generate_inbox_key, seal_to_inbox
from leap.soledad.material import AccountMaterial
from leap.soledad.syncing import SyncEngine
from leap.soledad.syncing.loop import SyncStopped
from leap.soledad.wire import InboxClaim
from tests.mail.travel import (
    DOMAIN,
    NOW,
    Clock,
    FakeProvider,
    Person,
    mail,
    material_of,
    open_person,
)
from tests.soledad.memory_provider import Account as SyncedAccount
from tests.soledad.memory_provider import Connection

BOB = f"bob@{DOMAIN}"


def letter(number: int) -> bytes:
    return mail(extra=f"X-Number: {number}\r\n".encode(), body=f"Letter {number}.\r\n".encode())


def number_of(one: Arrived) -> int:
    return int(one.prepared.record.preview.partition("Letter ")[2].partition(".")[0])


def numbers(messages: list[bytes]) -> list[int]:
    found = [message.partition(b"X-Number: ")[2].partition(b"\r\n")[0] for message in messages]
    return sorted(int(number) for number in found)


async def drain(person: Person) -> None:
    while await person.incoming.process_once():
        pass


async def consumed_ids(person: Person) -> dict[str, bool]:
    documents = await person.store.find_docs(consumed.CONSUMED)
    return {key: acked for one in documents for key, acked in ids_of(one.content).items()}


async def test_a_batch_is_stored_pushed_acked_and_the_ids_are_kept_a_while(bob: Person) -> None:
    for number in range(5):
        bob.provider.deliver(BOB, letter(number))
    assert await bob.incoming.process_once() == 5
    assert numbers(await bob.messages()) == [0, 1, 2, 3, 4]
    assert bob.provider.waiting(BOB) == 0
    assert bob.engine.syncs == 2  # the pull before, the push after
    ids = await consumed_ids(bob)
    assert len(ids) == 5
    assert all(ids.values())
    bob.clock.time += consumed.KEPT + 1
    bob.provider.deliver(BOB, letter(9))
    await drain(bob)
    assert len(await consumed_ids(bob)) == 1
    assert await bob.incoming.process_once() == 0


async def test_arrival_is_what_the_provider_said(bob: Person) -> None:
    bob.provider.deliver(BOB, letter(1))
    await drain(bob)
    (row,) = await bob.account.rows(INBOX)
    assert row.internal_date == int(NOW)
    assert row.flags == ()


async def test_nothing_is_acked_that_was_not_pushed(
    bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def offline() -> None:
        raise Unreachable("offline")

    bob.provider.deliver(BOB, letter(1))
    with monkeypatch.context() as patch:
        patch.setattr(bob.engine, "sync", offline)
        with pytest.raises(Unreachable):
            await bob.incoming.process_once()
    assert bob.inbox.acked == []
    assert numbers(await bob.messages()) == [1]
    bob.provider.expire_leases()
    await drain(bob)
    assert bob.provider.waiting(BOB) == 0
    assert numbers(await bob.messages()) == [1]


async def test_what_cannot_be_pulled_for_now_is_left_to_others(bob: Person) -> None:
    bob.provider.deliver(BOB, letter(1))
    bob.engine.fails = True
    with pytest.raises(Unreachable):
        await bob.incoming.process_once()
    assert await bob.messages() == []
    bob.engine.fails = False
    assert await bob.incoming.process_once() == 1  # the lease was given back
    assert numbers(await bob.messages()) == [1]


@pytest.mark.parametrize("stands", ["stopped at an alarm", "busy with a large import"])
async def test_mail_is_shown_but_not_acked_while_sync_stands(
    bob: Person, monkeypatch: pytest.MonkeyPatch, stands: str
) -> None:
    bob.provider.deliver(BOB, letter(1))
    for_ever = asyncio.Event()

    async def sync() -> None:
        if stands == "stopped at an alarm":
            raise SyncStopped("the provider shows an older state")
        await for_ever.wait()

    monkeypatch.setattr(bob.engine, "sync", sync)
    monkeypatch.setattr(bob.engine, "sync_log", sync)
    monkeypatch.setattr(pipeline, "PULL_PATIENCE", 0.0)
    stored = asyncio.Event()
    deliver_all = bob.account.deliver_all

    async def telling(*args: Any) -> None:
        await deliver_all(*args)
        stored.set()

    monkeypatch.setattr(bob.account, "deliver_all", telling)
    working = asyncio.create_task(bob.incoming.process_once())
    await asyncio.wait_for(stored.wait(), 10)
    assert numbers(await bob.messages()) == [1]
    assert bob.inbox.acked == []
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def test_a_provisional_device_claims_nothing(bob: Person) -> None:
    bob.provider.deliver(BOB, letter(1))
    bob.incoming._may_claim = lambda: False
    assert await bob.incoming.process_once() == 0
    assert bob.provider.waiting(BOB) == 1


# --- cut off at each step ----------------------------------------------------------------------


class Cut(BaseException):
    """The process ends here."""


STEPS = [
    ("inbox", "claim_inbox", "after"),
    ("account", "deliver_all", "before"),
    ("account", "deliver_all", "after"),
    ("engine", "sync_log", "before"),
    ("engine", "sync", "before"),
    ("engine", "sync", "after"),
    ("inbox", "ack_inbox", "before"),
    ("inbox", "ack_inbox", "after"),
    ("store", "transact", "before the last"),
]


def cut_at(person: Person, owner: str, name: str, when: str) -> None:
    target = getattr(person, owner)
    original = getattr(target, name)
    calls = 0
    done: list[str] = []

    async def cut(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        if when == "before the last":  # the transaction which notes the ack
            if person.inbox.acked and not done:
                done.append(name)
                raise Cut
            return await original(*args, **kwargs)
        calls += 1
        if owner == "account" and calls != 2:  # of lots the second one
            return await original(*args, **kwargs)
        if when == "after":
            await original(*args, **kwargs)
        raise Cut

    setattr(target, name, cut)


@pytest.mark.parametrize(("owner", "name", "when"), STEPS)
@pytest.mark.parametrize("expunged", [False, True])
async def test_cut_off_at_any_step_neither_loses_nor_doubles(
    provider: FakeProvider,
    tmp_path: Path,
    owner: str,
    name: str,
    when: str,
    expunged: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lots, "FEW", 2)
    bob = await open_person(provider, tmp_path / "bob", "bob")
    for number in range(4):
        provider.deliver(BOB, letter(number))
    cut_at(bob, owner, name, when)
    with pytest.raises(BaseException) as stopped:  # noqa: PT011
        await bob.incoming.process_once()
    assert "Cut" in repr(stopped.value)
    seen = numbers(await bob.messages())
    if expunged:  # a person reads and deletes before the redelivery: it must not come back
        rows = [row.uid for row in await bob.account.rows(INBOX)]
        await bob.account.store_flags(INBOX, rows, "add", ["\\Deleted"])
        await bob.account.expunge(INBOX)
    await bob.close()
    provider.expire_leases()
    bob = await open_person(provider, tmp_path / "bob", "bob")
    await drain(bob)
    here = numbers(await bob.messages())
    if expunged:
        assert sorted(here + seen) == [0, 1, 2, 3]
    else:
        assert here == [0, 1, 2, 3]
    assert provider.waiting(BOB) == 0
    await bob.close()


# --- two devices --------------------------------------------------------------------------------


class TwoDevices:
    """bob's account on two devices which really sync, and one inbox."""

    def __init__(self, provider: FakeProvider, folder: Path) -> None:
        self.provider = provider
        self.folder = folder
        self.synced = SyncedAccount(folder)
        base = material_of("bob", "any")
        self.synced.secrets = msgspec.structs.replace(
            self.synced.secrets, address=BOB, inbox_keys=base.inbox_keys
        )
        self.materials: dict[str, AccountMaterial] = {}
        self.open: dict[str, Person] = {}

    async def device(self, name: str) -> Person:
        """Opens a device, again if it was closed."""
        if name not in self.materials:
            keys = self.synced.enrol(name)
            self.materials[name] = msgspec.structs.replace(
                material_of("bob", name),
                account_id=self.synced.secrets.account_id,
                root_public=self.synced.secrets.root_public,
                id_key=self.synced.secrets.id_key,
                epochs=self.synced.secrets.epochs,
                device=keys,
                keyset=self.synced.provider.keyset,
            )

        def engine_of(store: Any) -> SyncEngine:
            return SyncEngine(store, Connection(self.synced.provider), now=lambda: NOW, gather=0)

        person = await open_person(
            self.provider,
            self.folder / "bob",
            "bob",
            device=name,
            with_key=name == "laptop",
            clock=Clock(),
            material=self.materials[name],
            engine_of=engine_of,
        )
        await person.engine.sync()
        self.open[name] = person
        return person

    async def close(self, name: str) -> None:
        person = self.open.pop(name)
        await person.engine.close()
        await person.close()


@pytest.fixture
async def devices(provider: FakeProvider, tmp_path: Path) -> AsyncIterator[TwoDevices]:
    world = TwoDevices(provider, tmp_path)
    yield world
    for name in list(world.open):
        await world.close(name)
    await world.synced.close()


async def test_two_devices_share_the_inbox_and_see_each_mail_once(devices: TwoDevices) -> None:
    laptop = await devices.device("laptop")
    phone = await devices.device("phone")
    for number in range(20):
        devices.provider.deliver(BOB, letter(number))
    claim = laptop.inbox.claim_inbox
    for one in (laptop, phone):
        one.inbox.claim_inbox = lambda c, inbox=one.inbox: type(inbox).claim_inbox(  # type: ignore[method-assign]
            inbox, InboxClaim(limit=3)
        )
    await asyncio.gather(drain(laptop), drain(phone))
    assert claim is not None
    await laptop.engine.sync()
    await phone.engine.sync()
    assert numbers(await laptop.messages()) == list(range(20))
    assert numbers(await phone.messages()) == list(range(20))
    assert devices.provider.waiting(BOB) == 0


@pytest.mark.parametrize(("owner", "name", "when"), STEPS)
async def test_what_one_device_began_the_other_finishes(
    devices: TwoDevices, owner: str, name: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lots, "FEW", 2)
    laptop = await devices.device("laptop")
    phone = await devices.device("phone")
    for number in range(4):
        devices.provider.deliver(BOB, letter(number))
    cut_at(laptop, owner, name, when)
    with pytest.raises(BaseException) as stopped:  # noqa: PT011
        await laptop.incoming.process_once()
    assert "Cut" in repr(stopped.value)
    await devices.close("laptop")
    devices.provider.expire_leases()
    await drain(phone)
    laptop = await devices.device("laptop")
    await drain(laptop)
    for one in (laptop, phone, laptop):
        await one.engine.sync()
    assert numbers(await phone.messages()) == [0, 1, 2, 3]
    assert numbers(await laptop.messages()) == [0, 1, 2, 3]
    assert devices.provider.waiting(BOB) == 0


async def test_both_open_the_same_item_when_a_lease_runs_out(devices: TwoDevices) -> None:
    laptop = await devices.device("laptop")
    phone = await devices.device("phone")
    devices.provider.deliver(BOB, letter(1))
    phone_turn, laptop_turn = asyncio.Event(), asyncio.Event()
    deliver_all = laptop.account.deliver_all

    async def slow(*args: Any) -> None:
        phone_turn.set()
        await laptop_turn.wait()
        await deliver_all(*args)

    laptop.account.deliver_all = slow  # type: ignore[method-assign]
    working = asyncio.create_task(laptop.incoming.process_once())
    await phone_turn.wait()
    devices.provider.expire_leases()
    await drain(phone)
    laptop_turn.set()
    await working
    await phone.engine.sync()
    await laptop.engine.sync()
    assert numbers(await laptop.messages()) == [1]
    assert numbers(await phone.messages()) == [1]


async def test_a_device_that_did_not_pull_yet_brings_nothing_back_when_an_ack_is_lost(
    devices: TwoDevices,
) -> None:
    laptop = await devices.device("laptop")
    phone = await devices.device("phone")
    devices.provider.deliver(BOB, letter(1))

    async def lost(inbox_ids: list[str]) -> None:
        raise Unreachable("the line is cut")

    phone.inbox.ack_inbox = lost  # type: ignore[method-assign,assignment]
    with pytest.raises(Unreachable):
        await phone.incoming.process_once()
    uids = [row.uid for row in await phone.account.rows(INBOX)]
    await phone.account.store_flags(INBOX, uids, "add", ["\\Deleted"])
    await phone.account.expunge(INBOX)
    await phone.engine.sync()
    devices.provider.expire_leases()
    await drain(laptop)
    await phone.engine.sync()
    assert await laptop.messages() == []
    assert await phone.messages() == []
    assert devices.provider.waiting(BOB) == 0


async def test_what_one_device_expunged_a_late_one_does_not_bring_back(devices: TwoDevices) -> None:
    laptop = await devices.device("laptop")
    phone = await devices.device("phone")
    devices.provider.deliver(BOB, letter(1))
    held = devices.provider.inboxes[BOB][0]
    await drain(phone)
    uids = [row.uid for row in await phone.account.rows(INBOX)]
    await phone.account.store_flags(INBOX, uids, "add", ["\\Deleted"])
    await phone.account.expunge(INBOX)
    await phone.engine.sync()
    await laptop.engine.sync()
    held.leased = False
    devices.provider.inboxes[BOB] = [held]  # the provider forgot the ack
    await drain(laptop)
    await phone.engine.sync()
    assert await laptop.messages() == []
    assert await phone.messages() == []


# --- what cannot be opened ----------------------------------------------------------------------


def strange_key_seal(person: Person, raw: bytes, seed: int) -> tuple[Any, bytes]:
    key = generate_inbox_key(NOW, lambda size: bytes([seed]) * size)
    material = person.store.material
    assert material is not None
    return key, seal_to_inbox(raw, key.public, material.account_id)


@pytest.mark.parametrize("size", [10, 300_000])
async def test_what_cannot_be_unsealed_is_kept_and_opened_when_the_key_comes(
    bob: Person, size: int
) -> None:
    key, sealed = strange_key_seal(bob, letter(7) + b"x" * size, 9)
    bob.provider.put(BOB, key.key_id, sealed)
    bob.provider.put(BOB, "k", b"no seal at all")
    bob.provider.put(BOB, "k", b"")
    bob.provider.deliver(BOB, letter(8))
    assert await bob.incoming.process_once() == 4
    assert numbers(await bob.messages()) == [8]
    assert bob.provider.waiting(BOB) == 0
    kept = await bob.incoming.quarantined.items()
    assert len(kept) == 3
    assert {one.key_id for one in kept} == {key.key_id, "k"}
    assert len(await bob.incoming.quarantined.retry()) == 0
    material = bob.store.material
    assert material is not None
    await bob.store.save_material(
        msgspec.structs.replace(material, inbox_keys=[*material.inbox_keys, key])
    )
    assert len(await bob.incoming.quarantined.retry()) == 1
    assert numbers(await bob.messages()) == [7, 8]
    assert len(await bob.incoming.quarantined.items()) == 2
    assert len(await bob.incoming.quarantined.retry()) == 0


async def test_quarantine_syncs_and_the_device_with_the_key_opens_it(devices: TwoDevices) -> None:
    laptop = await devices.device("laptop")
    phone = await devices.device("phone")
    for size, seed in ((10, 3), (200_000, 4)):
        key, sealed = strange_key_seal(laptop, letter(seed) + b"x" * size, seed)
        material = phone.store.material
        assert material is not None
        await phone.store.save_material(
            msgspec.structs.replace(material, inbox_keys=[*material.inbox_keys, key])
        )
        devices.provider.put(BOB, key.key_id, sealed)
    assert await laptop.incoming.process_once() == 2
    assert devices.provider.waiting(BOB) == 0
    worker = asyncio.create_task(phone.incoming.run())
    arrived = asyncio.Event()
    phone.store.on_change(lambda _: arrived.set())
    async with asyncio.timeout(10):
        await phone.engine.sync()
        while len(await phone.messages()) < 2:
            await arrived.wait()
            arrived.clear()
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)
    await phone.engine.sync()
    await laptop.engine.sync()
    assert numbers(await laptop.messages()) == [3, 4]
    assert await laptop.incoming.quarantined.items() == []
    assert len(await laptop.incoming.quarantined.retry()) == 0


async def test_a_mail_that_breaks_us_stops_none_behind_it(
    bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver_all = bob.account.deliver_all

    def fails_at_one(raw: bytes, *args: Any, **kwargs: Any) -> Opened:
        if b"X-Number: 1\r\n" in raw:
            raise ZeroDivisionError
        return open_mail(raw, *args, **kwargs)

    async def delivers(arrived: Sequence[Arrived], also: Any) -> None:
        if any(number_of(one) == 2 for one in arrived):
            raise ZeroDivisionError
        await deliver_all(arrived, also)

    def refuses(raw: bytes, limit: int) -> None:
        if b"X-Number: 3\r\n" in raw:
            raise TooLarge("A message has at most 50 MiB.")

    monkeypatch.setattr(offload, "run_batch", asyncio.to_thread)  # a process would not see these
    monkeypatch.setattr(ready, "open_mail", fails_at_one)
    monkeypatch.setattr(ready, "check_size", refuses)
    monkeypatch.setattr(bob.account, "deliver_all", delivers)
    for number in range(5):
        bob.provider.deliver(BOB, letter(number))
    await drain(bob)
    messages = await bob.messages()
    assert numbers(messages) == [0, 1, 4]
    odd = next(m for m in messages if b"X-Number: 1\r\n" in m)
    assert odd == b"X-Leap-Encryption: undecryptable\r\nX-Leap-Signature: none\r\n" + letter(1)
    assert len(await bob.incoming.quarantined.items()) == 2
    monkeypatch.undo()
    assert len(await bob.incoming.quarantined.retry()) == 2
    assert numbers(await bob.messages()) == [0, 1, 2, 3, 4]


async def test_a_full_disk_releases_what_it_could_not_store_and_acks_the_rest(
    bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    deliver_all = bob.account.deliver_all

    async def full(arrived: Sequence[Arrived], also: Any) -> None:
        if any(number_of(one) == 1 for one in arrived):
            raise StoreFull("the disk is full")
        await deliver_all(arrived, also)

    monkeypatch.setattr(bob.account, "deliver_all", full)
    for number in range(3):
        bob.provider.deliver(BOB, letter(number))
    with pytest.raises(StoreFull):
        await bob.incoming.process_once()
    assert len(bob.inbox.released) == 1
    assert len(bob.inbox.acked) == 2
    monkeypatch.undo()
    await drain(bob)
    assert numbers(await bob.messages()) == [0, 1, 2]


async def test_the_worker_wakes_for_new_mail_and_goes_on_after_a_failure(bob: Person) -> None:
    arrived = asyncio.Event()
    bob.store.on_change(lambda _: arrived.set())
    bob.provider.offline = True
    worker = asyncio.create_task(bob.incoming.run())
    await asyncio.sleep(0)
    bob.provider.offline = False
    async with asyncio.timeout(10):
        for number in range(3):
            arrived.clear()
            bob.provider.deliver(BOB, letter(number))
            bob.incoming.wake()
            while number not in numbers(await bob.messages()):
                await arrived.wait()
                arrived.clear()
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


async def test_mail_is_stored_in_the_order_of_its_arrival(
    bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lots, "FEW", 3)
    for number in range(20):
        bob.provider.deliver(BOB, letter(number))
    await drain(bob)
    found = [numbers([message])[0] for message in await bob.messages()]
    assert found == list(range(20))


async def test_a_large_batch_is_opened_in_another_process(
    bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with offload.Workers(processes=1) as workers:
        monkeypatch.setattr(offload, "run_batch", workers.run_batch)
        monkeypatch.setattr(workshop, "MANY", 10)
        await workers.run_batch(os.getpid)  # it starts
        assert workers._warming is not None
        await asyncio.wrap_future(workers._warming)
        assert await workers.run_batch(os.getpid) != os.getpid()
        for number in range(10):
            bob.provider.deliver(BOB, letter(number))
        await drain(bob)
    assert numbers(await bob.messages()) == list(range(10))
