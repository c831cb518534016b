"""Changes of many messages that are promised are the same as those that are made at once, also after a crash."""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from leap.mail import promised, promising
from leap.mail.contract import INBOX, MailboxId, ModSeq, NewMessage, Uid
from leap.mail.local import LocalAccount, open_mail_store
from leap.soledad.changes import ChangeSet, Rebuilt
from leap.soledad.store import Soledad
from tests.conformance.account_backend import PLAIN, AccountBackendSuite
from tests.conftest import ROOT
from tests.mail.index_check import check_index
from tests.mail.outgoing_fake import Outgoing

ALICE, KEY = "alice@example.test", bytes(range(32))
ARCHIVE, JUNK = MailboxId("archive"), MailboxId("junk")
PLACES = (INBOX, ARCHIVE, JUNK)
FLAGS = ("\\Seen", "\\Deleted", "\\Flagged", "kw", "$Junk")


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Soledad]:
    async with await open_mail_store(tmp_path / "store.db", KEY) as store:
        yield store


@pytest.fixture
async def backend(store: Soledad, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LocalAccount]:
    """An account that promises whatever it can."""
    monkeypatch.setattr(promising, "FEWEST", 1)
    heard: list[ChangeSet] = []
    store.on_change(heard.append)
    account = await LocalAccount.open(store, ALICE, outbox=Outgoing())
    yield account
    await check_index(store)
    await account.close()
    assert not any(Rebuilt() in change.tags for change in heard)  # each promise could be kept


class TestConformance(AccountBackendSuite):
    """The suite every account passes."""


async def fill(
    account: LocalAccount, count: int, to: MailboxId = INBOX, *, recent: bool = False
) -> list[Uid]:
    """New mail of which no other has the size, in a mailbox that is open."""
    mail = [NewMessage(raw=PLAIN + b"x" * number) for number in range(count)]
    uids = [one.uid for one in await account.append(to, mail)]
    if not recent:
        await account.claim_recent(to)
    await account.rows(to)
    return uids


async def standing(account: LocalAccount, mailbox_id: MailboxId) -> tuple[Any, ...]:
    """All that an account answers of a mailbox, but for ids, which are random."""
    status = await account.status(mailbox_id)
    rows = await account.rows(mailbox_id)
    return (
        status.messages,
        status.unseen,
        status.recent,
        status.size,
        status.uid_next,
        status.highest_modseq,
        [(row.uid, row.modseq, row.flags, row.size, row.internal_date) for row in rows],
        [await account.expunged(mailbox_id, ModSeq(n)) for n in range(status.highest_modseq + 1)],
        [
            [row.uid for row in await account.rows(mailbox_id, changed_since=ModSeq(n))]
            for n in range(1, status.highest_modseq + 1)
        ],
    )


async def act(account: LocalAccount, chance: random.Random) -> Any:
    """Something at random, and what is answered without ids."""
    place, other = chance.choice(PLACES), chance.choice(PLACES)
    uids = [row.uid for row in await account.rows(place)]
    some = sorted(chance.sample(uids, chance.randint(0, len(uids))))
    if chance.random() < 0.5:
        some = uids
    match chance.randrange(9):
        case 0:
            recent = chance.random() < 0.5
            return len(await fill(account, chance.randint(1, 5), place, recent=recent))
        case 1 | 2 | 3:
            op = chance.choice(("add", "remove", "set"))
            flags = chance.sample(FLAGS, chance.randint(0, 2))
            status = await account.status(place)
            since = (
                ModSeq(status.highest_modseq - chance.randint(0, 2))
                if chance.random() < 0.3
                else None
            )
            done = await account.store_flags(place, some, op, flags, since)
            shown = [(row.uid, row.modseq, row.flags) for row in done.rows]
            return shown, done.modified, done.modseq
        case 4 | 5:
            moved = await account.copy(place, some, other)
            return moved.source, moved.target
        case 6:
            moved = await account.move(place, some, other)
            return moved.source, moved.target
        case 7:
            return await account.expunge(place, None if chance.random() < 0.5 else some)
        case _:
            return await account.claim_recent(place)


@pytest.mark.parametrize("seed", range(12))
async def test_random_histories_end_alike_whether_changes_are_promised_or_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    promises = 0
    given = promising.Promising._promise

    async def counted(*args: Any) -> bool:
        nonlocal promises
        promises += 1
        return await given(*args)

    monkeypatch.setattr(promising.Promising, "_promise", counted)
    answers: list[list[Any]] = []
    for fewest in (1, 10_000):
        monkeypatch.setattr(promising, "FEWEST", fewest)
        chance, look = random.Random(seed), random.Random(seed)
        said: list[Any] = []
        path = tmp_path / f"{fewest}.db"
        store = await open_mail_store(path, KEY, now=lambda: 1_700_000_000)
        account = await LocalAccount.open(store, ALICE, now=lambda: 1_700_000_000)
        for place in PLACES:
            await fill(account, 4, place)
        for number in range(40):
            said.append(await act(account, chance))
            if look.random() < 0.15:
                said.append([await standing(account, place) for place in PLACES])
                await check_index(store)
            if number % 15 == 14:
                await account.close()
                await store.close()
                store = await open_mail_store(path, KEY, now=lambda: 1_700_000_000)
                account = await LocalAccount.open(store, ALICE, now=lambda: 1_700_000_000)
        said.append([await standing(account, place) for place in PLACES])
        await check_index(store)
        await account.close()
        await store.close()
        answers.append(said)
        assert (promises > 0) is (fewest == 1)
        promises = 0
    assert answers[0] == answers[1]


async def test_an_answer_from_memory_is_what_the_store_says_afterwards(
    backend: LocalAccount, store: Soledad
) -> None:
    uids = await fill(backend, 6)
    done = await backend.store_flags(INBOX, uids[1:4], "add", ["\\Deleted", "\\Seen"])
    assert store.owes_changes
    said, rows = await backend.status(INBOX), await backend.rows(INBOX)
    assert store.owes_changes  # nothing of it was asked of the store
    assert (said.unseen, said.highest_modseq) == (3, done.modseq)
    assert [row for row in rows if row.uid in uids[1:4]] == list(done.rows)
    assert await backend.expunge(INBOX) == uids[1:4]
    moved = await backend.move(INBOX, uids[4:], ARCHIVE)
    assert (await backend.status(INBOX)).messages == 1
    assert await backend.expunged(INBOX, done.modseq) == uids[1:]
    assert store.owes_changes
    other = await LocalAccount.open(store, ALICE)
    assert await other.status(INBOX) == await backend.status(INBOX)
    assert await other.rows(INBOX) == await backend.rows(INBOX)
    assert tuple(row.uid for row in await other.rows(ARCHIVE)) == moved.target
    await other.close()


async def test_a_change_that_came_between_is_not_lost(backend: LocalAccount) -> None:
    uids = await fill(backend, 4)
    await asyncio.gather(
        backend.store_flags(INBOX, uids, "add", ["kw"]),
        backend.store_flags(INBOX, uids[:2], "add", ["\\Seen"]),
        backend.copy(INBOX, uids, ARCHIVE),
        backend.store_flags(INBOX, uids, "add", ["\\Flagged"]),
        backend.copy(INBOX, uids[:1], ARCHIVE),
    )
    rows = await backend.rows(INBOX)
    assert [row.flags for row in rows] == [("\\Flagged", "\\Seen", "kw")] * 2 + [
        ("\\Flagged", "kw")
    ] * 2
    assert len(await backend.rows(ARCHIVE)) == 5


async def test_every_account_of_the_store_hears_of_a_promise_at_once(
    backend: LocalAccount, store: Soledad
) -> None:
    uids = await fill(backend, 3)
    other = await LocalAccount.open(store, ALICE)
    await other.rows(INBOX)
    await other.status(INBOX)
    changes = other.changes()
    done = await backend.store_flags(INBOX, uids, "add", ["\\Seen"])
    change = await anext(changes)
    assert (change.topic, change.mailbox_id, change.modseq) == ("messages", INBOX, done.modseq)
    assert [row.flags for row in await other.rows(INBOX)] == [("\\Seen",)] * 3
    await other.close()


CRASHING = """
import asyncio, os, signal, sys
from pathlib import Path
from leap.mail import promised, promising
from leap.mail.contract import INBOX, MailboxId
from leap.mail.local import LocalAccount, open_mail_store
from leap.soledad import sqlite
from tests.mail.test_promised import ALICE, ARCHIVE, KEY, fill

sqlite.POSTPONED_SECONDS = 60.0  # nothing is made by itself
promising.FEWEST = 1
moment = sys.argv[2]
kept, count = promised.keep, 0

def keep(tx, given):
    global count
    kept(tx, given)
    count += 1
    if moment == str(count):
        os.kill(os.getpid(), signal.SIGKILL)

promised.keep = keep

async def main():
    store = await open_mail_store(Path(sys.argv[1]) / "store.db", KEY)
    account = await LocalAccount.open(store, ALICE)
    uids = await fill(account, 6)
    await account.status(ARCHIVE)
    await account.store_flags(INBOX, uids, "add", ["\\\\Seen"])
    await account.copy(INBOX, uids[:2], ARCHIVE)
    await account.store_flags(INBOX, uids[2:4], "add", ["\\\\Deleted"])
    await account.expunge(INBOX)
    await account.move(INBOX, uids[4:], MailboxId("junk"))
    assert store.owes_changes
    if moment == "between":
        os.kill(os.getpid(), signal.SIGKILL)
    await store.setting("anything")

asyncio.run(main())
"""


@pytest.mark.parametrize("moment", ["between", "1", "3", "5"])
async def test_what_was_answered_before_a_kill_is_there_once_afterwards(
    tmp_path: Path, moment: str
) -> None:
    killed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CRASHING, str(tmp_path), moment, cwd=ROOT
    )
    assert await killed.wait() == -signal.SIGKILL
    for _ in range(2):
        async with await open_mail_store(tmp_path / "store.db", KEY) as store:
            await check_index(store)
            account = await LocalAccount.open(store, ALICE)
            inbox, archive, junk = [await account.rows(place) for place in PLACES]
            assert [(row.uid, row.flags) for row in inbox] == [(1, ("\\Seen",)), (2, ("\\Seen",))]
            assert [(row.uid, row.flags) for row in archive] == [(1, ("\\Seen",)), (2, ("\\Seen",))]
            assert [(row.uid, row.flags) for row in junk] == [(1, ("\\Seen",)), (2, ("\\Seen",))]
            assert await account.expunged(INBOX, ModSeq(1)) == [3, 4, 5, 6]
            await account.close()


async def test_when_much_was_promised_it_is_made_first(
    backend: LocalAccount, store: Soledad, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promised, "MOST_WAITING", 7)
    uids = await fill(backend, 4)
    for word, owes in (("a", True), ("b", True), ("c", False), ("d", True)):
        await backend.store_flags(INBOX, uids, "add", [word])
        assert store.owes_changes is owes
        await backend.status(INBOX)
        await backend.rows(INBOX)
    assert {row.flags for row in await backend.rows(INBOX)} == {("a", "b", "c", "d")}


async def test_what_is_claimed_as_recent_meanwhile_stays_claimed(
    backend: LocalAccount, store: Soledad
) -> None:
    """A claim is no change of the mailbox: its modseq does not tell of it."""
    uids = await fill(backend, 4, recent=True)
    await backend.status(INBOX)
    claimed, _ = await asyncio.gather(
        backend.claim_recent(INBOX), backend.store_flags(INBOX, uids, "add", ["\\Seen"])
    )
    assert claimed == uids
    assert (await backend.status(INBOX)).recent == 0
