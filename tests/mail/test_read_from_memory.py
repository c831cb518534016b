"""What an account on Soledad answers from memory is what the store says, also while it changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leap.mail import listing, open_mailboxes
from leap.mail.contract import INBOX, MailboxId, ModSeq, NewMessage, NoSuchMailbox, Uid
from leap.mail.listing import read_rows, read_statuses
from leap.mail.local import LocalAccount, open_mail_store
from leap.soledad.store import Soledad
from tests.conformance.account_backend import ENCODED, PLAIN

ARCHIVE = MailboxId("archive")
TRACED = b"Received: from far away\r\nTo: Alice\r\nSubject: way\r\n\r\nHere.\r\n"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Soledad]:
    async with await open_mail_store(tmp_path / "store.db", bytes(32)) as store:
        yield store


@pytest.fixture
async def account(store: Soledad) -> AsyncIterator[LocalAccount]:
    account = await LocalAccount.open(store, "alice@example.test")
    yield account
    await account.close()


async def fill(account: LocalAccount, count: int, to: MailboxId = INBOX) -> list[Uid]:
    return [one.uid for one in await account.append(to, [NewMessage(raw=PLAIN)] * count)]


async def test_sessions_share_one_list_until_it_changes(account: LocalAccount) -> None:
    await fill(account, 3)
    first, second = await asyncio.gather(account.rows(INBOX), account.rows(INBOX))
    assert first is second
    await account.store_flags(INBOX, [Uid(2)], "add", ["\\Seen"])
    third = await account.rows(INBOX)
    assert [row.flags for row in third] == [(), ("\\Seen",), ()]
    assert [row.flags for row in first] == [(), (), ()]
    await fill(account, 1, ARCHIVE)
    assert await account.rows(INBOX) is third


async def test_a_change_while_the_status_is_read_is_not_covered_up(account: LocalAccount) -> None:
    """Whoever asks when a change was answered hears of it, whatever was asked before."""
    uids = await fill(account, 2)

    async def ask() -> None:
        for _ in range(20):
            await account.status(INBOX)
            await account.rows(INBOX)
            await account.list_mailboxes()

    asking = [asyncio.create_task(ask()) for _ in range(3)]
    for number in range(8):
        await account.store_flags(INBOX, uids, "add", [f"word{number}"])
        status, rows = await account.status(INBOX), await account.rows(INBOX)
        assert all(f"word{number}" in row.flags for row in rows)
        assert status.highest_modseq == max(row.modseq for row in rows)
        made = await account.create_mailbox(f"Box{number}")
        assert made in await account.list_mailboxes()
    await asyncio.gather(*asking)


async def test_statuses_are_those_of_the_store(account: LocalAccount, store: Soledad) -> None:
    await fill(account, 2)
    made = await account.create_mailbox("Gone")
    await account.status(made.mailbox_id)
    await account.delete_mailbox(made.mailbox_id)
    with pytest.raises(NoSuchMailbox):
        await account.status(made.mailbox_id)
    await account.claim_recent(INBOX)
    said = [await account.status(one.mailbox_id) for one in await account.list_mailboxes()]
    stored = {one.mailbox_id: one for one in await store.read(read_statuses)}
    assert said == [stored[one.mailbox_id] for one in said]
    commits = store._database.commits  # nothing else says that the writer was left alone
    assert await account.claim_recent(INBOX) == []
    assert store._database.commits == commits


async def test_what_is_kept_of_many_mailboxes_is_bounded(
    account: LocalAccount, store: Soledad, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_mailboxes, "KEPT_ROWS", 4)
    await fill(account, 3)
    await fill(account, 3, ARCHIVE)
    inbox = await account.rows(INBOX)
    archive = await account.rows(ARCHIVE)
    assert await account.rows(ARCHIVE) is archive
    assert await account.rows(INBOX) is not inbox
    assert await account.rows(INBOX) == inbox
    rows = await store.read(lambda c: read_rows(c, INBOX, Uid(1), None, ModSeq(0)))
    assert inbox == rows


async def test_header_fields_an_older_version_did_not_keep_are_kept_when_asked(
    account: LocalAccount, store: Soledad
) -> None:
    appended = await account.append(INBOX, [NewMessage(raw=TRACED), NewMessage(raw=ENCODED)])
    row_ids = [one.row_id for one in appended]

    def kept(connection: object) -> list[bytes]:
        found = connection.execute("SELECT fields FROM mail_header ORDER BY rowid")  # type: ignore[attr-defined]
        return [fields for (fields,) in found]

    both = await store.read(kept)
    assert both[0] == b"To: Alice\r\nSubject: way\r\n\r\n"
    await store.write(lambda c: c.execute("DELETE FROM mail_header"))
    [one, _] = await account.header_fields(row_ids, [b"to"])
    assert one == b"To: Alice\r\n\r\n"
    assert await store.read(kept) == both
    await account.store_flags(INBOX, [Uid(1), Uid(2)], "add", ["\\Deleted"])
    await account.expunge(INBOX)
    assert await store.read(kept) == []


async def test_rows_are_read_in_slices_without_a_gap(
    account: LocalAccount, store: Soledad, monkeypatch: pytest.MonkeyPatch
) -> None:
    uids = await fill(account, 7)
    await account.store_flags(INBOX, uids[3:4], "add", ["\\Deleted"])
    await account.store_flags(INBOX, uids[4:5], "add", ["\\Seen", "$Forwarded"])
    await account.expunge(INBOX)
    whole = await store.read(lambda c: read_rows(c, INBOX, Uid(1), None, ModSeq(0)))
    assert [row.uid for row in whole] == uids[:3] + uids[4:]
    for size in (1, 2, 3, 6, 7):
        monkeypatch.setattr(listing, "_SLICE", size)
        assert await store.read(lambda c: read_rows(c, INBOX, Uid(1), None, ModSeq(0))) == whole
        between = await store.read(lambda c: read_rows(c, INBOX, Uid(2), Uid(5), ModSeq(0)))
        assert between == [row for row in whole if 2 <= row.uid <= 5]


async def test_large_mailboxes_are_read_before_they_are_opened(
    account: LocalAccount, store: Soledad, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_mailboxes, "LARGE", 3)
    await fill(account, 3)
    await fill(account, 2, ARCHIVE)
    other = await LocalAccount.open(store, "alice@example.test")
    await other._reading_large
    assert set(other._open_mailboxes._opened) == {INBOX}
    await fill(account, 1)  # what comes later is seen all the same
    assert [row.uid for row in await other.rows(INBOX)] == [1, 2, 3, 4]
    await other.close()


async def test_a_new_mailbox_does_not_make_the_rows_of_others_be_forgotten(
    account: LocalAccount,
) -> None:
    await fill(account, 3)
    rows = await account.rows(INBOX)
    await account.create_mailbox("Other")
    assert await account.rows(INBOX) is rows
