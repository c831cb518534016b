"""Documents on this machine: making them, opening a store that holds many, and asking an index.

The store is encrypted and on the disk, as a program has it. The original Soledad took about 4 s for 1000 x 10 kB.
Each figure is the median of five runs (of 200 for queries).
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from leap.soledad.documents import Document
from leap.soledad.store import Soledad

KEY = bytes(range(32))
RUNS = 5
QUERIES = 200
DOCUMENTS, SIZE = 1000, 10_000
MANY = 100_000


def content(number: int) -> dict[str, Any]:
    """A document of about 10 kB of JSON: texts, numbers, a list, a nested object."""
    chance = random.Random(number)
    words = [f"{chance.getrandbits(32):08x}" for _ in range(SIZE // 9 - 12)]
    return {
        "type": "note",
        "number": number,
        "title": f"note {number}",
        "tags": words[:3],
        "place": {"city": words[3], "open": number % 2 == 0},
        "text": " ".join(words[4:]),
    }


def small(number: int) -> dict[str, Any]:
    """A document of about 100 octets."""
    return {"type": "entry", "name": f"Name {number:06}", "n": number, "group": f"g{number % 1000}"}


async def _one_by_one(store: Soledad, contents: list[dict[str, Any]]) -> None:
    for each in contents:
        await store.create_doc(each)


async def _concurrent(store: Soledad, contents: list[dict[str, Any]]) -> None:
    await asyncio.gather(*(store.create_doc(each) for each in contents))


async def _put_many(store: Soledad, contents: list[dict[str, Any]]) -> None:
    await store.put_many([Document.new(each) for each in contents])


async def _create(make: Callable[[Soledad, list[dict[str, Any]]], Awaitable[None]]) -> float:
    contents = [content(number) for number in range(DOCUMENTS)]
    with tempfile.TemporaryDirectory() as name:
        async with await Soledad.open(Path(name) / "s.db", KEY) as store:
            began = time.perf_counter()
            await make(store, contents)
            return time.perf_counter() - began


async def _median(work: Callable[[], Awaitable[Any]], runs: int) -> float:
    seconds = []
    for _ in range(runs):
        began = time.perf_counter()
        await work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


async def _many(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / "s.db"
    rows: dict[str, dict[str, Any]] = {}
    store = await Soledad.open(path, KEY)
    await store.create_index("by-name", "lower(name)")
    await store.create_index("by-group", "group", "number(n, 6)")
    began = time.perf_counter()
    for first in range(0, MANY, 1000):
        await store.put_many([Document.new(small(n)) for n in range(first, first + 1000)])
    rows["fill, two indexes"] = {"documents": MANY, "seconds": time.perf_counter() - began}
    began = time.perf_counter()
    await store.create_index("by-word", "split_words(lower(name))")
    rows["make an index of words"] = {"documents": MANY, "seconds": time.perf_counter() - began}
    await store.close()

    async def opened() -> float:
        began = time.perf_counter()
        again = await Soledad.open(path, KEY)
        await again.get_from_index("by-name", "name 050000")
        seconds = time.perf_counter() - began
        await again.close()
        return seconds

    times = [await opened() for _ in range(RUNS)]
    rows["open, first query answered"] = {"documents": MANY, "seconds": statistics.median(times)}
    async with await Soledad.open(path, KEY) as store:
        chance = random.Random(1)
        queries: dict[str, Callable[[], Awaitable[Any]]] = {
            "query: one of a lower()": lambda: store.get_from_index(
                "by-name", f"name {chance.randrange(MANY):06}"
            ),
            "query: 10 by prefix": lambda: store.get_from_index(
                "by-name", f"name {chance.randrange(MANY // 10):05}*"
            ),
            "query: two columns": lambda: store.get_from_index(
                "by-group", f"g{(n := chance.randrange(MANY)) % 1000}", f"{n:06}"
            ),
            "query: range of 10": lambda: store.get_range_from_index(
                "by-name", f"name {(n := chance.randrange(MANY - 10)):06}", f"name {n + 9:06}"
            ),
            "query: one of split_words()": lambda: store.get_from_index(
                "by-word", f"{chance.randrange(MANY):06}"
            ),
            "query: count of 100": lambda: store.get_count_from_index(
                "by-group", f"g{chance.randrange(1000)}", "*"
            ),
            "get_doc": lambda: store.get_doc("absent"),
        }
        for name, query in queries.items():
            await query()
            seconds = await _median(query, QUERIES)
            rows[name] = {"documents": MANY, "ms": f"{seconds * 1000:.3f}"}
    return rows


def run() -> dict[str, dict[str, Any]]:
    """Seconds to make documents and to open a store, milliseconds of a query."""
    rows: dict[str, dict[str, Any]] = {}
    makers = {
        "create_doc, concurrently": _concurrent,
        "put_many": _put_many,
        "create_doc, one after the other": _one_by_one,
    }
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for name, make in makers.items():
            times = [runner.run(_create(make)) for _ in range(RUNS)]
            rows[name] = {"documents": DOCUMENTS, "seconds": statistics.median(times)}
        with tempfile.TemporaryDirectory() as folder:
            rows |= runner.run(_many(Path(folder)))
    return rows


if __name__ == "__main__":
    print(run())
