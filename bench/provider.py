"""A provider under load: `leap-provider serve` with TLS and its embedded store, the load from another process.

Each blob PUT and each commit is answered after an fsync; those that wait at the same moment share it.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import uvloop

from bench.load import Load, Target, lanes_of, request
from bench.machine import cpu_seconds, resident_mb
from leap.provider.provider import Provider
from leap.soledad import wire
from tests.provider.world import DOMAIN, account
from tests.scenarios.world import Process

RUNS = 5
LANES = 48  # connections
BLOB = 10_000  # octets
PUTS, GETS, BATCHES, BATCH = 3_000, 6_000, 60, 100
ITEM = 1_085  # octets: the smallest sealed item
COMMIT_ITEMS, COMMITS, WRITERS = 1_000, 6, 4  # commits of each writer
STREAMS, ACCOUNTS = 5_000, 84


async def _prepare(folder: Path, accounts: int, devices: int) -> list[list[str]]:
    """Accounts in a new provider's folder; the tokens of their devices."""
    provider = await Provider.open(folder, DOMAIN)
    try:
        tokens = []
        for number in range(accounts):
            person = await account(provider, f"alice{number}")
            issued = await asyncio.gather(
                *(provider.tokens.issue(person, f"d{n}", f"device {n}") for n in range(devices))
            )
            tokens.append([token for token, _ in issued])
        return tokens
    finally:
        await provider.close()


class _Served:
    """A provider process with accounts in it."""

    def __init__(self, folder: Path, accounts: int = 1, devices: int = 1) -> None:
        data = folder / "provider"
        self.tokens = uvloop.run(_prepare(data, accounts, devices))
        arguments = ["leap.provider.cli", "serve", "--data", str(data), "--domain", DOMAIN]
        self.process = Process(arguments, folder / "provider.log")

    def __enter__(self) -> _Served:
        said = self.process.start()
        self.target = Target(said["api"], Path(said["ca"]))
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()


def _measured(served: _Served, lanes: Sequence[Sequence[bytes]]) -> tuple[Load, float]:
    """The load, and the CPU seconds it took the server."""
    before = cpu_seconds(served.process.pid)
    load = uvloop.run(served.target.run(lanes))
    return load, cpu_seconds(served.process.pid) - before


def _row(runs: Sequence[tuple[Load, float]], per_request: int = 1) -> dict[str, Any]:
    rates = [load.rate * per_request for load, _ in runs]
    count = sum(load.count for load, _ in runs) * per_request
    return {
        "a second": statistics.median(rates),
        "worst run": min(rates),
        "best run": max(rates),
        "request ms": statistics.median(load.percentile(0.5) for load, _ in runs) * 1e3,
        "p99 ms": statistics.median(load.percentile(0.99) for load, _ in runs) * 1e3,
        "server us each": sum(cpu for _, cpu in runs) / count * 1e6,
        "client us each": sum(load.client_cpu for load, _ in runs) / count * 1e6,
    }


def _blobs(served: _Served) -> dict[str, dict[str, Any]]:
    token = served.tokens[0][0]
    noise = os.urandom(BLOB + 4096)
    chance = random.Random(1)
    stored: list[str] = []

    def fresh(count: int) -> list[tuple[str, bytes]]:
        made = []
        for _ in range(count):
            start = chance.randrange(4096)
            made.append((os.urandom(16).hex(), noise[start : start + BLOB]))
        stored.extend(blob_id for blob_id, _ in made)
        return made

    def put() -> list[bytes]:
        return [
            request("PUT", f"/1/blobs/{blob_id}", token, sealed) for blob_id, sealed in fresh(PUTS)
        ]

    def get() -> list[bytes]:
        return [
            request("GET", f"/1/blobs/{blob_id}", token)
            for blob_id in chance.choices(stored, k=GETS)
        ]

    def put_many() -> list[bytes]:
        batches = (
            [wire.Blob(blob_id=blob_id, sealed=sealed) for blob_id, sealed in fresh(BATCH)]
            for _ in range(BATCHES)
        )
        return [
            request("POST", "/1/blobs/put", token, wire.encode(wire.BlobsPut(blobs=blobs)))
            for blobs in batches
        ]

    def get_many() -> list[bytes]:
        batches = (chance.choices(stored, k=BATCH) for _ in range(BATCHES))
        return [
            request("POST", "/1/blobs/get", token, wire.encode(wire.BlobsGet(blob_ids=ids)))
            for ids in batches
        ]

    def runs(make: Callable[[], list[bytes]], lanes: int) -> list[tuple[Load, float]]:
        return [_measured(served, lanes_of(make(), lanes)) for _ in range(RUNS)]

    return {
        "blob PUT": _row(runs(put, LANES)),
        "blob GET": _row(runs(get, LANES)),
        "PUT in batches of 100": _row(runs(put_many, 4), BATCH),
        "GET in batches of 100": _row(runs(get_many, 4), BATCH),
    }


class _Writer:
    """Commits of one account, each upon the one before."""

    def __init__(self, token: str, seed: int) -> None:
        self._token = token
        self._parent, self._seq = b"", 0
        self._chance = random.Random(seed)
        self._ids = [self._chance.randbytes(32) for _ in range(COMMITS * COMMIT_ITEMS // 2)]

    def requests(self, version: int) -> list[bytes]:
        """All items once, then all of them again."""
        made = []
        for number in range(COMMITS):
            first = number * COMMIT_ITEMS % len(self._ids)
            items = [
                wire.Item(item_id=one, version=version, sealed=self._chance.randbytes(ITEM))
                for one in self._ids[first : first + COMMIT_ITEMS]
            ]
            head = self._chance.randbytes(1000)
            self._seq += len(items)
            commit = wire.CommitRequest(
                parent=self._parent, head=head, head_seq=self._seq, count=len(items), items=items
            )
            made.append(request("POST", "/1/commit", self._token, wire.encode(commit)))
            self._parent = hashlib.sha256(head).digest() if head else b""
        return made


def _commits(served: _Served) -> dict[str, Any]:
    writers = [_Writer(tokens[0], seed) for seed, tokens in enumerate(served.tokens)]
    runs = [
        _measured(served, [writer.requests(number + 1) for writer in writers])
        for number in range(RUNS)
    ]
    return _row(runs, COMMIT_ITEMS)


async def _idle(served: _Served) -> dict[str, Any]:
    pid = served.process.pid
    before = resident_mb(pid)
    openings = [request("GET", "/1/events", token) for one in served.tokens for token in one]
    openings = openings[:STREAMS]
    began, cpu = time.perf_counter(), cpu_seconds(pid)
    streams = await served.target.streams(openings)
    opened, cpu = time.perf_counter() - began, cpu_seconds(pid) - cpu
    resident = resident_mb(pid)
    idle = cpu_seconds(pid)
    await asyncio.sleep(5)
    idle = (cpu_seconds(pid) - idle) / 5
    # How soon all devices of one account hear of a commit
    told: list[float] = []
    devices = streams[: len(served.tokens[0])]
    for stream in devices:
        stream.told = told
    head = os.urandom(1000)
    commit = wire.CommitRequest(
        parent=b"", head=head, head_seq=1, count=1, items=[_one_item()], push_id=None
    )
    sent = time.perf_counter()
    await served.target.run(
        [[request("POST", "/1/commit", served.tokens[0][0], wire.encode(commit))]]
    )
    while len(told) < len(devices):  # noqa: ASYNC110 - what is waited for comes from many streams
        await asyncio.sleep(0.001)
    heard = max(told) - sent
    for stream in streams:
        stream.close()
    return {
        "streams": len(streams),
        "MB before": before,
        "MB with them": resident,
        "kB each": (resident - before) * 1000 / len(streams),
        "opened s": opened,
        "server us to open one": cpu / len(streams) * 1e6,
        "idle CPU %": idle * 100,
        f"commit heard by {len(devices)} ms": heard * 1e3,
    }


def _one_item() -> wire.Item:
    return wire.Item(item_id=os.urandom(32), version=1, sealed=os.urandom(ITEM))


def run() -> dict[str, dict[str, Any]]:
    """One row a case."""
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name, _Served(Path(name)) as served:
        rows |= _blobs(served)
    with tempfile.TemporaryDirectory() as name, _Served(Path(name), WRITERS) as served:
        rows["item upserts in commits"] = _commits(served)
    devices = -(-STREAMS // ACCOUNTS)
    with tempfile.TemporaryDirectory() as name, _Served(Path(name), ACCOUNTS, devices) as served:
        rows["idle event streams"] = uvloop.run(_idle(served))
    return rows
