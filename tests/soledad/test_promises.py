"""Changes that are promised: made before anybody looks, once, and also after a crash."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path

import pytest

from leap.soledad.changes import ChangeSet, Rebuilt
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.transaction import Transaction
from tests.conftest import ROOT

KEY = bytes(range(32))


def keep(tx: Transaction, given: bytes) -> None:
    """Counts up in a document; "bad" is a mistake of the program."""
    if given == b"bad":
        raise LookupError("what a person wrote")
    found = tx.get("counter") or {"done": []}
    tx.put("counter", {"done": [*found["done"], given.decode()]})


async def opened(path: Path) -> Soledad:
    return await Soledad.open(path / "s.db", KEY, promised={"count": keep})


def allowed(_: Connection) -> str:
    return "a tag"


async def done(store: Soledad) -> list[str]:
    found = await store.get_doc("counter")
    return [] if found is None or found.content is None else found.content["done"]


async def test_who_asks_after_a_promise_finds_it_kept(tmp_path: Path) -> None:
    async with await opened(tmp_path) as store:
        for word in (b"one", b"two"):
            assert await store.promise("count", word, allowed) == "a tag"
            assert store.owes_changes
        assert await done(store) == ["one", "two"]
        assert not store.owes_changes


async def test_a_promise_is_told_when_it_is_given_and_its_change_when_it_is_made(
    tmp_path: Path,
) -> None:
    async with await opened(tmp_path) as store:
        heard: list[ChangeSet] = []
        store.on_change(heard.append)
        await store.promise("count", b"one", allowed)
        assert [change.tags for change in heard] == [{"a tag"}]
        assert not heard[0].docs
        await done(store)
        assert [change.doc_id for change in heard[1].docs] == ["counter"]


async def test_what_the_check_refuses_is_not_promised(tmp_path: Path) -> None:
    def refuse(_: Connection) -> str:
        raise ValueError("no")

    async with await opened(tmp_path) as store:
        with pytest.raises(ValueError, match="no"):
            await store.promise("count", b"one", refuse)
        assert not store.owes_changes
        assert await done(store) == []


async def test_a_change_that_cannot_be_made_locks_nobody_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with await opened(tmp_path) as store:
        heard: list[ChangeSet] = []
        store.on_change(heard.append)
        for word in (b"one", b"bad", b"two"):
            await store.promise("count", word, allowed)
        with caplog.at_level(logging.ERROR):
            assert await done(store) == ["one", "two"]
        assert "LookupError" in caplog.text
        assert "what a person wrote" not in caplog.text
        assert [Rebuilt() in change.tags for change in heard].count(True) == 1
    async with await opened(tmp_path) as store:
        assert await done(store) == ["one", "two"]


CRASHING = """
import asyncio, os, signal, sys
from pathlib import Path
from leap.soledad import sqlite
from tests.soledad import test_promises as here

sqlite.POSTPONED_SECONDS = 60.0  # nothing is made by itself
kept = here.keep

async def main():
    async with await here.opened(Path(sys.argv[1])) as store:
        for word in (b"one", b"two", b"three"):
            await store.promise("count", word, here.allowed)
        if sys.argv[2] == "between":
            os.kill(os.getpid(), signal.SIGKILL)
        await here.done(store)

def keep(tx, given):
    kept(tx, given)
    if given == b"two" and sys.argv[2] == "within":
        os.kill(os.getpid(), signal.SIGKILL)

here.keep = keep
asyncio.run(main())
"""


@pytest.mark.parametrize("moment", ["between", "within"])
async def test_promises_of_a_process_that_was_killed_are_kept_once_by_the_next(
    tmp_path: Path, moment: str
) -> None:
    killed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CRASHING, str(tmp_path), moment, cwd=ROOT
    )
    assert await killed.wait() == -signal.SIGKILL
    for _ in range(2):
        async with await opened(tmp_path) as store:
            assert await done(store) == ["one", "two", "three"]
