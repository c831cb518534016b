"""Does the provider still hold what this device knows it to hold: the whole log, item by item, and the blobs.

The log is pulled from its beginning into memory as (version, hash) and compared with what was applied here; every
item is opened as a new device would do. Blobs are compared by the provider's own list, and a sample of them is fetched
and hashed, evicted ones first, then others that are not kept here: a list is only what a provider says. Of blobs too
large for that, some parts are fetched and opened.

Invariants:
* Nothing of what is fetched is kept, and nothing here is changed.
* Two states are compared only at the same head, so another device's commit in between is no finding.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol

from leap.soledad.blobs.download import LARGE
from leap.soledad.blobs.format import CHUNK, BlobRef
from leap.soledad.blobs.reader import AtProvider, RangeSource
from leap.soledad.blobs.streams import Indexes, read_span
from leap.soledad.digest import SetDigest
from leap.soledad.envelope import open_envelope
from leap.soledad.errors import BlobMissing, ProviderLies, Refused
from leap.soledad.head import Head, head_hash, open_head
from leap.soledad.keyset import open_keyset
from leap.soledad.maintenance.findings import Progress, Report
from leap.soledad.material import AccountMaterial
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.syncing.items import KIND, decode_item
from leap.soledad.syncing.state import load_state
from leap.soledad.wire import (
    BlobsFound,
    BlobsListed,
    LoggedItem,
    PullPage,
    PullRequest,
    SecretsReply,
)

ATTEMPTS = 4  # pulls until log and store stand at one head
PARTS = 4  # places drawn by chance in a large blob
SAMPLE_BYTES = 4 * 1024 * 1024  # of plaintext in one request
_REFOUND = (
    "if the provider was restored from a backup, `bitmask sync refound` founds the log anew from this device;"
    " nothing here is lost"
)


class CheckedRemote(RangeSource, Protocol):
    """What is asked of the provider (`ProviderClient`); all may raise Unreachable and Refused."""

    async def pull(self, request: PullRequest) -> PullPage: ...
    async def secrets(self) -> SecretsReply: ...
    async def get_blobs(self, blob_ids: Sequence[str]) -> BlobsFound: ...
    async def list_blobs(self, after: str = "") -> BlobsListed: ...


class _Seen(NamedTuple):
    version: int
    ct_hash: bytes


async def check_log_at_provider(
    store: Soledad,
    remote: CheckedRemote,
    sync: Callable[[], Awaitable[object]],
    report: Report,
    progress: Progress,
) -> None:
    """Pulls all of the log and compares; `sync` brings the store to the provider's head.

    Raises ProviderLies for a head that cannot be true, Unreachable, Refused.
    """
    material = store.material
    assert material is not None
    for _ in range(ATTEMPTS):
        found: dict[bytes, _Seen] = {}
        forged: list[tuple[str, str]] = []
        head = await _pull_all(remote, material, found, forged, progress)
        stand = await store.read(lambda c: _local(c, material.device.device_id))
        if (head.hash if head else b"") == stand.hash:
            break
        if head is not None:
            await sync()  # what it does not accept, it raises
    else:
        report.add(
            "head-moved",
            "log",
            "The log kept changing while it was compared; verify again when other devices are quiet.",
        )
        return
    for what, sentence in forged:
        report.add("item-forged", what, sentence)
    _compare(found, stand, report)
    explained = report.counts["item-missing"] or report.counts["item-older"]
    if head is not None and not explained and not _signed_set(found, head, material):
        report.add(
            "item-forged",
            "digest",
            f"The items shown are not the set which the head signs for; {_REFOUND}.",
        )
    report.checked["items_at_provider"] += len(found)


async def _pull_all(
    remote: CheckedRemote,
    material: AccountMaterial,
    found: dict[bytes, _Seen],
    forged: list[tuple[str, str]],
    progress: Progress,
) -> Head | None:
    since = 0
    head: Head | None = None
    sealed_head = b""
    while True:
        page = await remote.pull(PullRequest(since=since))
        if page.head != sealed_head:
            sealed_head = page.head
            head = await _open_head(remote, material, page)
        await asyncio.to_thread(_look_at, page.items, material, found, forged)
        progress("items at the provider", len(found), page.head_seq)
        if not page.more or not page.items or page.items[-1].seq <= since:
            return head
        since = page.items[-1].seq


async def _open_head(remote: CheckedRemote, material: AccountMaterial, page: PullPage) -> Head:
    """The head of a page, signed by a device of the newest keyset; raises ProviderLies."""
    reply = await remote.secrets()
    keyset = open_keyset(reply.keyset, root_public=material.root_public)
    record = open_head(
        page.head, keyset, material.epochs_by_number, material.account_id, seq=page.head_seq
    )
    return Head(record, head_hash(page.head))


def _look_at(
    items: Sequence[LoggedItem],
    material: AccountMaterial,
    found: dict[bytes, _Seen],
    forged: list[tuple[str, str]],
) -> None:
    epochs = material.epochs_by_number
    for item in items:
        found[item.item_id] = _Seen(item.version, hashlib.sha256(item.sealed).digest())
        try:
            payload = open_envelope(
                item.sealed,
                kind=KIND,
                account=material.account_id,
                item_id=item.item_id,
                version=item.version,
                epochs=epochs,
            )
            decode_item(payload, item.item_id, material.id_key)
        except ProviderLies as error:
            name = item.item_id.hex()
            forged.append(
                (name, f"The provider shows item {name} so that it does not open: {error}.")
            )


class _Stand(NamedTuple):
    """What was applied here, and the head it belongs to."""

    hash: bytes
    items: dict[bytes, tuple[str, int, bytes]]


def _local(connection: Connection, device_id: str) -> _Stand:
    state = load_state(connection, device_id)
    items = {
        item_id: (name, version, ct_hash)
        for item_id, name, version, ct_hash in connection.execute(
            "SELECT item_id, name, version, ct_hash FROM log_item"
        )
    }
    return _Stand(state.hash, items)


def _compare(found: dict[bytes, _Seen], stand: _Stand, report: Report) -> None:
    for item_id, (name, version, ct_hash) in stand.items.items():
        shown = found.get(item_id)
        if shown is None:
            report.add(
                "item-missing",
                name,
                f"The provider does not show {name!r}, which was synced; {_REFOUND}.",
            )
        elif shown.version != version:
            report.add(
                "item-older",
                name,
                f"The provider shows {name!r} in version {shown.version}, synced was {version}; {_REFOUND}.",
            )
        elif shown.ct_hash != ct_hash:
            report.add(
                "item-older",
                name,
                f"The provider shows {name!r} with other bytes than were synced; {_REFOUND}.",
            )
    for item_id in found.keys() - stand.items.keys():
        report.add(
            "item-unknown",
            item_id.hex(),
            f"The provider shows item {item_id.hex()}, which this device does not have at the same head;"
            " set the account up anew on this device to fetch all of it again.",
        )


def _signed_set(found: dict[bytes, _Seen], head: Head, material: AccountMaterial) -> bool:
    epochs = material.epochs_by_number.values()
    triples = [(item_id, seen.version, seen.ct_hash) for item_id, seen in found.items()]
    return any(
        SetDigest.of(epoch, material.account_id, triples).matches(head.record.digest)
        for epoch in epochs
    )


async def check_blobs_at_provider(
    store: Soledad,
    remote: CheckedRemote,
    report: Report,
    progress: Progress,
    *,
    sample: int,
    choose: random.Random,
) -> None:
    """Compares the provider's list with what rows name, and fetches `sample` blobs. Raises Unreachable, Refused."""
    named = await store.read(lambda c: _named(c, store))
    listed = 0
    at_provider: dict[str, bytes] = {}
    after, unnamed, unnamed_bytes = "", 0, 0
    while True:
        page = await remote.list_blobs(after)
        for blob in page.blobs:
            if blob.blob_id in named:
                at_provider[blob.blob_id] = blob.sha256
            else:
                unnamed += 1
                unnamed_bytes += blob.size
        listed += len(page.blobs)
        progress("blobs at the provider", listed, len(named))
        if not page.more or not page.blobs:
            break
        after = page.blobs[-1].blob_id
    # Dropped while the list was read: then it is no finding that they are not on it.
    still = await store.read(lambda c: _named(c, store))
    lost: set[str] = set()
    for blob_id, ref in named.items():
        if blob_id not in still:
            continue
        if blob_id not in at_provider:
            lost.add(blob_id)
            _missing(report, blob_id)
        elif at_provider[blob_id].hex() != ref.sha256:
            lost.add(blob_id)
            _differs(report, blob_id)
    report.checked["blobs_at_provider"] += listed
    report.notes["blobs_no_row_names"] = unnamed
    report.notes["bytes_no_row_names"] = unnamed_bytes
    await _fetch_sample(store, remote, report, progress, still, lost, sample, choose)


def _missing(report: Report, blob_id: str) -> None:
    report.add(
        "blob-missing",
        blob_id,
        f"The provider does not have content {blob_id}; `--repair` sends it again, or asks your other devices.",
    )


def _differs(report: Report, blob_id: str) -> None:
    report.add(
        "blob-differs",
        blob_id,
        f"The provider has other bytes for content {blob_id}; `--repair` replaces them, or asks your other devices.",
    )


async def _fetch_sample(
    store: Soledad,
    remote: CheckedRemote,
    report: Report,
    progress: Progress,
    named: dict[str, BlobRef],
    lost: set[str],
    sample: int,
    choose: random.Random,
) -> None:
    evicted = await store.read(
        lambda c: {n for (n,) in c.execute("SELECT blob_id FROM blob_evicted")}
    )
    kept = await store.read(lambda c: {n for (n,) in c.execute("SELECT blob_id FROM blob")})
    candidates = [ref for blob_id, ref in named.items() if blob_id not in lost]
    choose.shuffle(candidates)
    # Stable: those first which nobody but the provider may have, then others that are not here, each by chance.
    candidates.sort(key=lambda ref: (ref.blob_id not in evicted, ref.blob_id in kept))
    chosen = candidates[:sample]
    small, large = [r for r in chosen if r.size <= LARGE], [r for r in chosen if r.size > LARGE]
    waiting = small
    while waiting:
        progress("sample", len(small) - len(waiting), len(chosen))
        batch: list[BlobRef] = []
        size = 0
        for ref in waiting:
            size += ref.size
            if batch and (size > SAMPLE_BYTES or len(batch) == 100):
                break
            batch.append(ref)
        waiting = waiting[len(batch) :]
        waiting = await _fetch(remote, batch, report) + waiting
    for number, ref in enumerate(large, len(small)):
        progress("sample", number, len(chosen))
        await _read_parts(store, remote, ref, report, choose)
    report.checked["sampled"] += len(chosen)


async def _read_parts(
    store: Soledad, remote: CheckedRemote, ref: BlobRef, report: Report, choose: random.Random
) -> None:
    """Opens the beginning, the end and some places drawn by chance of a blob too large to fetch for a look."""
    chunks = (ref.size + CHUNK - 1) // CHUNK
    at = AtProvider(remote, ref)
    try:
        index = await store.load_index(Indexes(), ref, at)
        for number in (0, chunks - 1, *(choose.randrange(chunks) for _ in range(PARTS))):
            await read_span(index, at, number * CHUNK, CHUNK)
    except BlobMissing:
        _missing(report, ref.blob_id)
    except ProviderLies:
        _differs(report, ref.blob_id)
    report.checked["sampled_in_part"] += 1


async def _fetch(remote: CheckedRemote, batch: Sequence[BlobRef], report: Report) -> list[BlobRef]:
    """Those of the batch that are still to be asked for."""
    wanted = {ref.blob_id: ref for ref in batch}
    try:
        found = await remote.get_blobs(list(wanted))
    except Refused as error:
        if error.status not in (404, 413):
            raise
        if (
            len(batch) > 1
        ):  # one of them is larger there than it should be, or gone: asked for one by one
            left: list[BlobRef] = []
            for ref in batch:
                left += await _fetch(remote, [ref], report)
            return left
        (_missing if error.status == 404 else _differs)(report, batch[0].blob_id)
        return []
    for blob_id in found.missing:
        if wanted.pop(blob_id, None) is not None:
            _missing(report, blob_id)
    sealed = [(wanted.pop(b.blob_id), b.sealed) for b in found.blobs if b.blob_id in wanted]
    altered = await asyncio.to_thread(
        lambda: [r.blob_id for r, data in sealed if hashlib.sha256(data).hexdigest() != r.sha256]
    )
    for blob_id in altered:
        _differs(report, blob_id)
    return list(wanted.values()) if sealed or found.missing else []


def _named(connection: Connection, store: Soledad) -> dict[str, BlobRef]:
    """The blobs that rows name and the provider should have, by id."""
    refs: dict[str, BlobRef] = {}
    for table in store.tables.values():
        for columns in table.schema.blobs:
            for blob_id, sha256, size in connection.execute(
                f"SELECT {', '.join(columns)} FROM {table.schema.name}"  # noqa: S608
                f" WHERE deleted = 0 AND {columns[0]} IS NOT NULL"
            ):
                if isinstance(sha256, str) and isinstance(size, int):
                    refs[blob_id] = BlobRef(blob_id, sha256, size)
    for (blob_id,) in connection.execute("SELECT blob_id FROM blob_unsent"):
        refs.pop(blob_id, None)
    return refs
