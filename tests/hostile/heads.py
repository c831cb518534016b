"""Attacks on heads: old ones, forged ones, another history, a refused push served after all, an insider's."""

from __future__ import annotations

import hashlib
from typing import Any, ClassVar

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from leap.provider.errors import HeadMoved as WroteFirst
from leap.soledad import wire
from leap.soledad.envelope import open_envelope
from leap.soledad.errors import (
    ForgedEnvelope,
    ForgedHead,
    ForkJoined,
    ForkShown,
    HeadMoved,
    KeysetBehind,
    RolledBack,
    UnknownSuite,
)
from leap.soledad.head import DeviceEntry, HeadRecord, head_hash, open_head, sign_and_seal
from leap.soledad.material import AccountMaterial
from leap.soledad.wire import PullPage, PullRequest
from tests.hostile.items import DIGEST, TAG, PullAttack
from tests.hostile.server import BOB, Attack, Reaction
from tests.hostile.switching_off import Instead, Raise, Whole
from tests.hostile.world import Device, World

# The rules of succession are one check. Behind them stand that a head may not move back while it is pulled,
# and the digest: the set of items this device holds is not the one an old head signs for.
SUCCESSION = Whole("leap.soledad.head", "check_successor")
MOVES_BACK = Raise("leap.soledad.syncing.fetch", "_checked_head", "moves back")


class OldLog(Attack):
    """Restores its log as it was."""

    guarantee = "G2.3"
    expected = RolledBack
    checks = (SUCCESSION, MOVES_BACK, DIGEST)

    async def turn(self, world: World, log: Any) -> None:
        """Shows another log from now on."""
        self.newest = await self.copy_log()
        await self.put_log(log)
        self.before = await getattr(world, self.victim).kept()

    async def repent(self, world: World) -> None:
        await self.put_log(self.newest)


class WithholdSeenSuffix(OldLog):
    """Shows the phone the log without its end, which the phone has seen."""

    says = "this device has seen it at"

    async def prepare(self, world: World) -> None:
        self.old = await self.copy_log()
        await world.laptop.put("d1", v="news")
        await world.laptop.sync()
        await world.phone.sync()

    async def act(self, world: World) -> None:
        if self.evil:
            await self.turn(world, self.old)
        await world.phone.sync()

    async def succeeded(self, world: World) -> bool:
        return bool(await world.phone.get("d1") == {"v": "news"})


class RollBackOwnCommit(OldLog):
    """Shows the laptop the log as it was before the laptop's own commit."""

    says = "this device committed itself"
    victim = "laptop"

    async def prepare(self, world: World) -> None:
        self.old = await self.copy_log()
        await world.laptop.put("d1", v="news")
        await world.laptop.sync()

    async def act(self, world: World) -> None:
        if self.evil:
            await self.turn(world, self.old)
        await world.laptop.sync()

    async def succeeded(self, world: World) -> bool:
        await world.phone.sync()
        return bool(await world.phone.get("d1") == {"v": "news"})


class ShowEmptyLog(Attack):
    """Says that the log is empty."""

    guarantee = "G2.3"
    expected = RolledBack
    says = "an empty log"
    checks = (Raise("leap.soledad.syncing.fetch", "_check_empty", "an empty log"),)

    async def act(self, world: World) -> None:
        await world.phone.sync()

    async def succeeded(self, world: World) -> bool:
        await world.laptop.sync()
        return await world.laptop.get("local") is not None

    async def on_pull(self, request: PullRequest, page: PullPage) -> PullPage:
        self.asked += 1
        return PullPage(items=[], head=b"", head_seq=0, more=False)


class JoinForks(OldLog):
    """Keeps two histories apart, one for each device, and then shows the phone the laptop's."""

    guarantee = "G2.5"
    expected = ForkShown
    says = "went on without what this device committed"
    recoverable = False

    async def prepare(self, world: World) -> None:
        self.old = await self.copy_log()
        for n in range(3):
            await world.laptop.put("d1", v=n)
            await world.laptop.sync()

    async def act(self, world: World) -> None:
        if self.evil:
            laptops = await self.copy_log()
            await self.put_log(self.old)
            await world.phone.put("d2", v="phone")
            await world.phone.sync()
            await world.phone.put("local", v="another edit")
            await self.turn(world, laptops)
        await world.phone.sync()

    async def succeeded(self, world: World) -> bool:
        return bool(await world.phone.get("d1") == {"v": 2})


class MoveDeviceToOtherFork(OldLog):
    """Keeps two histories apart, and moves a device that only reads from one to the other."""

    guarantee = "G2.5"
    expected = ForkShown
    says = "went on without what this device has seen"
    victim = "tablet"
    recoverable = False

    async def prepare(self, world: World) -> None:
        world.tablet = await world.enrol("tablet")
        for device in (world.tablet, world.laptop, world.phone, world.tablet):
            await device.sync()
        self.old = await self.copy_log()

    async def act(self, world: World) -> None:
        await world.laptop.put("d1", v="laptop")
        await world.laptop.sync()
        await self.fetch_only(world.tablet)
        if self.evil:
            await self.put_log(self.old)
        for n in range(3):
            await world.phone.put("d2", v=n)
            await world.phone.sync()
        if self.evil:
            await self.turn(world, await self.copy_log())
        await world.tablet.sync()

    @staticmethod
    async def fetch_only(device: Device) -> None:
        await device.engine._puller.pull()

    async def succeeded(self, world: World) -> bool:
        return bool(await world.tablet.get("d2") == {"v": 2})


class ServeRefusedPush(OldLog):
    """Refuses a push because another device was first, keeps it, and serves it later as if it had taken place."""

    says = "this device committed itself"
    victim = "laptop"
    kept: wire.CommitRequest | None = None
    armed = False

    async def on_commit(self, request: wire.CommitRequest) -> wire.CommitReply | None:
        if self.armed:
            self.armed = False
            self.kept = request
            await self.world.phone.put("d2", v="phone")
            await self.world.phone.sync()
        return None

    async def act(self, world: World) -> None:
        before = await self.copy_log()
        self.armed = True
        await world.laptop.put("d1", v="refused once")
        await world.laptop.sync()
        assert self.kept is not None
        await world.laptop.put("local", v="an edit that is not pushed")
        if self.evil:
            newest = await self.copy_log()
            await self.put_log(before)
            await super(type(self.log), self.log).commit(self.alice, self.kept)
            forked = await self.copy_log()
            await self.put_log(newest)
            await self.turn(world, forked)
        await world.laptop.sync()

    async def succeeded(self, world: World) -> bool:
        await world.phone.sync()
        both = [await world.phone.get(name) for name in ("d1", "d2")]
        return both == [{"v": "refused once"}, {"v": "phone"}]


class DropAcceptedPush(OldLog):
    """Answers a push as done, and does not do it."""

    says = "this device committed itself"
    victim = "laptop"
    recoverable = False  # what was dropped is on the laptop only: it has to found the log anew

    async def on_commit(self, request: wire.CommitRequest) -> wire.CommitReply | None:
        if not self.evil or self.asked:
            return None
        self.asked += 1
        return wire.CommitReply(head_seq=request.head_seq)

    async def act(self, world: World) -> None:
        await world.laptop.put("d1", v="dropped")
        await world.laptop.sync()
        await world.laptop.put("local", v="another edit")
        self.before = await world.laptop.kept()
        await world.laptop.sync()

    async def succeeded(self, world: World) -> bool:
        await world.phone.sync()
        return bool(await world.phone.get("d1") == {"v": "dropped"})


class RefuseEveryPush(Attack):
    """Says to every push that another device was first."""

    guarantee = "G12"
    expected = HeadMoved
    says = "another device wrote first"
    reaction = Reaction.RETRY
    checks = (Instead("leap.soledad.syncing.push", "MAX_ATTEMPTS", 1_000_000),)
    enough = 50  # for this provider; the device gives up for a while after fewer

    async def act(self, world: World) -> None:
        await world.phone.sync()

    async def succeeded(self, world: World) -> bool:
        await world.laptop.sync()
        return await world.laptop.get("local") is not None

    async def on_commit(self, request: wire.CommitRequest) -> wire.CommitReply | None:
        if self.evil and self.asked < self.enough:
            self.asked += 1
            raise WroteFirst("another device wrote first")
        return None

    async def harmed(self, world: World) -> bool:
        return self.asked == self.enough


class ShowHeadAtAnotherSeq(PullAttack):
    """Says that the newest head stands further along than it was signed for."""

    guarantee = "G2.6"
    expected = ForgedHead
    says = "is shown at seq"
    checks = (Raise("leap.soledad.head", "open_head", "is shown at seq"),)

    async def on_pull(self, request: PullRequest, page: PullPage) -> PullPage:
        self.asked += 1
        return msgspec.structs.replace(page, head_seq=page.head_seq + 5)


class ShowKnownHeadAtAnotherSeq(PullAttack):
    """Says that the head which the phone accepted last stands further along."""

    guarantee = "G2.6"
    expected = ForgedHead
    says = "is shown at another one"
    checks = (Raise("leap.soledad.syncing.fetch", "_checked_head", "is shown at another one"),)

    async def prepare(self, world: World) -> None:
        await super().prepare(world)
        await world.phone.sync()

    async def on_pull(self, request: PullRequest, page: PullPage) -> PullPage:
        self.asked += 1
        return msgspec.structs.replace(page, head_seq=page.head_seq + 5)


class MoveHeadBackBetweenPages(PullAttack):
    """Shows the newest head with the first page of a pull, and an older one with the second."""

    guarantee = "G2.3"
    # Behind it stands the digest: the old head does not sign for what the first page held.
    expected = RolledBack
    says = "moves back while it is pulled"
    checks = (MOVES_BACK, DIGEST)
    cut: int | None = None

    async def prepare(self, world: World) -> None:
        await world.laptop.put("d0", v="in between")
        await world.laptop.sync()
        self.middle = await super(type(self.log), self.log).pull(self.alice, PullRequest(since=0))
        await super().prepare(world)

    async def on_pull(self, request: PullRequest, page: PullPage) -> PullPage:
        if self.asked:
            return page
        if self.cut is None:
            self.cut = page.items[0].seq
            return msgspec.structs.replace(page, items=page.items[:1], more=True)
        if request.since != self.cut:
            return page
        self.asked += 1
        head, seq = self.middle.head, self.middle.head_seq
        items = [item for item in page.items if item.seq <= seq]
        return PullPage(items=items, head=head, head_seq=seq, more=False)


class HeadAttack(PullAttack):
    """Puts another head in the place of the newest one."""

    guarantee = "G2.6"
    expected = ForgedHead

    async def act(self, world: World) -> None:
        if self.evil:
            self.newest = await self.copy_log()
            head = self.newest[1][0][1]
            await self.put_head(await self.made_from(world, head))
        await getattr(world, self.victim).sync()

    async def repent(self, world: World) -> None:
        await self.put_log(self.newest)

    async def made_from(self, world: World, head: bytes) -> bytes:
        raise NotImplementedError

    async def put_head(self, head: bytes) -> None:
        """With its hash, so that a push on top of it is accepted too."""
        digest = hashlib.sha256(head).digest()
        self.asked += 1
        await self.db.write(
            lambda c: c.execute(
                "UPDATE head SET head = ?, head_hash = ? WHERE account = ?",
                (head, digest, self.alice),
            )
        )

    def opened(self, device: Device, head: bytes) -> HeadRecord:
        """What a stolen epoch key shows of a head."""
        material = device.material
        keyset = self.world.laptop.material.open_keyset()
        later = device.material.open_keyset()
        newest = max(keyset, later, key=lambda one: one.version)
        return open_head(head, newest, material.epochs_by_number, material.account_id)


class ForgeHead(HeadAttack):
    """Alters the authentication tag of the head."""

    guarantee = "G2.1"
    expected = ForgedEnvelope
    says = "a sealed head was altered"
    checks = (TAG,)

    async def made_from(self, world: World, head: bytes) -> bytes:
        return head[:-1] + bytes([head[-1] ^ 1])


class DowngradeHead(HeadAttack):
    """Says that the head is sealed by an older format."""

    guarantee = "G2.1"
    # The format is authenticated with the head.
    expected = UnknownSuite
    says = "has format 0"
    checks = (Raise("leap.soledad.envelope", "open_envelope", "has format"), TAG)

    async def made_from(self, world: World, head: bytes) -> bytes:
        return b"\0" + head[1:]


class ShowOtherAccountsHead(HeadAttack):
    """Shows alice the head of bob's log."""

    guarantee = "G2.2"
    # With keys that open everyone's heads, there is still no device of bob's in alice's keyset.
    expected = ForgedEnvelope
    says = "a sealed head was altered, or belongs to another place"
    bobs: ClassVar[AccountMaterial]

    @staticmethod
    def open_for_anyone(sealed: bytes, **place: Any) -> bytes:
        try:
            return open_envelope(sealed, **place)
        except ForgedEnvelope:
            bob = ShowOtherAccountsHead.bobs
            place |= {"account": bob.account_id, "epochs": bob.epochs_by_number}
            return open_envelope(sealed, **place)

    checks = (Instead("leap.soledad.head", "open_envelope", open_for_anyone),)
    instead = KeysetBehind

    async def made_from(self, world: World, head: bytes) -> bytes:
        ShowOtherAccountsHead.bobs = world.bob.material
        bob = await self.accounts.find_verifier(BOB, with_recovery=False)
        assert bob is not None
        page = await super(type(self.log), self.log).pull(bob.account, PullRequest(since=0))
        return page.head


class SignHeadWithForeignKey(HeadAttack):
    """Signs a head in the laptop's name with a key of its own; a stolen epoch key sealed it."""

    says = "is not signed by the device"
    checks = (Raise("leap.soledad.head", "open_head", "is not signed by"),)

    async def made_from(self, world: World, head: bytes) -> bytes:
        material = world.laptop.material
        record = msgspec.structs.replace(self.opened(world.laptop, head), time=1)
        own = Ed25519PrivateKey.generate()
        return sign_and_seal(record, own, material.epoch, material.account_id)


class SignHeadForOtherKeyset(HeadAttack):
    """Has a device of the account, which it took over, name another keyset of the newest version."""

    # A device that has seen a head of that keyset version finds it by the rules of succession, too.
    says = "names another keyset"
    checks = (
        Raise("leap.soledad.head", "open_head", "names another keyset"),
        Raise("leap.soledad.head", "_check_monotonic", "different keysets of the same version"),
    )
    victim = "laptop"

    async def prepare(self, world: World) -> None:
        await world.phone.put("d1", v="news")
        await world.phone.put("d2", v="news")
        await world.phone.delete("d3")
        await world.phone.put("new", v="news")
        await world.phone.sync()

    async def made_from(self, world: World, head: bytes) -> bytes:
        material = world.phone.material
        record = msgspec.structs.replace(self.opened(world.phone, head), keyset_hash=bytes(32))
        record = msgspec.structs.replace(
            record, keyset_version=world.laptop.material.open_keyset().version
        )
        return sign_and_seal(
            record, material.device.signing_key, material.epoch, material.account_id
        )

    async def succeeded(self, world: World) -> bool:
        return bool(await world.laptop.get("d1") == {"v": "news"})


class MoveOtherDevicesCounter(HeadAttack):
    """Has a device of the account, which it took over, sign a head that counts an attempt the laptop never made."""

    # To other devices the same head shows by the rule that a commit changes no entry but its author's.
    expected = ForkJoined
    says = "which it never made"
    checks = (
        Raise("leap.soledad.head", "_check_own", "which it never made"),
        Whole("leap.soledad.head", "_check_direct"),
    )
    victim = "laptop"

    async def prepare(self, world: World) -> None:
        await world.phone.put("d1", v="news")
        await world.phone.sync()
        await world.laptop.sync()

    def entry_of(self, before: DeviceEntry) -> DeviceEntry:
        return msgspec.structs.replace(before, counter=before.counter + 1, last_hash=bytes(32))

    async def made_from(self, world: World, head: bytes) -> bytes:
        phone = world.phone.material
        record = self.opened(world.phone, head)
        devices = dict(record.devices)
        mine = world.laptop.material.device.device_id
        devices[mine] = self.entry_of(devices[mine])
        author = devices[phone.device.device_id]
        devices[phone.device.device_id] = msgspec.structs.replace(
            author, counter=author.counter + 1, last_hash=head_hash(head)
        )
        record = msgspec.structs.replace(
            record,
            parent=head_hash(head),
            devices=devices,
            author=phone.device.device_id,
            time=record.time + 1,
        )
        return sign_and_seal(record, phone.device.signing_key, phone.epoch, phone.account_id)

    async def succeeded(self, world: World) -> bool:
        return bool(await world.laptop.get("d1") == {"v": "news"})


class MoveOtherDevicesAcknowledgement(MoveOtherDevicesCounter):
    """Has a device of the account, which it took over, say that the laptop has read less than it said."""

    says = "have the same counter"
    checks = (Raise("leap.soledad.head", "check_successor", "have the same counter"),)

    def entry_of(self, before: DeviceEntry) -> DeviceEntry:
        return msgspec.structs.replace(before, acked_seq=before.acked_seq - 1)


HEAD_ATTACKS: tuple[type[Attack], ...] = (
    WithholdSeenSuffix,
    RollBackOwnCommit,
    ShowEmptyLog,
    JoinForks,
    MoveDeviceToOtherFork,
    ServeRefusedPush,
    DropAcceptedPush,
    RefuseEveryPush,
    ShowHeadAtAnotherSeq,
    ShowKnownHeadAtAnotherSeq,
    MoveHeadBackBetweenPages,
    ForgeHead,
    DowngradeHead,
    ShowOtherAccountsHead,
    SignHeadWithForeignKey,
    SignHeadForOtherKeyset,
    MoveOtherDevicesCounter,
    MoveOtherDevicesAcknowledgement,
)
