"""Mail that is accepted is there for whoever asks, under the uid that was promised, also after kill -9."""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from leap.mail import promising, spooling
from leap.mail.contract import INBOX, MailboxId, NewMessage, NoSuchMailbox, RowId, StorageFull, Uid
from leap.mail.local import LocalAccount, open_mail_store
from leap.mail.model import MAIL_ROWS
from leap.mail.new_rows import row_values
from leap.mail.promising import PromiseMade
from leap.mail.spooling import Spooling, folder_of
from leap.mail.storing import LOCAL, keep_all, prepare
from leap.soledad.errors import StoreFull
from leap.soledad.spool import Spool, files
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.transaction import Transaction
from tests.mail.accepting import ALICE, KEY, letter, work
from tests.mail.index_check import check_index

STEP = 3  # one in three steps; 1 finds no more, in three times the time


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Soledad]:
    async with await open_mail_store(tmp_path / "store.db", KEY) as store:
        yield store


@pytest.fixture
async def account(store: Soledad) -> AsyncIterator[LocalAccount]:
    account = await LocalAccount.open(store, ALICE)
    yield account
    await check_index(store)
    await account.close()


def spooling_of(store: Soledad) -> Spooling:
    assert isinstance(store.accepting, Spooling)
    return store.accepting


def messages(*names: str) -> list[NewMessage]:
    return [NewMessage(raw=letter(name)) for name in names]


async def names_by_uid(account: LocalAccount, mailbox_id: MailboxId = INBOX) -> dict[int, str]:
    rows = await account.rows(mailbox_id)
    described = await account.metadata([row.row_id for row in rows])
    return {row.uid: its.subject for row, its in zip(rows, described, strict=True)}


async def from_sync(store: Soledad, *names: str) -> None:
    """Rows that come as sync brings them, the newest name first."""
    made = [await prepare(store, letter(name), LOCAL) for name in names]

    def job(tx: Transaction) -> None:
        kept = keep_all(tx, made)
        tx.insert_rows(
            MAIL_ROWS.name,
            [
                (name.rjust(32, "0"), row_values(RowId(name), fixed, INBOX, "", -at, 0))
                for at, (name, fixed) in enumerate(zip(names, kept, strict=True))
            ],
        )

    await store.transact_as(job, durable=False, from_sync=True)


async def test_what_is_accepted_waits_until_somebody_asks(
    account: LocalAccount, store: Soledad
) -> None:
    await account.append(INBOX, messages("a", "b"))
    assert store.accepting is not None
    assert store.accepting.waiting
    assert (await account.status(INBOX)).messages == 2
    assert not store.accepting.waiting


async def test_it_is_stored_by_itself_when_nobody_asks(
    account: LocalAccount, store: Soledad, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = asyncio.Event()
    store.on_change(lambda changes: stored.set() if changes.rows else None)
    await account.append(INBOX, messages("a"))
    async with asyncio.timeout(20):
        await stored.wait()


async def test_every_way_of_asking_finds_it(account: LocalAccount, store: Soledad) -> None:
    [one] = await account.append(INBOX, messages("a"))
    assert await account.read(one.row_id) == letter("a")
    [two] = await account.append(INBOX, messages("b"))
    assert [its.subject for its in await account.metadata([two.row_id])] == ["b"]
    [three] = await account.append(INBOX, messages("c"))
    assert len((await account.search("subject:c")).found) == 1
    [four] = await account.append(INBOX, messages("d"))
    assert len(await account.thread_ids([four.row_id])) == 1
    await account.append(INBOX, messages("e"))
    assert len(await account.threads()) == 5
    await account.append(INBOX, messages("f"))
    count = "SELECT count(*) FROM mail_row"
    assert await store.read(lambda c: c.execute(count).fetchone()[0]) == 6
    assert three.uid == 3


async def test_changes_are_told_when_it_is_accepted_and_show_it(account: LocalAccount) -> None:
    before = (await account.status(INBOX)).highest_modseq
    changes = account.changes()
    await account.append(INBOX, messages("a"))
    async with asyncio.timeout(20):
        change = await anext(changes)
    assert (change.topic, change.mailbox_id) == ("messages", INBOX)
    assert change.modseq > before
    assert (await account.status(INBOX)).highest_modseq >= change.modseq
    assert await names_by_uid(account) == {1: "a"}


async def test_a_mailbox_that_is_gone_takes_nothing(account: LocalAccount, store: Soledad) -> None:
    made = await account.create_mailbox("Short")
    await account.append(made.mailbox_id, messages("a"))
    await account.delete_mailbox(made.mailbox_id)
    with pytest.raises(NoSuchMailbox):
        await account.append(made.mailbox_id, messages("b"))
    assert store.accepting is not None
    assert not store.accepting.waiting


async def test_what_is_large_is_stored_as_it_comes_and_behind_what_waits(
    account: LocalAccount, store: Soledad
) -> None:
    large = letter("large") + b"x" * spooling.MOST_EACH
    [one] = await account.append(INBOX, messages("a"))
    [two] = await account.append(INBOX, [NewMessage(raw=large)])
    assert store.accepting is not None
    assert not store.accepting.waiting
    assert (one.uid, two.uid) == (1, 2)
    assert await names_by_uid(account) == {1: "a", 2: "large"}


async def test_a_transaction_that_was_asked_for_before_comes_behind_what_was_accepted_since(
    account: LocalAccount, store: Soledad
) -> None:
    """It has not begun: so the uid that was promised stays promised, also beside rows that sync brings."""
    await from_sync(store, "zero")
    begun = asyncio.create_task(from_sync(store, "two", "three", "four"))
    appended = await account.append(INBOX, messages("a", "b"))
    await begun
    found = await names_by_uid(account)
    assert [found[one.uid] for one in appended] == ["a", "b"]
    assert sorted(found.values()) == ["a", "b", "four", "three", "two", "zero"]


async def test_a_transaction_takes_in_what_nobody_settled(
    account: LocalAccount, store: Soledad, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once(self: Spooling) -> None:
        """As if mail were accepted right behind it."""

    [one, two] = await account.append(INBOX, messages("a", "b"))
    monkeypatch.setattr(Spooling, "settle", at_once)
    await from_sync(store, "c", "d")
    monkeypatch.undo()
    found = await names_by_uid(account)
    assert (found[one.uid], found[two.uid]) == ("a", "b")
    assert sorted(found.values()) == ["a", "b", "c", "d"]


async def test_a_job_that_fails_takes_nothing_away(
    account: LocalAccount, store: Soledad, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once(self: Spooling) -> None:
        """As if mail were accepted right behind it."""

    def job(tx: Transaction) -> None:
        raise LookupError

    await account.append(INBOX, messages("a"))
    monkeypatch.setattr(Spooling, "settle", at_once)
    with pytest.raises(LookupError):
        await store.transact(job)
    monkeypatch.undo()
    assert await names_by_uid(account) == {1: "a"}


async def test_promised_uids_hold_whatever_else_happens(
    account: LocalAccount, store: Soledad
) -> None:
    chance = random.Random(7)
    other = (await account.create_mailbox("Other")).mailbox_id
    promised: dict[MailboxId, dict[int, str]] = {INBOX: {}, other: {}}

    async def appending(name: str) -> None:
        for number in range(12):
            to = chance.choice((INBOX, other))
            names = [f"{name}-{number}-{at}" for at in range(chance.randrange(1, 4))]
            made = await account.append(to, messages(*names))
            promised[to].update({one.uid: name for one, name in zip(made, names, strict=True)})
            if chance.random() < 0.3:
                await asyncio.sleep(0)

    async def copying() -> None:
        for _ in range(12):
            rows = await account.rows(INBOX)
            if rows:
                await account.copy(INBOX, [chance.choice(rows).uid], other)
            await asyncio.sleep(0)

    async def syncing() -> None:
        for number in range(12):
            await from_sync(store, f"s{number}", f"t{number}")

    await asyncio.gather(appending("x"), appending("y"), appending("z"), copying(), syncing())
    for mailbox_id, expected in promised.items():
        found = await names_by_uid(account, mailbox_id)
        assert {uid: found[uid] for uid in expected} == expected


@pytest.mark.parametrize("seed", range(4))
async def test_accepted_mail_and_promised_changes_are_one_sequence(
    account: LocalAccount, store: Soledad, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Whatever uid is answered is the one the message has; each mailbox holds what its answers say, and no more."""
    monkeypatch.setattr(promising, "FEWEST", 1)
    chance = random.Random(seed)
    boxes = (INBOX, (await account.create_mailbox("Other")).mailbox_id)
    came: dict[tuple[MailboxId, int], str | tuple[MailboxId, int]] = {}  # a name, or where it was
    went: set[tuple[MailboxId, int]] = set()
    highest = dict.fromkeys(boxes, 0)
    promised: list[PromiseMade] = []
    store.on_change(
        lambda changes: promised.extend(tag for tag in changes.tags if isinstance(tag, PromiseMade))
    )

    async def adding(name: str) -> None:
        for number in range(10):
            to = chance.choice(boxes)
            names = [f"{name}-{number}-{at}" for at in range(chance.randrange(1, 4))]
            made = await account.append(to, messages(*names))
            came.update({(to, one.uid): its for one, its in zip(made, names, strict=True)})

    async def changing() -> None:
        for _ in range(12):
            at, to = chance.sample(boxes, 2)
            uids = [row.uid for row in await account.rows(at)]
            some = sorted(chance.sample(uids, min(len(uids), chance.choice((1, 2, 9)))))
            match chance.choice(("store", "store", "copy", "move", "expunge")):
                case "store":
                    await account.store_flags(at, some, "add", ["\\Deleted", "\\Seen"])
                case "copy":
                    done = await account.copy(at, some, to)
                    pairs = zip(done.target, done.source, strict=True)
                    came.update({(to, uid): (at, before) for uid, before in pairs})
                case "move":
                    done = await account.move(at, some, to)
                    pairs = zip(done.target, done.source, strict=True)
                    came.update({(to, uid): (at, before) for uid, before in pairs})
                    went.update((at, uid) for uid in done.source)
                case _:
                    went.update((at, uid) for uid in await account.expunge(at, some))
            before = highest[at]  # that was answered before this question
            status = await account.status(at)
            assert status.highest_modseq >= before
            highest[at] = max(highest[at], status.highest_modseq)

    await asyncio.gather(*(adding(name) for name in "xyz"), changing(), changing(), changing())

    def name_of(place: tuple[MailboxId, int]) -> str:
        found = came[place]
        return found if isinstance(found, str) else name_of(found)

    for mailbox_id in boxes:
        expected = {
            place[1]: name_of(place) for place in came.keys() - went if place[0] == mailbox_id
        }
        assert await names_by_uid(account, mailbox_id) == expected
    assert promised  # some were made so


async def test_who_adds_faster_than_it_is_stored_waits(
    account: LocalAccount, store: Soledad, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spooling, "MOST", 5)
    most = 0
    for number in range(20):
        await account.append(INBOX, messages(str(number)))
        most = max(most, len(spooling_of(store)._waiting))
    assert 1 <= most <= 5
    assert len(await names_by_uid(account)) == 20


async def test_a_full_spool_is_told_and_nothing_was_accepted(
    account: LocalAccount, store: Soledad, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Spool, bodies: list[bytes]) -> int:
        raise StoreFull("the disk is full; nothing was changed")

    monkeypatch.setattr(Spool, "append", full)
    with pytest.raises(StorageFull):
        await account.append(INBOX, messages("a"))
    monkeypatch.undo()
    [one] = await account.append(INBOX, messages("b"))
    assert await names_by_uid(account) == {one.uid: "b"} == {1: "b"}


async def test_while_the_database_is_full_the_rest_is_read_and_nothing_is_lost(
    account: LocalAccount, store: Soledad
) -> None:
    assert await names_by_uid(account) == {}
    await account.append(INBOX, messages(*map(str, range(40))))

    def no_room(connection: Connection) -> None:
        connection.execute("PRAGMA max_page_count = 1").fetchall()  # as many as there are

    await store.database.write(no_room)
    assert (await account.status(INBOX)).messages == 0
    await store.database.write(lambda c: c.execute("PRAGMA max_page_count = 1000000").fetchall())
    assert len(await names_by_uid(account)) == 40
    [one] = await account.append(INBOX, messages("more"))
    assert one.uid == 41
    assert len(await names_by_uid(account)) == 41


async def test_closing_stores_what_waits_and_leaves_no_file(tmp_path: Path) -> None:
    store = await open_mail_store(tmp_path / "store.db", KEY)
    account = await LocalAccount.open(store, ALICE)
    await account.append(INBOX, messages("a"))
    assert files(folder_of(store.path))
    await account.close()
    await store.close()
    assert not files(folder_of(store.path))
    async with await open_mail_store(tmp_path / "store.db", KEY) as store:
        account = await LocalAccount.open(store, ALICE)
        assert await names_by_uid(account) == {1: "a"}
        await account.close()


@pytest.mark.parametrize("cut", [0, 20, 33, 40, 500])
async def test_what_a_kill_cut_off_is_not_there_and_more_is_accepted(
    tmp_path: Path, cut: int
) -> None:
    """Of messages that were to come together not even the first one, nor is a uid wasted on them."""
    folder = folder_of(tmp_path / "store.db")
    async with await open_mail_store(tmp_path / "store.db", KEY) as store:
        key = await store.setting(spooling.KEY)
        taken = await store.setting(spooling.TAKEN) or 0
        [validity] = await store.read(
            lambda c: c.execute(
                "SELECT uid_validity FROM mail_box WHERE mailbox_id = ?", (INBOX,)
            ).fetchone()
        )
    together = [
        spooling.Spooled(
            INBOX, Uid(1 + at), validity, RowId(f"{at:032}"), "", 0, 0, letter(str(at)), 3 - at
        )
        for at in range(4)
    ]
    Spool(folder, key, taken + 1).append([msgspec.msgpack.encode(one) for one in together])
    [path] = files(folder)
    octets = path.read_bytes()
    path.write_bytes(octets[: min(cut, len(octets) - 1)])
    async with await open_mail_store(tmp_path / "store.db", KEY) as store:
        account = await LocalAccount.open(store, ALICE)
        assert await names_by_uid(account) == {}
        [one] = await account.append(INBOX, messages("afterwards"))
        assert await names_by_uid(account) == {one.uid: "afterwards"} == {1: "afterwards"}
        await account.close()


async def test_what_came_together_is_taken_in_together(tmp_path: Path) -> None:
    async with await open_mail_store(tmp_path / "store.db", KEY) as store:
        account = await LocalAccount.open(store, ALICE)
        await account.append(INBOX, messages("a", "b", "c"))
        spool = folder_of(store.path)
        kept = {path.name: path.read_bytes() for path in files(spool)}
        await account.close()
    for name, octets in kept.items():  # it is there once: the number of what was taken in says so
        (spool / name).write_bytes(octets)
    async with await open_mail_store(tmp_path / "store.db", KEY) as store:
        account = await LocalAccount.open(store, ALICE)
        assert await names_by_uid(account) == {1: "a", 2: "b", 3: "c"}
        await account.close()


async def test_whenever_the_process_dies_what_was_answered_is_there_once(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("forkserver")  # each child is clean, and none imports anew
    spawn.set_forkserver_preload(["tests.mail.accepting"])
    deaths = lost_chances = 0
    for last in range(0, 200, STEP):
        folder = tmp_path / str(last)
        folder.mkdir()
        child = spawn.Process(target=work, args=(folder, last, bool(last // STEP % 2)))
        child.start()
        await asyncio.to_thread(child.join)
        deaths += child.exitcode == -signal.SIGKILL
        lost_chances += await check(folder)
        if child.exitcode == 0:
            break
    assert child.exitcode == 0
    assert deaths >= 5
    assert lost_chances  # some were answered, and not in the database yet, when the process died


async def check(folder: Path) -> int:
    """What was answered is there under its uid, nothing is there twice; answers how much waited in the spool."""
    answered = (
        (folder / "answered").read_text().splitlines() if (folder / "answered").exists() else []
    )
    async with await open_mail_store(folder / "store.db", KEY) as store:
        waited = len(spooling_of(store)._waiting)
        account = await LocalAccount.open(store, ALICE)
        [validity] = {(await account.status(INBOX)).uid_validity}
        rows = {row.uid: row.row_id for row in await account.rows(INBOX)}
        found = await names_by_uid(account)
        for line in answered:
            name, uid, its_validity, row_id = line.split()
            assert found[int(uid)] == name
            assert rows[int(uid)] == row_id
            assert int(its_validity) == validity
        assert len(set(found.values())) == len(found)
        [one] = await account.append(INBOX, messages("afterwards"))
        assert one.uid == max(found, default=0) + 1
        await check_index(store)
        await account.close()
    return waited
