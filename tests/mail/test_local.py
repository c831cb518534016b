"""An account on Soledad does all that the contract says, and keeps its index true."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from leap.mail.account import Message
from leap.mail.bulk_index_changes import _MOVE
from leap.mail.contract import (
    INBOX,
    AccountUnavailable,
    ContentUnavailable,
    InvalidName,
    MailboxExists,
    MailboxId,
    NewMessage,
    NotPermitted,
    RowId,
    SecurityStatus,
    SignatureVerdict,
    TooLarge,
    Uid,
)
from leap.mail.local import LocalAccount, open_mail_store
from leap.mail.model import MAIL_ROWS, mailbox_doc_id
from leap.mail.sorting.model import SortKey
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad
from leap.soledad.transaction import Transaction
from leap.soledad.wire import MAX_MESSAGE_BYTES
from tests.conformance.account_backend import PLAIN, AccountBackendSuite
from tests.conformance.account_save_dates import SaveDatesSuite
from tests.conformance.account_sorting import SortingSuite
from tests.conformance.account_threads import ThreadsAndContactsSuite
from tests.mail.index_check import check_index
from tests.mail.outgoing_fake import Outgoing

ALICE, KEY = "alice@example.test", bytes(range(32))
SIGNED = SecurityStatus(
    encryption="end-to-end", signatures=(SignatureVerdict(state="good", fingerprint="AB" * 20),)
)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Soledad]:
    async with await open_mail_store(tmp_path / "store.db", KEY) as store:
        yield store


@pytest.fixture
async def backend(store: Soledad) -> AsyncIterator[LocalAccount]:
    account = await LocalAccount.open(store, ALICE, outbox=Outgoing())
    yield account
    await check_index(store)
    await account.close()


class TestConformance(AccountBackendSuite, ThreadsAndContactsSuite, SortingSuite, SaveDatesSuite):
    """The suite every account passes."""


async def add(
    account: LocalAccount, count: int = 1, *flags: str, to: MailboxId = INBOX
) -> list[Uid]:
    made = await account.append(to, [NewMessage(raw=PLAIN, flags=flags)] * count)
    return [one.uid for one in made]


async def deliver(account: LocalAccount, row_id: str = "r" * 64, **options: Any) -> bool:
    chosen: dict[str, Any] = {
        "security": SIGNED,
        "original": b"the encrypted mail",
        "internal_date": 1_700_000_000,
        **options,
    }
    return await account.deliver(PLAIN, row_id=RowId(row_id), **chosen)


# -- incoming mail


async def test_incoming_mail_is_stored_once_whatever_comes_twice(backend: LocalAccount) -> None:
    assert await deliver(backend)
    assert not await deliver(backend)
    results = await asyncio.gather(*(deliver(backend, "s" * 64) for _ in range(5)))
    assert sorted(results) == [False] * 4 + [True]
    first, second = await backend.rows(INBOX)
    assert (first.row_id, second.row_id) == ("r" * 64, "s" * 64)
    assert await backend.read(first.row_id) == PLAIN
    assert await backend.read_original(first.row_id) == b"the encrypted mail"
    [made] = await backend.metadata([first.row_id])
    assert made.security == SIGNED


async def test_incoming_mail_that_was_expunged_does_not_come_back(backend: LocalAccount) -> None:
    await deliver(backend, flags=["\\Deleted"])
    await backend.expunge(INBOX)
    assert not await deliver(backend)
    assert await backend.rows(INBOX) == []


async def test_what_belongs_to_the_delivery_is_in_its_transaction(
    backend: LocalAccount, store: Soledad
) -> None:
    notes: list[str] = []

    def note(tx: Transaction) -> None:
        notes.append("noted")
        tx.put("consumed", {"type": "x"})

    assert await deliver(backend, also=note)
    assert not await deliver(backend, also=note)
    assert notes == ["noted"]
    assert await store.get_doc("consumed") is not None

    def refuse(tx: Transaction) -> None:
        tx.put("other", {"type": "x"})
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        await deliver(backend, "t" * 64, also=refuse)
    assert await store.get_doc("other") is None
    assert len(await backend.rows(INBOX)) == 1


async def test_too_large_a_message_is_refused_with_the_limit(backend: LocalAccount) -> None:
    with pytest.raises(TooLarge, match="50 MiB"):
        await backend.append(INBOX, [NewMessage(raw=bytes(MAX_MESSAGE_BYTES + 1))])
    assert await backend.rows(INBOX) == []


@pytest.mark.parametrize("date", [-(2**80), -1, 0, 2**80])
async def test_any_date_can_be_stored_and_shown(backend: LocalAccount, date: int) -> None:
    await backend.append(INBOX, [NewMessage(raw=b"", internal_date=date, zone=2**70)])
    [row] = await backend.rows(INBOX)
    assert Message(backend, INBOX, row).date.year >= 1899


# -- uids, modseqs, recent


async def reopen(path: Path) -> tuple[Soledad, LocalAccount]:
    store = await open_mail_store(path, KEY)
    return store, await LocalAccount.open(store, ALICE)


async def test_uids_validity_and_recent_survive_a_restart(tmp_path: Path) -> None:
    store, account = await reopen(tmp_path / "s.db")
    made = await account.create_mailbox("Work")
    await add(account, 3, "\\Deleted")
    await account.expunge(INBOX, [Uid(3)])
    assert await account.claim_recent(INBOX) == [1, 2]
    before = {
        m.mailbox_id: await account.status(m.mailbox_id) for m in await account.list_mailboxes()
    }
    await account.close()
    await store.close()
    store, account = await reopen(tmp_path / "s.db")
    after = {
        m.mailbox_id: await account.status(m.mailbox_id) for m in await account.list_mailboxes()
    }
    assert after == before
    assert made.mailbox_id in after
    assert await add(account) == [4]
    assert await account.claim_recent(INBOX) == [4]
    await account.close()
    await store.close()


async def test_an_index_built_anew_has_a_larger_validity_and_the_same_mail(tmp_path: Path) -> None:
    store, account = await reopen(tmp_path / "s.db")
    work = await account.create_mailbox("Work")
    await account.rename_mailbox(MailboxId("archive"), "Old")
    await add(account, 3, "\\Seen")
    await add(account, 2, to=work.mailbox_id)
    before = await account.status(INBOX)
    mailboxes = await account.list_mailboxes()

    def drop(connection: Connection) -> None:
        for table in ("mail_box", "mail_index", "mail_document", "mail_directory"):
            connection.execute(f"DROP TABLE {table}")

    await store.write(drop)
    await account.close()
    await store.close()
    store, account = await reopen(tmp_path / "s.db")
    await check_index(store)
    assert await account.list_mailboxes() == mailboxes
    after = await account.status(INBOX)
    assert after.uid_validity > before.uid_validity
    assert (after.messages, after.unseen, after.recent, after.size) == (3, 0, 0, before.size)
    assert (await account.status(work.mailbox_id)).messages == 2
    await account.close()
    await store.close()


async def test_an_account_of_a_version_without_sort_keys_gets_them(tmp_path: Path) -> None:
    store, account = await reopen(tmp_path / "s.db")
    new = [NewMessage(raw=f"Subject: {letter}\r\n\r\n".encode()) for letter in "cab"]
    await account.append(INBOX, new)
    await account.append(MailboxId("archive"), new[:1])
    await store.write(lambda connection: connection.execute("DROP TABLE mail_sort"))
    await account.close()
    await store.close()
    store, account = await reopen(tmp_path / "s.db")
    uids = [Uid(1), Uid(2), Uid(3)]
    assert await account.sorted_uids(INBOX, uids, [SortKey("subject")]) == [2, 3, 1]
    assert len(await account.threaded_uids(MailboxId("archive"), [Uid(1)], "references")) == 1
    await check_index(store)
    await account.close()
    await store.close()


async def test_an_account_of_a_version_without_save_dates_gets_the_day_of_the_update(
    tmp_path: Path,
) -> None:
    store, account = await reopen(tmp_path / "s.db")
    await add(account, 2)
    validity = (await account.status(INBOX)).uid_validity
    await store.write(lambda c: c.execute("ALTER TABLE mail_index DROP COLUMN saved"))
    await account.close()
    await store.close()
    async with await open_mail_store(tmp_path / "s.db", KEY, now=lambda: 1_900_000_000.0) as store:
        account = LocalAccount(store, ALICE)
        assert await account.save_dates(INBOX, [Uid(1), Uid(2)]) == [1_900_000_000] * 2
        assert (await account.status(INBOX)).uid_validity == validity
        await account.close()


async def test_validities_differ_even_in_one_second(tmp_path: Path) -> None:
    async with await open_mail_store(tmp_path / "s.db", KEY, now=lambda: 1_700_000_000.0) as store:
        account = LocalAccount(store, ALICE)
        made = [await account.create_mailbox(f"m{i}") for i in range(5)]
        found = [(await account.status(one.mailbox_id)).uid_validity for one in made]
        assert found == sorted(set(found))
        await account.close()


async def test_a_clock_beyond_2106_still_mints_32_bits(tmp_path: Path) -> None:
    async with await open_mail_store(tmp_path / "s.db", KEY, now=lambda: 2.0**33) as store:
        account = LocalAccount(store, ALICE)
        assert 1 <= (await account.status(INBOX)).uid_validity < 2**32
        await account.close()


async def test_rows_that_did_not_change_keep_their_modseq(backend: LocalAccount) -> None:
    one, two = await add(backend, 2)
    await backend.store_flags(INBOX, [one], "add", ["\\Seen"])
    before = {row.uid: row.modseq for row in await backend.rows(INBOX)}
    rows = (await backend.store_flags(INBOX, [one, two, two], "add", ["\\Seen"])).rows
    assert [row.uid for row in rows] == [one, two]
    assert rows[0].modseq == before[one]
    assert rows[1].modseq == (await backend.status(INBOX)).highest_modseq > before[two]


async def test_a_move_into_the_same_mailbox_gives_new_uids(backend: LocalAccount) -> None:
    uids = await add(backend, 3)
    done = await backend.move(INBOX, uids[:2], INBOX)
    assert (done.source, done.target) == ((1, 2), (4, 5))
    assert [row.uid for row in await backend.rows(INBOX)] == [3, 4, 5]
    assert await backend.expunged(INBOX, 0) == [1, 2]  # type: ignore[arg-type]


async def test_what_is_shown_in_one_mailbox_moves_in_its_order(backend: LocalAccount) -> None:
    uids = await add(backend, 4)
    target = (await backend.create_mailbox("target")).mailbox_id
    rows = {row.uid: row.row_id for row in await backend.rows(INBOX)}
    elsewhere = {"mailbox": "xnowhere"}  # a mailbox that is not there: shown in INBOX
    await backend.store.transact(
        lambda tx: tx.update_rows(MAIL_ROWS.name, [rows[uids[1]], rows[uids[2]]], elsewhere)
    )
    done = await backend.move(INBOX, uids, target)
    assert (done.source, done.target) == ((1, 2, 3, 4), (1, 2, 3, 4))
    assert [row.row_id for row in await backend.rows(target)] == [rows[uid] for uid in uids]


# -- flags


async def test_flags_have_one_spelling(backend: LocalAccount) -> None:
    await add(backend, 1, "\\seen", "\\SEEN", "$Label", "$label")
    [row] = await backend.rows(INBOX)
    assert row.flags == ("$Label", "$label", "\\Seen")
    assert (await backend.status(INBOX)).unseen == 0


@pytest.mark.parametrize(
    "flag", ["two words", "", "\\Recent", "\\rEcent", 'q"uote', "a\nb", "(", "é", "x" * 256]
)
async def test_what_is_no_flag_is_refused(backend: LocalAccount, flag: str) -> None:
    [uid] = await add(backend)
    with pytest.raises(NotPermitted):
        await backend.store_flags(INBOX, [uid], "add", [flag])
    with pytest.raises(NotPermitted):
        await backend.append(INBOX, [NewMessage(raw=b"", flags=(flag,))])


async def test_flags_of_ten_thousand_rows_change_in_a_few_statements(
    backend: LocalAccount, store: Soledad
) -> None:
    count = 10_000

    def fill(tx: Transaction) -> None:
        for i in range(count):
            values = {
                "mailbox": "inbox",
                "size": 10,
                "message_id": f"m{i}",
                "flags": "\\Seen" * (i % 2),
            }
            tx.insert_row(MAIL_ROWS.name, f"r{i}", values)

    await store.transact(fill)
    statements: list[str] = []
    await store.write(lambda c: cast(Any, c).set_trace_callback(statements.append))
    every = list(range(1, count + 1))
    rows = (await backend.store_flags(INBOX, every, "add", ["\\Flagged"])).rows  # type: ignore[arg-type]
    assert len(rows) == count
    assert {row.flags for row in rows} == {("\\Flagged",), ("\\Flagged", "\\Seen")}
    assert len(statements) < 40
    statements.clear()
    await backend.move(INBOX, every, MailboxId("archive"))  # type: ignore[arg-type]
    assert len([one for one in statements if not one.startswith("INSERT")]) < 40
    await store.write(lambda c: cast(Any, c).set_trace_callback(None))


# -- mailboxes


async def test_a_deleted_special_mailbox_comes_back_under_its_id(backend: LocalAccount) -> None:
    trash = MailboxId("trash")
    [uid] = await add(backend, to=trash)
    await backend.delete_mailbox(trash)
    assert trash not in {one.mailbox_id for one in await backend.list_mailboxes()}
    assert (
        await backend.status(INBOX)
    ).uid_next == 1  # its rows were not shown in INBOX on their way
    plain = await backend.create_mailbox("Trash")
    assert plain.mailbox_id != trash
    back = await backend.create_mailbox("Bin", "\\Trash")
    assert (back.mailbox_id, back.name) == (trash, "Bin")
    assert await add(backend, to=trash) == [uid + 1]
    with pytest.raises(NotPermitted):
        await backend.create_mailbox("Bin 2", "\\Trash")


async def test_names_are_compared_as_imap_does(backend: LocalAccount) -> None:
    await backend.create_mailbox("work")
    await backend.create_mailbox("Work")
    for name in ("inbox", "INBOX", "work"):
        with pytest.raises(MailboxExists):
            await backend.create_mailbox(name)
    with pytest.raises(InvalidName):
        await backend.create_mailbox("\ud800")


async def test_a_transaction_that_fails_leaves_the_list_as_it_was(
    backend: LocalAccount, store: Soledad
) -> None:
    before = await backend.list_mailboxes()

    def job(tx: Transaction) -> None:
        tx.put(mailbox_doc_id(MailboxId("xnew")), {"type": "mailbox", "name": "New"})
        raise RuntimeError("undo")

    with pytest.raises(RuntimeError):
        await store.transact(job)
    assert await backend.list_mailboxes() == before
    await backend.create_mailbox("New")
    assert "New" in {one.name for one in await backend.list_mailboxes()}


async def test_documents_that_say_nothing_usable_harm_nobody(
    backend: LocalAccount, store: Soledad
) -> None:
    def job(tx: Transaction) -> None:
        for mailbox_id, content in {
            "x1": {},
            "x2": {"name": 3},
            "x3": {"name": "InBoX"},
            "x4": {"name": "Fine", "special_use": ["x"], "subscribed": "yes"},
            "inbox": {"name": "Other", "deleted": True},
            "archive": {"name": None},
        }.items():
            tx.put(mailbox_doc_id(MailboxId(mailbox_id)), {"type": "mailbox", **content})

    await store.transact(job)
    names = {one.mailbox_id: one.name for one in await backend.list_mailboxes()}
    assert names[INBOX] == "INBOX"
    assert names[MailboxId("archive")] == "Archive"
    assert names[MailboxId("x4")] == "Fine"
    assert len(names) == 7


# -- blobs and their ends


async def blob_ids(store: Soledad) -> set[str]:
    return await store.read(lambda c: {one for (one,) in c.execute("SELECT blob_id FROM blob")})


async def test_deleting_the_last_row_of_a_message_frees_its_blobs(
    backend: LocalAccount, store: Soledad
) -> None:
    [uid] = await add(backend, 1, "\\Deleted")
    assert len(await blob_ids(store)) == 2
    await backend.copy(INBOX, [uid], MailboxId("archive"))
    await backend.expunge(INBOX)
    assert len(await blob_ids(store)) == 2
    await backend.expunge(MailboxId("archive"))
    assert await blob_ids(store) == set()


async def test_content_that_was_altered_on_disk_is_not_served(
    backend: LocalAccount, store: Soledad
) -> None:
    [appended] = await backend.append(INBOX, [NewMessage(raw=os.urandom(300_000))])
    await store.settle()
    [file] = [
        path for path in store.path.parent.rglob("*") if path.parent.parent.name.endswith("-blobs")
    ]
    sealed = bytearray(file.read_bytes())
    sealed[200_000] ^= 1
    file.write_bytes(sealed)
    with pytest.raises(ContentUnavailable, match="not what was stored"):
        await backend.read(appended.row_id)
    file.unlink()
    with pytest.raises(ContentUnavailable):
        await backend.read(appended.row_id)


async def test_a_range_of_a_large_message_is_read_alone(backend: LocalAccount) -> None:
    raw = b"A: b\r\n\r\n" + os.urandom(3_000_000)
    [appended] = await backend.append(INBOX, [NewMessage(raw=raw)])
    assert await backend.read(appended.row_id, 2_000_000, 10) == raw[2_000_000:2_000_010]


# -- the feed


async def test_a_change_is_announced_before_its_maker_is_answered(backend: LocalAccount) -> None:
    stream = backend.changes()
    await add(backend)
    waiting = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)  # one turn of the loop: it must be there already
    assert waiting.done()
    change = waiting.result()
    assert (change.mailbox_id, change.modseq) == (
        INBOX,
        (await backend.status(INBOX)).highest_modseq,
    )


async def test_no_wake_up_is_lost_between_two_reads(backend: LocalAccount) -> None:
    stream = backend.changes()
    seen = 0

    async def follow() -> None:
        nonlocal seen
        async for _ in stream:
            seen = len(await backend.rows(INBOX))

    task = asyncio.ensure_future(follow())
    await asyncio.gather(*(add(backend) for _ in range(50)))
    while seen < 50:
        await asyncio.wait_for(backend.status(INBOX), 5)
    await backend.close()
    await task


async def test_a_slow_listener_holds_one_change_a_mailbox(backend: LocalAccount) -> None:
    stream = backend.changes()
    for _ in range(20):
        await add(backend)
        await add(backend, to=MailboxId("sent"))
    first, second = [await anext(stream), await anext(stream)]
    assert first.seq < second.seq
    assert {first.mailbox_id, second.mailbox_id} == {INBOX, MailboxId("sent")}
    assert second.modseq == (await backend.status(MailboxId("sent"))).highest_modseq


async def test_two_accounts_hear_only_of_themselves(backend: LocalAccount, tmp_path: Path) -> None:
    async with await open_mail_store(tmp_path / "bob.db", KEY) as other:
        bob = LocalAccount(other, "bob@example.test")
        stream = bob.changes()
        await add(backend)
        await bob.create_mailbox("Mine")
        assert (await anext(stream)).mailbox_id is None
        assert (await bob.status(INBOX)).messages == 0
        await bob.close()
        assert [change async for change in stream] == []


async def test_a_closed_account_says_so(store: Soledad) -> None:
    account = LocalAccount(store, ALICE)
    await account.close()
    with pytest.raises(AccountUnavailable):
        await account.rows(INBOX)
    with pytest.raises(AccountUnavailable):
        await account.append(INBOX, [])
    assert [change async for change in account.changes()] == []


async def test_without_a_way_out_sending_is_refused(store: Soledad) -> None:
    account = LocalAccount(store, ALICE)
    with pytest.raises(NotPermitted):
        await account.submit(PLAIN, ALICE, ["bob@example.test"])
    assert await account.outbox() == []
    assert not (await account.sync_status()).online
    await account.close()


async def test_a_move_of_many_looks_each_of_them_up_by_its_uid(store: Soledad) -> None:
    """Where SQLite read the whole mailbox for each message, ten thousand of them took seven seconds."""

    def plan(connection: Connection) -> list[str]:
        given = ("archive", 1, 2, "archive", 3, "[1, 2]", INBOX)
        return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {_MOVE}", given)]

    steps = await store.read(plan)
    assert any("PRIMARY KEY (mailbox_id=? AND uid=?)" in step for step in steps)
    assert not any("mail_index_modseq" in step for step in steps)
