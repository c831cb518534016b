"""One's own keys on two devices that sync: both have all of them, agree which is in use, and open each other's mail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leap.keymanager.keys import KeyManager
from leap.keymanager.openpgp import decrypt, encrypt, generate
from leap.keymanager.openpgp.editing import RevocationReason
from leap.keymanager.own_changes import EXTENDED_BY, is_due
from tests.keymanager.conftest import BIRTH, DAY, FakeDirectory, Time
from tests.mail.devices import ALICE, MailDevice, MailWorld
from tests.soledad.memory_provider import lost_request

YEAR = 365 * DAY


class Owner:
    """Alice at one of her devices."""

    def __init__(self, device: MailDevice, directory: FakeDirectory, clock: Time) -> None:
        self.device = device
        self.keys = KeyManager(device.store, ALICE, directory, now=clock)

    async def in_use(self) -> str:
        return (await self.keys.own.key()).fingerprint

    async def publish(self) -> bool:
        return await self.keys.publishing.publish(synced=self.device.engine.sync_log)


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def directory() -> FakeDirectory:
    return FakeDirectory()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[MailWorld]:
    world = MailWorld(tmp_path)
    yield world
    await world.close()


@pytest.fixture
async def both(
    world: MailWorld, directory: FakeDirectory, clock: Time
) -> AsyncIterator[tuple[Owner, Owner]]:
    laptop = Owner(await world.device("laptop"), directory, clock)
    phone = Owner(await world.device("phone"), directory, clock)
    await laptop.keys.own.ensure()
    await world.settle()
    yield laptop, phone
    laptop.keys.close()
    phone.keys.close()


async def test_mail_to_what_one_device_rotated_opens_on_the_other(
    world: MailWorld, both: tuple[Owner, Owner], clock: Time
) -> None:
    laptop, phone = both
    first = await laptop.keys.own.certificate()
    assert await phone.in_use() == first.fingerprint
    mails = [encrypt(b"to the first", [first], now=clock)]
    clock.at += DAY
    rotated = await laptop.keys.own_changes.rotate_subkey()
    mails.append(encrypt(b"to the rotated", [rotated.certificate], now=clock))
    clock.at += DAY
    new = await laptop.keys.own_changes.rotate_key()
    mails.append(encrypt(b"to the new", [new.certificate], now=clock))
    await laptop.keys.own_changes.revoke(first.fingerprint, reason=RevocationReason.COMPROMISED)
    await world.settle()
    own = await phone.keys.own_keys()
    assert [decrypt(mail, own).plaintext for mail in mails] == [
        b"to the first",
        b"to the rotated",
        b"to the new",
    ]
    assert await phone.in_use() == new.fingerprint
    assert (await phone.keys.own.find(first.fingerprint)).key.certificate.revoked
    assert all(kept.revocation for kept in await phone.keys.own.kept())


async def test_what_both_do_at_once_ends_the_same_on_both_and_loses_nothing(
    world: MailWorld, both: tuple[Owner, Owner], clock: Time, directory: FakeDirectory
) -> None:
    laptop, phone = both
    end = (await laptop.keys.own.certificate()).expires
    assert end is not None
    clock.at = float(end - 30 * DAY)
    parts = []
    for owner in both:  # neither hears of the other
        clock.at += 60
        assert await owner.keys.own_changes.extend_if_due()
        rotated = await owner.keys.own_changes.rotate_subkey()
        parts.append(
            encrypt(owner.device.store.path.name.encode(), [rotated.certificate], now=clock)
        )
    await world.settle()
    certificates = [await owner.keys.own.certificate() for owner in both]
    assert certificates[0].binary == certificates[1].binary
    assert certificates[0].expires == end + EXTENDED_BY
    assert not is_due(certificates[0], clock())
    for owner in both:
        own = await owner.keys.own_keys()
        opened = [decrypt(mail, own).plaintext for mail in parts]
        assert opened == [b"laptop.db", b"phone.db"]

    fresh = [await owner.keys.own_changes.rotate_key() for owner in both]
    await world.settle()
    assert await laptop.in_use() == await phone.in_use()
    for owner in both:
        own_prints = {key.fingerprint for key in await owner.keys.own_keys()}
        assert {key.fingerprint for key in fresh} <= own_prints
    assert await laptop.publish()
    assert await phone.publish()
    assert directory.put[-1] == (await laptop.keys.own.certificate()).of_address(ALICE).binary


async def test_what_one_device_changed_the_other_publishes(
    world: MailWorld, both: tuple[Owner, Owner], directory: FakeDirectory
) -> None:
    laptop, phone = both
    assert await laptop.publish()
    await world.settle()
    assert await phone.publish()
    assert len(directory.put) == 1
    await laptop.keys.own_changes.rotate_subkey()
    laptop.device.remote.always["pull"] = lost_request
    assert not await laptop.publish()  # nobody may encrypt to what is on this device alone
    assert len(directory.put) == 1
    del laptop.device.remote.always["pull"]
    await world.settle()
    assert await phone.publish()
    assert directory.put[-1] == (await laptop.keys.own.certificate()).binary
    await world.settle()
    assert await laptop.publish()
    assert len(directory.put) == 2


async def test_a_key_brought_to_one_device_reads_on_the_other_and_takes_over_nowhere(
    world: MailWorld, both: tuple[Owner, Owner], clock: Time
) -> None:
    laptop, phone = both
    first = await laptop.in_use()
    old = generate(ALICE, now=lambda: BIRTH - YEAR)
    mail = encrypt(b"of old", [old.certificate], now=lambda: BIRTH - YEAR + 1)
    await phone.keys.own.add(old)
    await world.settle()
    assert decrypt(mail, await laptop.keys.own_keys()).plaintext == b"of old"
    assert await laptop.in_use() == await phone.in_use() == first
    await laptop.keys.own.use(old.fingerprint)
    await world.settle()
    assert await phone.in_use() == old.fingerprint
