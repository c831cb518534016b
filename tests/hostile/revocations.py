"""Attacks of a provider together with a device that was removed, or that gives old epochs to one."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

import msgspec

from leap.soledad import enrol
from leap.soledad.account_keys import AccountKeys
from leap.soledad.devices import revoke_device
from leap.soledad.digest import SetDigest
from leap.soledad.envelope import Epoch
from leap.soledad.errors import ForgedEnvelope, ForgedHead
from leap.soledad.head import HeadRecord, head_hash, sign_and_seal
from leap.soledad.keyset import Keyset, open_keyset
from leap.soledad.material import AccountMaterial
from leap.soledad.passphrase import change_passphrase
from leap.soledad.secrets import (
    AccountSecrets,
    derive_passphrase,
    floor_kdf_params,
    unwrap,
    wrap_context,
)
from leap.soledad.wire import PullRequest, SecretsReply
from tests.hostile.heads import HeadAttack
from tests.hostile.logins import LoginAttack
from tests.hostile.server import ALICE, Attack
from tests.hostile.switching_off import Instead, Raise, Whole
from tests.hostile.world import Device, World
from tests.provider.world import PASSPHRASE

OLDER_KEYSET = Raise("leap.soledad.head", "_check_monotonic", "names an older keyset or purge")


class RevocationAttack(HeadAttack):
    """The laptop removes the phone from the account; the phone keeps what it had, and the provider helps it."""

    guarantee = "G2.9"
    expected = ForgedHead
    victim = "laptop"

    async def prepare(self, world: World) -> None:
        world.tablet = await world.enrol("tablet")
        for device in (world.tablet, world.laptop, world.phone):
            await device.sync()
        keys = AccountKeys(
            world.laptop.store, world.laptop.client, world.laptop.engine, kdf=floor_kdf_params
        )
        phone = world.phone.material.device.device_id
        await revoke_device(keys, phone, PASSPHRASE, None, world.laptop.sync)
        await world.tablet.sync()
        await world.laptop.sync()

    async def succeeded(self, world: World) -> bool:
        await world.tablet.sync()
        return await world.tablet.get("local") is not None

    async def head_of(
        self, author: Device, before: HeadRecord, head: bytes, epoch: Epoch, version: int
    ) -> bytes:
        """The next head after the newest one, over the same items, under an epoch of its author's choice."""
        material = author.material
        page = await super(type(self.log), self.log).pull(self.alice, PullRequest(since=0))
        items = ((i.item_id, i.version, hashlib.sha256(i.sealed).digest()) for i in page.items)
        digest = SetDigest.of(epoch, material.account_id, items)
        keyset = self.world.laptop.material.open_keyset()
        mine, author_before = material.device.device_id, before.author
        devices = dict(before.devices)
        devices[author_before] = msgspec.structs.replace(
            devices[author_before], last_hash=head_hash(head)
        )
        devices[mine] = msgspec.structs.replace(
            devices[mine],
            counter=devices[mine].counter + 1,
            last_hash=devices[mine].last_hash,
            acked_seq=before.seq,
        )
        record = msgspec.structs.replace(
            before,
            parent=head_hash(head),
            digest=digest.to_bytes(),
            devices=devices,
            author=mine,
            keyset_version=version,
            keyset_hash=keyset.hash,
        )
        return sign_and_seal(record, material.device.signing_key, epoch, material.account_id)


class WriteAsRevokedDevice(RevocationAttack):
    """Shows a head which the removed phone signed after its removal, under the old keyset and epoch."""

    # Whoever has seen the new keyset in a head finds it by that, too. The phone knows the items, so its sum is right.
    says = "which was revoked"
    checks = (Whole("leap.soledad.head", "_check_not_revoked"), OLDER_KEYSET)

    async def made_from(self, world: World, head: bytes) -> bytes:
        record = self.opened(world.laptop, head)
        version = world.phone.material.open_keyset().version
        return await self.head_of(world.phone, record, head, world.phone.material.epoch, version)


class GoOnUnderOldEpoch(RevocationAttack):
    """Has a device of the account, which it took over, go on under the old epoch, which the removed phone can read."""

    says = "under another epoch"
    checks = (Raise("leap.soledad.head", "open_head", "under another epoch"),)

    async def made_from(self, world: World, head: bytes) -> bytes:
        record = self.opened(world.laptop, head)
        old = world.phone.material.epoch
        return await self.head_of(world.tablet, record, head, old, record.keyset_version)


class GiveOldSecrets(LoginAttack):
    """Gives a new device the secrets as they were wrapped under the passphrase before, which others know."""

    # The new passphrase opens only what it wrapped. Were the old secrets taken, they would still lack an epoch.
    guarantee = "G4"
    expected = ForgedEnvelope
    says = "was altered, or belongs to another place"
    victim = "laptop"
    NEW = "another long passphrase"
    old_key: ClassVar[bytes]
    made: AccountMaterial | None = None

    @staticmethod
    def open_by_the_old_one(reply: SecretsReply, *_: Any) -> tuple[AccountSecrets, Keyset]:
        secrets = unwrap(reply.wraps.passphrase, GiveOldSecrets.old_key, wrap_context(ALICE))
        return secrets, open_keyset(reply.keyset, root_public=secrets.root_public)

    checks = (Instead("leap.soledad.enrol", "open_secrets", open_by_the_old_one),)

    async def prepare(self, world: World) -> None:
        stored = await self.accounts.find_verifier(ALICE, with_recovery=False)
        assert stored is not None
        GiveOldSecrets.old_key = derive_passphrase(PASSPHRASE, stored.verifier.kdf).wrap_key
        self.old = await super(type(self.accounts), self.accounts).secrets(self.alice)
        await world.laptop.sync()
        keys = AccountKeys(
            world.laptop.store, world.laptop.client, world.laptop.engine, kdf=floor_kdf_params
        )
        await change_passphrase(keys, PASSPHRASE, self.NEW, leaked=True)
        await world.laptop.sync()
        await world.phone.sync()

    async def act(self, world: World) -> None:
        async with world.client() as client:
            self.made = (await enrol.enrol_device(client, ALICE, self.NEW, "tablet")).material

    async def succeeded(self, world: World) -> bool:
        assert self.made is not None
        return self.made.epoch == world.laptop.material.epoch

    async def on_secrets(self, reply: SecretsReply) -> SecretsReply:
        self.asked += 1
        return msgspec.structs.replace(reply, wraps=self.old.wraps)

    async def harmed(self, world: World) -> bool:
        assert self.made is not None
        return self.made.epoch != world.laptop.material.epoch


REVOCATION_ATTACKS: tuple[type[Attack], ...] = (
    WriteAsRevokedDevice,
    GoOnUnderOldEpoch,
    GiveOldSecrets,
)
