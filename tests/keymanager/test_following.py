"""Documents of one type, read once and then followed, from the real store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from leap.keymanager.documents import Content, StoredDocument
from leap.keymanager.following import Followed
from leap.soledad.store import Soledad

KIND = "openpgp-binding"


class Slow:
    """The store, with something that happens between reading the documents and having them."""

    def __init__(self, store: Soledad, then: Callable[[], Awaitable[object]]) -> None:
        self._store = store
        self._then = then
        self.listening = 0

    async def find_docs(self, type: str, /) -> Sequence[StoredDocument]:
        found = await self._store.find_docs(type)
        await self._then()
        return found

    def on_change(self, callback: Callable[[Any], None], /) -> Callable[[], None]:
        stop = self._store.on_change(callback)
        self.listening += 1

        def unsubscribe() -> None:
            self.listening -= 1
            stop()

        return unsubscribe


def told_into(known: dict[str, int]) -> Callable[[Content | None, Content | None], None]:
    def told(before: Content | None, after: Content | None) -> None:
        if after is not None:
            known[after["address"]] = after["at"]
        elif before is not None:
            known.pop(before["address"], None)

    return told


async def keep(store: Soledad, address: str, at: int | None, kind: str = KIND) -> None:
    content = {"type": kind, "address": address, "at": at}
    doc_id = f"{kind}-{address}"
    await store.transact(lambda tx: tx.delete(doc_id) if at is None else tx.put(doc_id, content))


async def test_what_is_there_and_what_changes_is_told_and_no_other_type(store: Soledad) -> None:
    known: dict[str, int] = {}
    await keep(store, "bob", 1)
    documents = Followed(store, KIND, told_into(known))
    assert not documents.is_read
    await asyncio.gather(*(documents.read() for _ in range(3)))
    assert documents.is_read
    assert known == {"bob": 1}
    await keep(store, "carol", 2)
    await keep(store, "dave", 3, kind="openpgp-contact")
    assert known == {"bob": 1, "carol": 2}
    await keep(store, "bob", None)
    assert known == {"carol": 2}
    documents.close()
    documents.close()
    await keep(store, "bob", 4)
    assert known == {"carol": 2}


async def test_a_change_during_the_reading_is_newer_than_what_was_read(store: Soledad) -> None:
    known: dict[str, int] = {}
    await keep(store, "bob", 1)
    await keep(store, "eve", 1)

    async def meanwhile() -> None:
        await keep(store, "bob", 2)
        await keep(store, "carol", 1)
        await keep(store, "eve", None)

    documents = Followed(Slow(store, meanwhile), KIND, told_into(known))  # type: ignore[arg-type]
    await documents.read()
    assert known == {"bob": 2, "carol": 1}
    documents.close()


@pytest.mark.parametrize("how", ["fails", "is cancelled"])
async def test_a_reading_that_ends_early_leaves_no_listener_and_the_next_reads(
    store: Soledad, how: str
) -> None:
    known: dict[str, int] = {}
    await keep(store, "bob", 1)
    endings = ["early", "well"]

    async def ending() -> None:
        if endings.pop(0) == "early":
            raise OSError("no disk") if how == "fails" else asyncio.CancelledError

    slow = Slow(store, ending)
    documents = Followed(slow, KIND, told_into(known))  # type: ignore[arg-type]
    with pytest.raises((OSError, asyncio.CancelledError)):
        await documents.read()
    assert (slow.listening, documents.is_read, known) == (0, False, {})
    await documents.read()
    assert (slow.listening, known) == (1, {"bob": 1})
    documents.close()
    assert slow.listening == 0
