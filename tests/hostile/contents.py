"""Attacks on blobs and on mail that waits in the inbox."""

from __future__ import annotations

from typing import Any

import msgspec
from aiohttp import web

from leap.provider.contract import Delivery
from leap.provider.http.bodies import answer
from leap.soledad.blobs.format import HEADER, BlobRef
from leap.soledad.envelope import derive_key, with_lengths
from leap.soledad.errors import BadReply, BlobAltered, BlobMissing, ForgedEnvelope, UnknownSuite
from leap.soledad.inbox_seal import open_from_inbox, seal_to_inbox
from leap.soledad.wire import API, BlobsFound, BlobsList, InboxClaim, InboxItems
from tests.hostile.server import ALICE, BOB, Attack, Reaction
from tests.hostile.switching_off import Instead, Raise, TagIgnored, Whole
from tests.hostile.world import World

HEAD, BODY = b"the head of a note" * 300, b"its body, as long." * 300
WHOLE = Whole("leap.soledad.blobs.format", "check_whole")


class BlobAttack(Attack):
    """The laptop writes a row with contents, and the phone reads them."""

    guarantee = "G2.7"
    expected = BlobAltered
    reaction = Reaction.REFUSAL
    read: tuple[bytes, ...] = ()
    refs: list[BlobRef]

    async def prepare(self, world: World) -> None:
        self.refs = await world.laptop.add_note("note", HEAD, BODY)
        await world.laptop.sync()
        await world.phone.sync()

    async def act(self, world: World) -> None:
        self.read = tuple(await world.phone.store.read_blobs(self.refs))

    async def succeeded(self, world: World) -> bool:
        return self.read == (HEAD, BODY)

    def change(self, found: BlobsFound, sealed: list[bytes]) -> BlobsFound:
        self.asked += 1
        blobs = [
            msgspec.structs.replace(blob, sealed=data)
            for blob, data in zip(found.blobs, sealed, strict=True)
        ]
        return msgspec.structs.replace(found, blobs=blobs)


def key_of_any_place(header: bytes, _a: str, _b: str, _s: int, epoch: Any) -> bytes:
    """A key that is not bound to account, blob id and size."""
    return derive_key(epoch.key, HEADER.unpack(header)[2], b"any blob")


class SwapBlobs(BlobAttack):
    """Exchanges the bytes of two blobs."""

    # The hash in the row names the bytes, and the key is bound to the id.
    says = "is not the one that was stored"
    checks = (WHOLE, Instead("leap.soledad.blobs.format", "_key", key_of_any_place))

    async def on_blobs(self, found: BlobsFound) -> BlobsFound:
        return self.change(found, [blob.sealed for blob in found.blobs[::-1]])

    async def harmed(self, world: World) -> bool:
        return self.read == (BODY, HEAD)


class AlterBlob(BlobAttack):
    """Alters the end of a blob."""

    says = "is not the one that was stored"
    checks = (WHOLE,)

    async def on_blobs(self, found: BlobsFound) -> BlobsFound:
        flipped = [b.sealed[:-1] + bytes([b.sealed[-1] ^ 1]) for b in found.blobs]
        return self.change(found, flipped)


class TruncateBlob(BlobAttack):
    """Cuts the end of a blob off."""

    says = "is not the one that was stored"
    checks = (WHOLE,)

    async def on_blobs(self, found: BlobsFound) -> BlobsFound:
        return self.change(found, [blob.sealed[:-20] for blob in found.blobs])


class DropBlobs(BlobAttack):
    """Says that it has no such blobs."""

    # Without the check the reader finds that it has nothing to give.
    expected = BlobMissing
    says = "does not have blob"
    checks = (Raise("leap.soledad.blobs.reader", "_raise_for", "does not have blob"),)
    instead = BlobAltered

    async def on_blobs(self, found: BlobsFound) -> BlobsFound:
        self.asked += 1
        names = [blob.blob_id for blob in found.blobs]
        return BlobsFound(blobs=[], missing=names, more=False)


class ListOtherBlobs(BlobAttack):
    """Answers with a list of blobs that nobody asked for."""

    expected = BadReply
    says = "other blobs than were asked for"
    checks = (
        Raise(
            "leap.soledad.remote.client", "ProviderClient.get_blobs", "other blobs than were asked"
        ),
    )

    async def on_blobs(self, found: BlobsFound) -> BlobsFound:
        self.asked += 1
        return msgspec.structs.replace(found, missing=["0" * 32])


class GiveNoBlobs(BlobAttack):
    """Answers with neither blobs nor word that they are missing, so that the device would ask for ever."""

    # The client and the reader both look.
    expected = BadReply
    says = "none of the blobs"
    checks = (
        Raise("leap.soledad.remote.client", "ProviderClient.get_blobs", "none of the blobs"),
        Raise("leap.soledad.blobs.reader", "BlobReader.fetch_batch", "answers with nothing"),
    )

    async def on_blobs(self, found: BlobsFound) -> BlobsFound:
        if self.asked == 20:  # twenty rounds are enough to show that there would be no end
            return found
        self.asked += 1
        return BlobsFound(blobs=[], missing=[], more=True)

    async def harmed(self, world: World) -> bool:
        return self.asked == 20


class AlterRange(BlobAttack):
    """Alters the part of a large blob which the phone reads by itself."""

    # No hash covers a part: each chunk, and the index before them, is authenticated by itself.
    says = "is not the one that was stored"
    checks = (Instead("leap.soledad.blobs.format", "AESGCM", TagIgnored),)
    LARGE = b"a line of a large mail\r\n" * 200_000

    async def prepare(self, world: World) -> None:
        self.refs = await world.laptop.add_note("note", HEAD, self.LARGE)
        await world.laptop.sync()
        await world.phone.sync()

    async def act(self, world: World) -> None:
        self.read = (await world.phone.store.read_blob(self.refs[1], 1_000_000, 24),)

    async def succeeded(self, world: World) -> bool:
        return self.read == (self.LARGE[1_000_000:1_000_024],)

    async def on_http(self, request: web.Request, handler: Any) -> web.StreamResponse:
        reply = await super().on_http(request, handler)
        if "Range" not in request.headers:
            return reply
        assert isinstance(reply, web.Response)
        assert isinstance(reply.body, bytes)
        self.asked += 1
        altered = reply.body[:-1] + bytes([reply.body[-1] ^ 1])
        headers = {"Content-Range": reply.headers["Content-Range"]}
        return web.Response(status=206, body=altered, headers=headers)


class ListBlobsWithoutEnd(Attack):
    """Lists the same blobs again and again, as if there were more."""

    guarantee = "G12"
    expected = BadReply
    says = "lists blobs in no order"
    reaction = Reaction.REFUSAL
    checks = (
        Raise("leap.soledad.remote.client", "ProviderClient._list", "lists blobs in no order"),
    )
    listed = 0

    async def act(self, world: World) -> None:
        """As who looks for orphans reads the list."""
        after, more = "", True
        while more:
            page = await world.phone.client.list_blobs(after)
            self.listed += len(page.blobs)
            more = page.more
            if page.blobs:
                after = page.blobs[-1].blob_id

    async def succeeded(self, world: World) -> bool:
        return self.listed > 0

    async def on_http(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path != f"{API}/blobs/list" or self.asked == 20:
            return await super().on_http(request, handler)
        self.asked += 1
        page = await self.blobs.listed(self.alice, BlobsList())
        return answer(msgspec.structs.replace(page, more=True))

    async def harmed(self, world: World) -> bool:
        return self.asked == 20


class InboxAttack(Attack):
    """A mail waits, sealed by the MX; the phone claims and unseals it."""

    guarantee = "G6"
    expected = ForgedEnvelope
    reaction = Reaction.REFUSAL
    mail: tuple[bytes, ...] = ()

    async def prepare(self, world: World) -> None:
        account = await self.accounts.find(ALICE)
        assert account is not None
        sealed = seal_to_inbox(b"a mail", account.inbox_key, account.account_id)
        await self.deliver(
            [
                Delivery(
                    account_id=account.account_id,
                    key_id=account.inbox_key.key_id,
                    sealed=sealed,
                    submission=None,
                    recipient=ALICE,
                )
            ]
        )

    async def act(self, world: World) -> None:
        material = world.phone.material
        claimed = await world.phone.client.claim_inbox(InboxClaim())
        self.mail = tuple(
            open_from_inbox(item.sealed, material.inbox_keys, material.account_id)
            for item in claimed.items
        )

    async def succeeded(self, world: World) -> bool:
        return self.mail == (b"a mail",)

    def change(self, items: InboxItems, sealed: bytes) -> InboxItems:
        self.asked += 1
        return InboxItems(
            items=[msgspec.structs.replace(one, sealed=sealed) for one in items.items],
            waiting=items.waiting,
        )


class DowngradeInboxSuite(InboxAttack):
    """Says that a mail is sealed by another suite."""

    expected = UnknownSuite
    says = "sealed by suite 0"
    checks = (Raise("leap.soledad.inbox_seal", "open_sealed", "sealed by suite"),)

    async def on_claim(self, items: InboxItems) -> InboxItems:
        return self.change(items, b"\0" + items.items[0].sealed[1:])

    async def harmed(self, world: World) -> bool:
        return self.mail == (b"a mail",)


def info_of_any_account(_account: str, key_id: str) -> bytes:
    """What binds a seal to the key only."""
    return with_lengths(b"any account", bytes.fromhex(key_id))


class GiveOtherAccountsMail(InboxAttack):
    """Gives alice a mail that was sealed for bob's account, to a key which alice's has too."""

    says = "belongs to another account"
    checks = (Instead("leap.soledad.inbox_seal", "_info", info_of_any_account),)

    async def on_claim(self, items: InboxItems) -> InboxItems:
        alice, bob = await self.accounts.find(ALICE), await self.accounts.find(BOB)
        assert alice is not None
        assert bob is not None
        return self.change(items, seal_to_inbox(b"for bob", alice.inbox_key, bob.account_id))

    async def harmed(self, world: World) -> bool:
        return self.mail == (b"for bob",)


CONTENT_ATTACKS: tuple[type[Attack], ...] = (
    SwapBlobs,
    AlterBlob,
    TruncateBlob,
    DropBlobs,
    ListOtherBlobs,
    GiveNoBlobs,
    AlterRange,
    ListBlobsWithoutEnd,
    DowngradeInboxSuite,
    GiveOtherAccountsMail,
)
