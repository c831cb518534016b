"""Attacks on the keyset which a device in use asks for: older ones, forged ones, another account's."""

from __future__ import annotations

from leap.soledad.epoch_seal import EpochPayload
from leap.soledad.errors import BadKeyset, ForgedHead, KeysetBehind
from leap.soledad.keyset import Keyset, encode_keyset, open_keyset
from leap.soledad.material import AccountMaterial
from leap.soledad.secrets import new_device_keys
from leap.soledad.wire import KeysetPut, SecretsReply
from tests.hostile.logins import OTHER_ROOT, SIGNATURE
from tests.hostile.server import BOB, Attack
from tests.hostile.switching_off import Instead, Raise, Whole
from tests.hostile.world import World

SUCCESSION = Whole("leap.soledad.keyset", "check_successor")


def take_any_keyset(material: AccountMaterial, signed: bytes) -> tuple[Keyset, list[EpochPayload]]:
    """Asks neither what it follows nor whom it lists."""
    return open_keyset(signed, root_public=material.root_public), []


FOLLOWS = Instead("leap.soledad.syncing.pull", "follow_keyset", take_any_keyset)


class KeysetAttack(Attack):
    """A new device of alice writes, and the laptop, which does not know it, asks for the newest keyset."""

    guarantee = "G4"
    expected = BadKeyset
    victim = "laptop"

    async def prepare(self, world: World) -> None:
        self.old = await self.secrets_now()
        world.tablet = await world.enrol("tablet")
        await world.tablet.sync()
        await world.tablet.put("d1", v="news")
        await world.tablet.sync()

    async def secrets_now(self, account: int | None = None) -> SecretsReply:
        number = self.alice if account is None else account
        return await super(type(self.accounts), self.accounts).secrets(number)

    async def act(self, world: World) -> None:
        await world.laptop.sync()

    async def succeeded(self, world: World) -> bool:
        return bool(await world.laptop.get("d1") == {"v": "news"})


class EnrolOwnDevice(KeysetAttack):
    """Adds a device of its own to the newest keyset, and signs it with a key of its own."""

    says = "not signed by the account's root key"
    checks = (SIGNATURE,)

    async def on_secrets(self, reply: SecretsReply) -> SecretsReply:
        self.asked += 1
        keyset = self.world.tablet.material.open_keyset()
        forged = keyset.with_device(new_device_keys("eve").public(1_800_000_000))
        data = b"\1" + bytes(64) + encode_keyset(forged)
        return SecretsReply(wraps=reply.wraps, keyset=data, keyset_version=forged.version)

    async def harmed(self, world: World) -> bool:
        listed = world.laptop.material.open_keyset().devices
        return "eve" in {device.name for device in listed}


class GiveOtherAccountsKeyset(KeysetAttack):
    """Gives the laptop the keyset of bob."""

    # With all that is asked of a keyset switched off it is even kept; the head then names devices it does not list.
    says = "not signed by the account's root key"
    checks = (SIGNATURE, OTHER_ROOT, FOLLOWS)
    instead = KeysetBehind

    async def on_secrets(self, reply: SecretsReply) -> SecretsReply:
        self.asked += 1
        bob = await self.accounts.find_verifier(BOB, with_recovery=False)
        assert bob is not None
        return await self.secrets_now(bob.account)

    async def harmed(self, world: World) -> bool:
        return world.laptop.material.open_keyset().address == BOB


class RollBackKeyset(KeysetAttack):
    """Gives a keyset older than the one which the laptop knows."""

    # Without the check the old keyset is kept; the head still names a newer one.
    says = "it was rolled back"
    checks = (SUCCESSION,)
    instead = KeysetBehind

    async def prepare(self, world: World) -> None:
        await super().prepare(world)
        self.oldest = self.old
        await world.laptop.sync()
        self.known = world.laptop.material.open_keyset().version
        watch = await world.enrol("watch")
        await watch.sync()
        await watch.put("d1", v="news")
        await watch.sync()

    async def on_secrets(self, reply: SecretsReply) -> SecretsReply:
        self.asked += 1
        return self.oldest

    async def harmed(self, world: World) -> bool:
        return world.laptop.material.open_keyset().version < self.known


class WithholdKeyset(KeysetAttack):
    """Gives the keyset which the laptop knows instead of the newest one, in which a device may be revoked."""

    expected = KeysetBehind
    says = "names keyset version"
    checks = (Raise("leap.soledad.head", "open_head", "names keyset version"),)

    async def prepare(self, world: World) -> None:
        await super().prepare(world)
        await world.phone.sync()  # it knows the newest keyset now, and signs by it
        await world.phone.put("d2", v="news")
        await world.phone.sync()

    async def on_secrets(self, reply: SecretsReply) -> SecretsReply:
        self.asked += 1
        return self.old

    async def harmed(self, world: World) -> bool:
        known = world.laptop.material.open_keyset().version
        return known < world.phone.material.open_keyset().version


class GiveOldKeysetToNewDevice(KeysetAttack):
    """Gives a new device an old keyset, so that what it is made a successor of is not what the others know."""

    # Only the keyset tells: its next version exists twice, and the head names the other one.
    expected = ForgedHead
    says = "names another keyset"
    checks = (Raise("leap.soledad.head", "open_head", "names another keyset"),)
    victim = "watch"
    made: KeysetPut | None = None
    recoverable = (
        False  # the account has two keysets of one version: the new device has to be enrolled again
    )

    async def prepare(self, world: World) -> None:
        await super().prepare(world)
        await world.laptop.sync()  # it knows the tablet now
        await world.laptop.put("d1", v="later news")
        await world.laptop.sync()
        self.evil = self.plans_evil
        world.watch = await world.enrol("watch")
        self.evil = False

    async def on_secrets(self, reply: SecretsReply) -> SecretsReply:
        self.asked += 1
        if self.made is None:
            return self.old
        return SecretsReply(
            wraps=reply.wraps,
            keyset=self.made.keyset,
            keyset_version=self.made.expected_version + 1,
        )

    async def on_put_keyset(self, change: KeysetPut) -> bool:
        self.made = change
        return True

    async def act(self, world: World) -> None:
        await world.watch.sync()

    async def succeeded(self, world: World) -> bool:
        return bool(await world.watch.get("d1") == {"v": "later news"})

    async def harmed(self, world: World) -> bool:
        listed = world.watch.material.open_keyset().devices
        return "tablet" not in {device.name for device in listed}


KEYSET_ATTACKS: tuple[type[Attack], ...] = (
    EnrolOwnDevice,
    GiveOtherAccountsKeyset,
    RollBackKeyset,
    WithholdKeyset,
    GiveOldKeysetToNewDevice,
)
