"""Child processes that move one large blob, and say how much memory that took.

python -m tests.soledad.large_blob send|fetch|travel URL CA-FILE STORE [SIZE ID SHA256]
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from leap.soledad.blobs.format import BlobRef
from leap.soledad.enrol import enrol_device, sign_up
from leap.soledad.remote import ProviderClient
from leap.soledad.secrets import floor_kdf_params
from leap.soledad.syncing import SyncEngine
from tests.provider.process import running
from tests.provider.world import DOMAIN
from tests.soledad.schemas import open_store

MIB = 1024 * 1024
ALICE = f"alice@{DOMAIN}"
PASSPHRASE = "the quick brown fox"


def content(size: int) -> AsyncIterator[bytes]:
    """So many octets, of which half compress and half do not, made as they are read."""

    async def pieces() -> AsyncIterator[bytes]:
        left, number = size, 0
        while left:
            half = hashlib.shake_128(number.to_bytes(8, "big")).digest(MIB // 2)
            piece = (half + bytes(MIB // 2))[:left]
            left -= len(piece)
            number += 1
            yield piece

    return pieces()


def memory_of(process: int | str, what: str) -> int:
    """A process's memory in octets: VmRSS now, VmHWM at the most."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    (found,) = (line for line in lines if line.startswith(what))
    return int(found.split()[1]) * 1024


def peak() -> int:
    """The most memory this process has had, in octets, since `reset_peak`."""
    return memory_of("self", "VmHWM")


def reset_peak() -> None:
    """Lets `peak` count from now on."""
    Path("/proc/self/clear_refs").write_text("5")


async def send(client: ProviderClient, path: Path, size: int) -> dict[str, Any]:
    """Signs up, seals and sends a blob."""
    made = await sign_up(client, ALICE, PASSPHRASE, "laptop", kdf=floor_kdf_params)
    async with await open_store(path) as store:
        await store.save_material(made.material)
        engine = SyncEngine(store, client, gather=0)
        await engine.sync()
        reset_peak()
        before = peak()
        sealed = await store.seal_stream(content(size), size)
        ref = sealed.ref
        values = {"body_id": ref.blob_id, "body_sha256": ref.sha256, "body_size": ref.size}

        def job(tx: Any) -> None:
            tx.put_blob(sealed)
            tx.insert_row("note", "r", {"folder": "in", **values})

        await store.transact(job, durable=True)
        result = await engine.sync()
        await engine.close()
        return {
            "id": ref.blob_id,
            "sha256": ref.sha256,
            "memory": peak() - before,
            "intact": result.blobs_sent == 1,
        }


async def fetch(client: ProviderClient, path: Path, ref: BlobRef) -> dict[str, Any]:
    """Enrols a second device, fetches the blob in the background way, and reads all of it."""
    made = await enrol_device(client, ALICE, PASSPHRASE, "phone")
    async with await open_store(path) as store:
        await store.save_material(made.material)
        engine = SyncEngine(store, client, gather=0)
        await engine.sync()
        reset_peak()
        before = peak()
        await engine._transfer.fetch_large()
        found, expected = hashlib.sha256(), hashlib.sha256()
        store.attach(None)
        async for piece in store.stream_blob(ref):
            found.update(piece)
        memory = peak() - before
        async for piece in content(ref.size):
            expected.update(piece)
        await engine.close()
        return {"memory": memory, "intact": found.digest() == expected.digest()}


async def travel(client: ProviderClient, path: Path) -> None:
    """Syncs a store that is there already, both ways; to be killed."""
    async with await open_store(path) as store:
        assert store.material is not None
        client.token = store.material.token
        engine = SyncEngine(store, client, gather=0)
        await engine.sync()
        await engine._transfer.fetch_large()
        await engine.close()


async def main(what: str, url: str, ca_file: str, store: str, *more: str) -> None:
    async with ProviderClient(url, ca_file=Path(ca_file)) as client:
        if what == "travel":
            await travel(client, Path(store))
        elif what == "send":
            print(json.dumps(await send(client, Path(store), int(more[0]))), flush=True)
        else:
            ref = BlobRef(more[1], more[2], int(more[0]))
            print(json.dumps(await fetch(client, Path(store), ref)), flush=True)


async def child(*arguments: str) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.soledad.large_blob", *arguments, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    report: dict[str, Any] = json.loads(output)
    return report


async def measured(folder: Path, size: int) -> dict[str, Any]:
    """A blob of `size` octets from one device to another through a provider, each a process.

    How many octets each one's memory grew by at the most, and whether the content came intact.
    """
    async with running(folder / "provider") as provider:
        process = provider.process.pid
        before = memory_of(process, "VmRSS")
        where = provider.ready["api"], provider.ready["ca"]
        sent = await child("send", *where, str(folder / "laptop.db"), str(size))
        fetched = await child(
            "fetch", *where, str(folder / "phone.db"), str(size), sent["id"], sent["sha256"]
        )
        return {
            "laptop": sent["memory"],
            "phone": fetched["memory"],
            "provider": memory_of(process, "VmHWM") - before,
            "intact": sent["intact"] and fetched["intact"],
        }


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
