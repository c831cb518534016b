"""Attacks on the items of the log: put in, altered, exchanged, held back, shown in an older version, deleted."""

from __future__ import annotations

from typing import Any

import msgspec

from leap.soledad import wire
from leap.soledad.documents import DocumentItem
from leap.soledad.envelope import (
    _ZSTD,
    AESGCM,
    HEADER,
    INNER,
    MAX_PLAINTEXT,
    NONCE,
    _item_key,
    derive_key,
    item_id_of,
    open_envelope,
    zstd_compress,
)
from leap.soledad.errors import (
    CompressionBomb,
    DigestMismatch,
    ForgedEnvelope,
    NotSealed,
    RolledBack,
    SoledadError,
    UnknownEpoch,
    UnknownSuite,
)
from leap.soledad.syncing.items import encode_item
from leap.soledad.wire import LoggedItem, PullPage, PullRequest
from tests.hostile.server import Attack
from tests.hostile.switching_off import Instead, Raise, TagIgnored, Text
from tests.hostile.world import World

DIGEST = Text(
    "leap.soledad.syncing.pull", "Puller._verify", "digest.matches(head.record.digest)", "True"
)
TAG = Instead("leap.soledad.envelope", "AESGCM", TagIgnored)


def key_of_any_place(header: bytes, _k: str, _a: str, _i: bytes, _v: int, epoch: Any) -> bytes:
    """A key that is not bound to kind, account, item id and version."""
    return derive_key(epoch.key, header[5:], b"any place")


PLACE = Instead("leap.soledad.envelope", "_item_key", key_of_any_place)
NAME = Raise("leap.soledad.syncing.items", "decode_item", "shown under the id of another")


def take_what_is_there(sealed: bytes, **place: Any) -> bytes:
    """As in the original: what is not sealed is believed as it is."""
    return open_envelope(sealed, **place) if sealed[0] == 1 else sealed


MANDATORY = (
    Instead("leap.soledad.syncing.fetch", "open_envelope", take_what_is_there),
    Instead("leap.soledad.syncing.pull", "open_envelope", take_what_is_there),
)


class PullAttack(Attack):
    """The laptop pushes news, and the provider answers the phone's pull otherwise than it should."""

    guarantee = "G2.1"
    expected: type[SoledadError] = ForgedEnvelope

    async def prepare(self, world: World) -> None:
        laptop = world.laptop
        await laptop.put("d1", v="news")
        await laptop.put("d2", v="news")
        await laptop.delete("d3")
        await laptop.put("new", v="news")
        await laptop.sync()

    async def act(self, world: World) -> None:
        await world.phone.sync()

    async def succeeded(self, world: World) -> bool:
        return [await world.phone.get(name) for name in ("d1", "d2", "d3", "new")] == [
            {"v": "news"},
            {"v": "news"},
            None,
            {"v": "news"},
        ]

    def id_of(self, name: str) -> bytes:
        """Which item a document is: the provider cannot know, the worst it can do is guess right."""
        return item_id_of(self.world.laptop.material.id_key, f"document/{name}")

    async def find(self, name: str) -> LoggedItem:
        """A document's item as it lies at the provider now."""
        page = await super(type(self.log), self.log).pull(self.alice, PullRequest(since=0))
        return next(item for item in page.items if item.item_id == self.id_of(name))

    def change(self, page: PullPage, name: str, **fields: Any) -> PullPage:
        """The page with one document's item changed."""
        items = []
        for item in page.items:
            if item.item_id == self.id_of(name):
                item = msgspec.structs.replace(item, **fields)
                self.asked += 1
            items.append(item)
        return msgspec.structs.replace(page, items=items)


def in_clear(name: str, content: str | None) -> bytes:
    return encode_item(DocumentItem(name, "9:evil", content))


class InjectPlaintext(PullAttack):
    """Puts a document in clear where a sealed one was."""

    # Behind the mandatory envelope stands the digest: an item nobody committed is not in the sum.
    expected = NotSealed
    says = "lies in clear"
    checks = (*MANDATORY, DIGEST)

    async def on_pull(self, request: PullRequest, page: PullPage) -> PullPage:
        return self.change(page, "d1", sealed=in_clear("d1", '{"v": "evil"}'))

    async def harmed(self, world: World) -> bool:
        return bool(await world.phone.get("d1") == {"v": "evil"})


class ForgeTombstone(PullAttack):
    """Puts a deletion in clear where a sealed document was."""

    expected = NotSealed
    says = "lies in clear"
    checks = (*MANDATORY, DIGEST)

    async def on_pull(self, request: PullRequest, page: PullPage) -> PullPage:
        return self.change(page, "d1", sealed=in_clear("d1", None))

    async def harmed(self, world: World) -> bool:
        return await world.phone.get("d1") is None


class ForgeItem(PullAttack):
    """Alters the authentication tag of a sealed item."""

    # The digest stands behind the tag: the altered bytes have another hash.
    says = "was altered"
    checks = (TAG, DIGEST)

    async def on_pull(self, request: PullRequest, page: PullPage) -> PullPage:
        sealed = next(i.sealed for i in page.items if i.item_id == self.id_of("d1"))
        return self.change(page, "d1", sealed=sealed[:-1] + bytes([sealed[-1] ^ 1]))


class SwapItems(PullAttack):
    """Exchanges the sealed bytes of two items."""

    guarantee = "G2.2"
    # An item is bound to its place three times: by its key, by the name inside, and by the digest.
    says = "belongs to another place"
    checks = (PLACE, NAME, DIGEST)

    async def on_pull(self, request: PullRequest, page: PullPage) -> PullPage:
        one, other = (
            next(i for i in page.items if i.item_id == self.id_of(n)) for n in ("d1", "d2")
        )
        page = self.change(page, "d1", sealed=other.sealed)
        return self.change(page, "d2", sealed=one.sealed)


class TransplantTombstone(PullAttack):
    """Shows the sealed deletion of one document in the place of another document."""

    guarantee = "G2.2"
    says = "belongs to another place"
    checks = (PLACE, NAME, DIGEST)

    async def prepare(self, world: World) -> None:
        await super().prepare(world)
        self.deletion = await self.find("d3")

    async def on_pull(self, request: PullRequest, page: PullPage) -> PullPage:
        return self.change(page, "d1", sealed=self.deletion.sealed)

    async def harmed(self, world: World) -> bool:
        return bool(await world.phone.get("d1") != {"v": "news"})


class DowngradeEnvelope(PullAttack):
    """Says that an item is sealed by an older format."""

    # The format is authenticated with the item, and the item is counted in the digest.
    expected = UnknownSuite
    says = "has format 0"
    checks = (Raise("leap.soledad.envelope", "open_envelope", "has format"), TAG, DIGEST)

    async def on_pull(self, request: PullRequest, page: PullPage) -> PullPage:
        sealed = next(i.sealed for i in page.items if i.item_id == self.id_of("d1"))
        return self.change(page, "d1", sealed=b"\0" + sealed[1:])


class MoveToUnknownEpoch(PullAttack):
    """Says that an item is sealed under an epoch which never was."""

    # Without the first check the newest key is tried; the number is bound into key, tag and digest.
    expected = UnknownEpoch
    says = "under epoch 77"
    checks = (
        Text(
            "leap.soledad.envelope",
            "open_envelope",
            "epochs.get(number)",
            "max(epochs.values(), key=str)",
        ),
        PLACE,
        TAG,
        DIGEST,
    )

    async def on_pull(self, request: PullRequest, page: PullPage) -> PullPage:
        sealed = next(i.sealed for i in page.items if i.item_id == self.id_of("d1"))
        return self.change(page, "d1", sealed=sealed[:1] + (77).to_bytes(4, "big") + sealed[5:])


class ReplayItem(PullAttack):
    """Shows the version of an item which the device has already beside the newest head."""

    guarantee = "G2.3"
    expected = DigestMismatch
    says = "withholds items"
    checks = (DIGEST,)

    async def prepare(self, world: World) -> None:
        self.old = await self.find("d1")
        await super().prepare(world)

    async def on_pull(self, request: PullRequest, page: PullPage) -> PullPage:
        return self.change(page, "d1", version=self.old.version, sealed=self.old.sealed)

    async def harmed(self, world: World) -> bool:
        return bool(await world.phone.get("d1") != {"v": "news"})


class ReplayOlderItem(PullAttack):
    """Shows a version of an item which is older than what the device has."""

    guarantee = "G2.3"
    # Were it taken, the sum would still be another one.
    expected = RolledBack
    says = "in an older version"
    checks = (Raise("leap.soledad.syncing.pull", "Puller._verify", "in an older version"), DIGEST)

    async def prepare(self, world: World) -> None:
        self.old = await self.find("d1")
        await world.laptop.put("d1", v="in between")
        await world.laptop.sync()
        await world.phone.sync()
        await super().prepare(world)

    async def on_pull(self, request: PullRequest, page: PullPage) -> PullPage:
        return self.change(page, "d1", version=self.old.version, sealed=self.old.sealed)

    async def harmed(self, world: World) -> bool:
        return bool(await world.phone.get("d1") == {"n": 1, "of": "laptop"})


class RevealOldTombstone(PullAttack):
    """Shows the deletion of a document that was written anew since."""

    guarantee = "G2.3"
    expected = DigestMismatch
    says = "withholds items"
    checks = (DIGEST,)

    async def prepare(self, world: World) -> None:
        await world.laptop.delete("d1")
        await world.laptop.sync()
        self.deletion = await self.find("d1")
        await super().prepare(world)

    async def on_pull(self, request: PullRequest, page: PullPage) -> PullPage:
        fields = {"version": self.deletion.version, "sealed": self.deletion.sealed}
        return self.change(page, "d1", **fields)

    async def harmed(self, world: World) -> bool:
        return await world.phone.get("d1") is None


class WithholdItem(PullAttack):
    """Leaves one item out of the log, as if it had been purged."""

    guarantee = "G2.4"
    expected = DigestMismatch
    says = "withholds items"
    checks = (DIGEST,)

    async def on_pull(self, request: PullRequest, page: PullPage) -> PullPage:
        items = [item for item in page.items if item.item_id != self.id_of("d1")]
        self.asked += len(items) < len(page.items)
        return msgspec.structs.replace(page, items=items)

    async def harmed(self, world: World) -> bool:
        return bool(await world.phone.get("d1") != {"v": "news"})


class WithholdItemFromNewDevice(WithholdItem):
    """Leaves one item out of the log for a device that has seen nothing yet."""

    victim = "tablet"

    async def prepare(self, world: World) -> None:
        world.tablet = await world.enrol("tablet")
        await super().prepare(world)

    async def act(self, world: World) -> None:
        await world.tablet.sync()

    async def succeeded(self, world: World) -> bool:
        return bool(await world.tablet.get("d1") == {"v": "news"})

    async def harmed(self, world: World) -> bool:
        return await world.tablet.get("d1") is None


class BombItem(PullAttack):
    """Puts in an item of a few kilobytes that unpacks to more than 64 MiB; a stolen epoch key sealed it."""

    guarantee = "G12"
    # Without the limit it is unpacked, and only then found not to belong to the log: by then the memory is gone.
    expected = CompressionBomb
    says = "unpacks to more"
    checks = (Raise("leap.soledad.envelope", "zstd_decompress", "unpacks to more"),)
    instead = DigestMismatch

    async def on_pull(self, request: PullRequest, page: PullPage) -> PullPage:
        item = next(i for i in page.items if i.item_id == self.id_of("d1"))
        material = self.world.phone.material
        body = zstd_compress(bytes(MAX_PLAINTEXT + 1))
        header = HEADER.pack(1, material.epoch.number, bytes(32))
        key = _item_key(
            header, "item", material.account_id, item.item_id, item.version, material.epoch
        )
        sealed = header + AESGCM(key).encrypt(NONCE, INNER.pack(_ZSTD, len(body)) + body, header)
        assert len(sealed) < wire.MAX_COMMIT_BYTES
        return self.change(page, "d1", sealed=sealed)


ITEM_ATTACKS: tuple[type[Attack], ...] = (
    InjectPlaintext,
    ForgeTombstone,
    ForgeItem,
    SwapItems,
    TransplantTombstone,
    DowngradeEnvelope,
    MoveToUnknownEpoch,
    ReplayItem,
    ReplayOlderItem,
    RevealOldTombstone,
    WithholdItem,
    WithholdItemFromNewDevice,
    BombItem,
)
