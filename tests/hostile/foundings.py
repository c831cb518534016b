"""Attacks on founding the log anew and on purging: generations, partial heads, tombstones that are gone."""

from __future__ import annotations

import msgspec

from leap.soledad.errors import DigestMismatch, ForkJoined, RolledBack
from leap.soledad.generation import begin_generation
from leap.soledad.head import DeviceEntry, HeadRecord, sign_and_seal
from leap.soledad.wire import LoggedItem, PullPage, PullRequest
from tests.hostile.heads import HeadAttack
from tests.hostile.items import DIGEST, PullAttack
from tests.hostile.server import Attack
from tests.hostile.switching_off import Raise, Whole
from tests.hostile.world import Device, World
from tests.provider.world import PASSPHRASE


def signed(device: Device, record: HeadRecord) -> bytes:
    material = device.material
    return sign_and_seal(record, material.device.signing_key, material.epoch, material.account_id)


class FoundLogWithoutRootKey(HeadAttack):
    """Has a device of the account, which it took over, found the log anew without the root key."""

    guarantee = "G2.8"
    expected = ForkJoined
    says = "not by this account's root key"
    checks = (Raise("leap.soledad.head", "check_successor", "not by this account's root key"),)
    victim = "laptop"

    async def prepare(self, world: World) -> None:
        await world.laptop.sync()
        await world.phone.sync()

    async def made_from(self, world: World, head: bytes) -> bytes:
        record = self.opened(world.phone, head)
        mine = world.phone.material.device.device_id
        entry = DeviceEntry(counter=record.devices[mine].counter + 1, last_hash=b"", acked_seq=0)
        founded = msgspec.structs.replace(
            record, generation=2, parent=b"", devices={mine: entry}, author=mine
        )
        return signed(world.phone, founded)

    async def succeeded(self, world: World) -> bool:
        return await world.laptop.get("local") is not None


class ShowOldPartialHead(HeadAttack):
    """Shows a head of a founding that was not done yet, after the device has seen it done."""

    # Behind the rules of succession stands, as for any old head, the digest.
    guarantee = "G2.8"
    expected = RolledBack
    says = "this device committed itself"
    checks = (
        Whole("leap.soledad.head", "check_successor"),
        Raise("leap.soledad.syncing.fetch", "_checked_head", "moves back while it is pulled"),
        Raise("leap.soledad.syncing.fetch", "_checked_head", "and is not done"),
        DIGEST,
    )

    async def prepare(self, world: World) -> None:
        laptop = world.laptop
        await laptop.engine.refound(
            lambda: begin_generation(laptop.store, laptop.client, PASSPHRASE)
        )
        await laptop.put("d1", v="news")
        await laptop.sync()
        await world.phone.sync()

    async def made_from(self, world: World, head: bytes) -> bytes:
        """As the laptop signed it on the way, and the provider kept it."""
        record = self.opened(world.laptop, head)
        laptop = world.laptop.material.device.device_id
        entry = msgspec.structs.replace(
            record.devices[laptop], counter=1, last_hash=b"", acked_seq=1
        )
        before = msgspec.structs.replace(
            record, partial=True, seq=1, parent=b"", devices={laptop: entry}, author=laptop
        )
        return signed(world.laptop, before)

    async def put_head(self, head: bytes) -> None:
        await super().put_head(head)
        await self.db.write(
            lambda c: c.execute("UPDATE head SET seq = 1 WHERE account = ?", (self.alice,))
        )

    async def succeeded(self, world: World) -> bool:
        return bool(await world.phone.get("d1") == {"v": "news"})


class RevivePurgedDocument(PullAttack):
    """Shows a document again whose deletion was purged from the log, so that no device remembers it."""

    guarantee = "G2.8"
    expected = DigestMismatch
    says = "withholds items"
    checks = (DIGEST,)
    DAY = 24 * 3600 + 1.0

    async def prepare(self, world: World) -> None:
        self.kept = await self.find("d1")
        await world.laptop.delete("d1")
        await world.laptop.sync()
        for days in (1, 2, 3):
            for device in (world.phone, world.laptop):
                device.later = days * self.DAY
                await device.sync()
        await world.phone.sync()
        await world.laptop.put("new", v="news")
        await world.laptop.sync()

    async def on_pull(self, request: PullRequest, page: PullPage) -> PullPage:
        if not page.items:
            return page
        self.asked += 1
        revived = LoggedItem(
            seq=page.items[0].seq,
            item_id=self.kept.item_id,
            version=self.kept.version,
            sealed=self.kept.sealed,
        )
        later = [msgspec.structs.replace(i, seq=i.seq + 1) for i in page.items]
        return PullPage(
            items=[revived, *(i for i in later if i.seq <= page.head_seq)],
            head=page.head,
            head_seq=page.head_seq,
            more=page.more,
        )

    async def succeeded(self, world: World) -> bool:
        purged = await self.purged()
        return purged and await world.phone.get("new") == {"v": "news"}

    async def purged(self) -> bool:
        page = await super(type(self.log), self.log).pull(self.alice, PullRequest(since=0))
        return self.kept.item_id not in {item.item_id for item in page.items}

    async def harmed(self, world: World) -> bool:
        return await world.phone.get("d1") is not None


FOUNDING_ATTACKS: tuple[type[Attack], ...] = (
    FoundLogWithoutRootKey,
    ShowOldPartialHead,
    RevivePurgedDocument,
)
