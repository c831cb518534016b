"""An honest provider in memory, with the compare-and-swap rules of `leap.soledad.wire`, and devices on it.

Faults are put into a `Connection` (one per device): a request can be lost before it takes effect, its
reply can be lost after it, or it can be answered by something else.
"""

import asyncio
import copy
import hashlib
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

from leap.soledad.blobs.format import BlobRef
from leap.soledad.errors import HeadMoved, Refused, Unreachable
from leap.soledad.generation import merged
from leap.soledad.keyset import EpochEntry, Keyset, open_keyset, sign_keyset
from leap.soledad.material import AccountMaterial
from leap.soledad.remote.events import Event
from leap.soledad.secrets import DeviceKeys, create_account_secrets, new_device_keys
from leap.soledad.store import Soledad
from leap.soledad.syncing import SyncEngine
from leap.soledad.wire import (
    MAX_COMMIT_BYTES,
    MAX_COMMIT_ITEMS,
    Blob,
    BlobsFound,
    BlobsListed,
    CommitReply,
    CommitRequest,
    ListedBlob,
    LoggedItem,
    PullPage,
    PullRequest,
    SecretsReply,
    StageReply,
    StageRequest,
    Wraps,
    decode,
    encode,
)
from tests.soledad.schemas import open_store

NOW = 1_700_000_000.0


class MemoryProvider:
    """One account's log, blobs and keyset."""

    def __init__(self) -> None:
        self.items: dict[bytes, LoggedItem] = {}
        self.head = b""
        self.head_seq = 0
        self.generation = 1  # of the log
        self.staged: dict[str, dict[int, Any]] = defaultdict(dict)
        self.blobs: dict[str, bytes] = {}
        self.stored: dict[str, float] = {}  # when each blob came, by `now`
        self.now = NOW
        self.listing = 1000  # blobs of one answer to list_blobs
        self.keyset = b""
        self.keyset_version = 0
        self.listeners: set[asyncio.Queue[Event]] = set()
        self.commits: list[CommitRequest] = []

    @property
    def head_hash(self) -> bytes:
        return hashlib.sha256(self.head).digest() if self.head else b""

    def pull(self, request: PullRequest) -> PullPage:
        page: list[LoggedItem] = []
        size = 0
        news = sorted(
            (i for i in self.items.values() if i.seq > request.since), key=lambda i: i.seq
        )
        for item in news:
            size += len(item.sealed)
            if page and (len(page) >= request.max_items or size > request.max_bytes):
                break
            page.append(item)
        more = len(page) < len(news)
        return PullPage(items=page, head=self.head, head_seq=self.head_seq, more=more)

    def stage(self, request: StageRequest) -> StageReply:
        check_size(request.items)
        push = self.staged[request.push_id]
        for number, item in enumerate(request.items, request.first):
            if push.setdefault(number, item) != item:
                raise Refused("stage-differs", "staged with other bytes", 409)
        count = 0
        while count in push:
            count += 1
        return StageReply(staged=count)

    def commit(self, request: CommitRequest) -> CommitReply:
        check_size(request.items)
        if self.head and request.head == self.head:
            return CommitReply(head_seq=self.head_seq)
        if request.founding is not None:
            keyset = open_keyset(self.keyset, root_public=None)
            if not self.generation < request.founding == keyset.generation:
                raise HeadMoved("head-moved", "this generation was founded already", 409)
        elif request.parent != self.head_hash:
            raise HeadMoved("head-moved", "another device was first", 409)
        push = self.staged.get(request.push_id or "", {})
        items = [push[number] for number in sorted(push)] + request.items
        if len(items) != request.count:
            raise Refused("stage-differs", "the number of items is wrong", 409)
        first = request.head_seq - request.count + 1
        if first <= self.head_seq or (request.founding is None and first != self.head_seq + 1):
            raise Refused("bad-request", "the head's seq is wrong", 400)
        if request.founding is not None:
            self.items = {}
            self.generation = request.founding
        for item_id in request.purged:
            self.items.pop(item_id, None)
        for number, item in enumerate(items):
            self.items[item.item_id] = LoggedItem(
                seq=first + number,
                item_id=item.item_id,
                version=item.version,
                sealed=item.sealed,
            )
        self.staged.pop(request.push_id or "", None)
        self.head, self.head_seq = request.head, request.head_seq
        self.commits.append(request)
        for listener in self.listeners:
            listener.put_nowait(Event("head", self.head_seq))
        return CommitReply(head_seq=self.head_seq)

    def put_blobs(self, blobs: Sequence[Blob]) -> None:
        for blob in blobs:
            self.stored[blob.blob_id] = self.now
            if self.blobs.setdefault(blob.blob_id, blob.sealed) != blob.sealed:
                raise Refused("blob-differs", "there is another blob of this id", 409)

    def get_blobs(self, blob_ids: Sequence[str]) -> BlobsFound:
        found = [Blob(blob_id=n, sealed=self.blobs[n]) for n in blob_ids if n in self.blobs]
        missing = [n for n in blob_ids if n not in self.blobs]
        return BlobsFound(blobs=found, missing=missing, more=False)

    def delete_blobs(self, blob_ids: Sequence[str], min_age: int = 0) -> None:
        for name in blob_ids:
            if self.age(name) >= min_age:
                self.blobs.pop(name, None)

    def age(self, name: str) -> int:
        return max(0, int(self.now - self.stored.get(name, NOW)))

    def put_blob_file(self, blob_id: str, path: Path, sha256: bytes) -> None:
        sealed = path.read_bytes()
        if hashlib.sha256(sealed).digest() != sha256:
            raise Refused("bad-digest", "what came is not what was announced", 400)
        self.put_blobs([Blob(blob_id=blob_id, sealed=sealed)])

    def get_blob_range(self, blob_id: str, start: int, length: int) -> bytes:
        if blob_id not in self.blobs:
            raise Refused("not-found", "there is no such blob", 404)
        return self.blobs[blob_id][start : start + length]

    def list_blobs(self, after: str) -> BlobsListed:
        ids = sorted(name for name in self.blobs if name > after)
        blobs = [self.listed(name) for name in ids[: self.listing]]
        return BlobsListed(blobs=blobs, more=len(ids) > self.listing)

    def find_listed(self, blob_ids: Sequence[str], renew: bool) -> dict[str, ListedBlob]:
        found = [name for name in blob_ids if name in self.blobs]
        if renew:
            self.stored |= dict.fromkeys(found, self.now)
        return {name: self.listed(name) for name in found}

    def listed(self, name: str) -> ListedBlob:
        sealed = self.blobs[name]
        return ListedBlob(
            blob_id=name,
            size=len(sealed),
            sha256=hashlib.sha256(sealed).digest(),
            age=self.age(name),
        )

    def snapshot(self) -> dict[str, Any]:
        """All that it stores, for `restore`."""
        kept = ("items", "head", "head_seq", "generation", "blobs", "keyset", "keyset_version")
        return {name: copy.copy(getattr(self, name)) for name in kept}

    def restore(self, snapshot: dict[str, Any]) -> None:
        """As from a backup."""
        for name, value in snapshot.items():
            setattr(self, name, copy.copy(value))

    def secrets(self) -> SecretsReply:
        return SecretsReply(
            wraps=Wraps(passphrase=b"", recovery=b""),
            keyset=self.keyset,
            keyset_version=self.keyset_version,
        )


def check_size(items: Sequence[Any]) -> None:
    if len(items) > MAX_COMMIT_ITEMS or sum(len(i.sealed) for i in items) > MAX_COMMIT_BYTES:
        raise Refused("too-large", "a request is too large", 413)


Fault = Callable[[Callable[[], Any]], Any]


def lost_request(_call: Callable[[], Any]) -> Any:
    raise Unreachable("the request was lost")


def lost_reply(call: Callable[[], Any]) -> Any:
    call()
    raise Unreachable("the reply was lost")


def delivered_twice(call: Callable[[], Any]) -> Any:
    call()
    return call()


class Connection:
    """One device's way to the provider (a SyncRemote); counts requests and suffers the faults put into it."""

    def __init__(self, provider: MemoryProvider) -> None:
        self.provider = provider
        self.faults: dict[str, list[Fault | None]] = defaultdict(list)
        self.always: dict[str, Fault] = {}
        self.requests: list[str] = []
        self.fetched: list[list[str]] = []
        self.staged: list[tuple[str, int]] = []  # every item sent ahead: of which push, which one
        self.before: dict[str, Callable[[], Any]] = {}

    async def _do(self, name: str, call: Callable[[], Any]) -> Any:
        self.requests.append(name)
        await asyncio.sleep(0)
        if name in self.before:
            await self.before[name]()
        faults = self.faults[name]
        fault = faults.pop(0) if faults else self.always.get(name)
        return call() if fault is None else fault(call)

    async def pull(self, request: PullRequest) -> PullPage:
        request = decode(encode(request), PullRequest)
        page = await self._do("pull", lambda: self.provider.pull(request))
        return decode(encode(page), PullPage)

    async def pull_pages(self, request: PullRequest) -> AsyncGenerator[PullPage]:
        """As one streamed reply; each page counts as a request here, and can suffer a fault of its own."""
        more = True
        while more:
            page = await self.pull(request)
            yield page
            more = page.more
            if page.items:
                request = PullRequest(since=page.items[-1].seq)

    async def stage_all(self, requests: AsyncIterable[StageRequest]) -> StageReply:
        """As one streamed request, which counts once; each frame can suffer a fault of its own."""
        reply = StageReply(staged=0)
        counted = len(self.requests) + 1
        async for request in requests:
            reply = await self.stage(request)
            del self.requests[counted:]
        return reply

    async def stage(self, request: StageRequest) -> StageReply:
        request = decode(encode(request), StageRequest)
        last = request.first + len(request.items)
        self.staged += [(request.push_id, number) for number in range(request.first, last)]
        reply: StageReply = await self._do("stage", lambda: self.provider.stage(request))
        return reply

    async def commit(self, request: CommitRequest) -> CommitReply:
        request = decode(encode(request), CommitRequest)
        reply: CommitReply = await self._do("commit", lambda: self.provider.commit(request))
        return reply

    async def put_blobs(self, blobs: Sequence[Blob]) -> None:
        await self._do("put_blobs", lambda: self.provider.put_blobs(blobs))

    async def get_blobs(self, blob_ids: Sequence[str]) -> BlobsFound:
        self.fetched.append(list(blob_ids))
        found: BlobsFound = await self._do("get_blobs", lambda: self.provider.get_blobs(blob_ids))
        return found

    async def delete_blobs(self, blob_ids: Sequence[str], *, min_age: int = 0) -> None:
        await self._do("delete_blobs", lambda: self.provider.delete_blobs(blob_ids, min_age))

    async def find_listed(
        self, blob_ids: Sequence[str], *, renew: bool = False
    ) -> dict[str, ListedBlob]:
        found: dict[str, ListedBlob] = await self._do(
            "find_listed", lambda: self.provider.find_listed(blob_ids, renew)
        )
        return found

    async def put_blob_file(self, blob_id: str, path: Path, sha256: bytes) -> None:
        await self._do("put_blob_file", lambda: self.provider.put_blob_file(blob_id, path, sha256))

    async def get_blob_range(self, blob_id: str, start: int, length: int) -> bytes:
        part: bytes = await self._do(
            "get_blob_range", lambda: self.provider.get_blob_range(blob_id, start, length)
        )
        return part

    async def receive_blob(self, blob_id: str, start: int, limit: int) -> AsyncIterator[bytes]:
        sealed: bytes = await self._do(
            "receive_blob", lambda: self.provider.get_blob_range(blob_id, start, limit + 1)
        )
        for at in range(0, len(sealed), 100_000):
            yield sealed[at : at + 100_000]

    async def list_blobs(self, after: str = "") -> BlobsListed:
        listed: BlobsListed = await self._do("list_blobs", lambda: self.provider.list_blobs(after))
        return listed

    async def secrets(self) -> SecretsReply:
        reply: SecretsReply = await self._do("secrets", self.provider.secrets)
        return reply

    async def events(self) -> AsyncIterator[Event]:
        await self._do("events", lambda: None)
        queue: asyncio.Queue[Event] = asyncio.Queue()
        self.provider.listeners.add(queue)
        try:
            yield Event("hello", self.provider.head_seq)
            while True:
                yield await queue.get()
        finally:
            self.provider.listeners.discard(queue)


class Account:
    """One account with its provider; makes devices."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.provider = MemoryProvider()
        self.secrets = create_account_secrets("alice@example.test", NOW)
        self.devices: list[Device] = []

    def enrol(self, name: str) -> DeviceKeys:
        """A new device in the keyset."""
        keys = new_device_keys(name)
        device = keys.public(NOW)
        provider, secrets = self.provider, self.secrets
        if provider.keyset:
            keyset = open_keyset(provider.keyset, root_public=secrets.root_public).with_device(
                device
            )
        else:
            keyset = Keyset(
                account_id=secrets.account_id,
                address=secrets.address,
                version=1,
                root_public=secrets.root_public,
                devices=[device],
                epochs=[EpochEntry(number=1, created=int(NOW))],
                inbox_keys=[key.public for key in secrets.inbox_keys],
                recovery_public=device.sealing_public,
                previous=b"",
            )
        provider.keyset = sign_keyset(keyset, secrets.root_key)
        provider.keyset_version = keyset.version
        return keys

    async def device(self, name: str, **options: Any) -> "Device":
        """A device with an empty store and its engine."""
        keys = self.enrol(name)
        secrets = self.secrets
        store = await open_store(self.folder / f"{name}.db", **options)
        material = AccountMaterial(
            account_id=secrets.account_id,
            address=secrets.address,
            root_public=secrets.root_public,
            id_key=secrets.id_key,
            epochs=secrets.epochs,
            inbox_keys=secrets.inbox_keys,
            device=keys,
            keyset=self.provider.keyset,
            api_url="https://localhost",
            token="t",
        )
        await store.save_material(material)
        device = Device(self, name, store, options)
        self.devices.append(device)
        return device

    async def sign_generation(self, device: "Device") -> int:
        """The root key signs the next generation, as a person who founds the log anew has it do."""
        provider, secrets = self.provider, self.secrets
        material = device.store.material
        assert material is not None
        shown = open_keyset(provider.keyset, root_public=secrets.root_public)
        keyset = merged(material.open_keyset(), shown)
        signed = sign_keyset(keyset, secrets.root_key)
        provider.keyset, provider.keyset_version = signed, keyset.version
        await device.store.update_material(lambda now: now.with_keyset(signed))
        return keyset.generation

    async def close(self) -> None:
        for device in self.devices:
            await device.close()


class Device:
    """A store, a connection and an engine."""

    def __init__(
        self, account: Account, name: str, store: Soledad, options: dict[str, Any]
    ) -> None:
        self.account = account
        self.name = name
        self.options = options
        self.now = NOW
        self.use(store)

    def use(self, store: Soledad) -> None:
        self.store = store
        self.remote = Connection(self.account.provider)
        self.engine = SyncEngine(store, self.remote, now=lambda: self.now, gather=0)

    async def restart(self) -> None:
        """As after a crash: a new process opens the same files."""
        await self.close()
        self.use(await open_store(self.account.folder / f"{self.name}.db", **self.options))

    async def close(self) -> None:
        await self.engine.close()
        await self.store.close()

    async def sync(self) -> Any:
        return await self.engine.sync()

    async def refound(self) -> Any:
        return await self.engine.refound(lambda: self.account.sign_generation(self))

    # -- shorthand ----------------------------------------------------------------------------

    async def put(self, doc_id: str, **content: Any) -> None:
        await self.store.transact(lambda tx: tx.put(doc_id, content))

    async def insert(self, row_id: str, folder: str = "in", flags: str = "", **values: Any) -> None:
        row = {"folder": folder, "flags": flags, **values}
        await self.store.transact(lambda tx: tx.insert_row("note", row_id, row))

    async def update(self, row_id: str, **values: Any) -> None:
        await self.store.transact(lambda tx: tx.update_rows("note", [row_id], values))

    async def expunge(self, row_id: str) -> None:
        await self.store.transact(lambda tx: tx.delete_rows("note", [row_id]))

    async def row(self, row_id: str) -> Any:
        return await self.store.transact(lambda tx: tx.row("note", row_id))

    async def content(self, doc_id: str) -> Any:
        return await self.store.transact(lambda tx: tx.get(doc_id))

    async def view(self) -> dict[str, Any]:
        """All that a person could see, for comparing devices."""

        def job(c: Any) -> dict[str, Any]:
            rows = c.execute(
                "SELECT row_id, folder, title, flags, date FROM note WHERE deleted = 0 ORDER BY row_id"
            ).fetchall()
            docs = c.execute(
                "SELECT doc_id, content, conflicts FROM document ORDER BY doc_id"
            ).fetchall()
            return {"rows": rows, "docs": docs}

        return await self.store.read(job)

    async def add_blobs(
        self, row_id: str, head: bytes, body: bytes, date: int = 0
    ) -> list[BlobRef]:
        """A row with two blobs."""
        blobs = [await self.store.seal_blob(data) for data in (head, body)]
        values: dict[str, Any] = {"folder": "in", "date": date}
        for kind, blob in zip(("head", "body"), blobs, strict=True):
            values |= {
                f"{kind}_id": blob.ref.blob_id,
                f"{kind}_sha256": blob.ref.sha256,
                f"{kind}_size": blob.ref.size,
            }

        def job(tx: Any) -> None:
            for blob in blobs:
                tx.put_blob(blob)
            tx.insert_row("note", row_id, values)

        await self.store.transact(job, durable=True)
        return [blob.ref for blob in blobs]
