"""The public face of an account, on memory, on a store, and through a daemon's socket."""

from __future__ import annotations

import asyncio
import fcntl
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leap.mail import Account, AccountUnavailable
from leap.mail.contract import INBOX, NewMessage, NoSuchMailbox, Uid
from leap.mail.local import open_mail_store
from leap.mail.memory import MemoryAccount
from leap.mail.rpc import serve_accounts
from leap.soledad.vault import create_vault

ALICE = "alice@example.test"
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "read_inbox.py"
RAW = (
    b"From: =?utf-8?q?J=C3=BCrgen?= <j@example.test>\r\nSubject: Lunch?\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\nAt noon.\r\n--x\r\n"
    b"Content-Type: text/csv\r\nContent-Disposition: attachment; filename=menu.csv\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nc291cCw1\r\n--x--\r\n"
)


@pytest.fixture
async def account() -> AsyncIterator[Account]:
    async with Account(MemoryAccount(ALICE)) as account:
        yield account


async def make_home(home: Path) -> Path:
    folder = home / "accounts" / ALICE
    folder.mkdir(parents=True)
    key = await create_vault(folder / "vault.json", "a long passphrase")
    async with await open_mail_store(folder / "store.db", key):
        pass
    return home


async def test_a_collection_is_found_by_name_use_or_id(account: Account) -> None:
    made = await account.add_mailbox("Work")
    assert (await account.collection("inbox")).mailbox.mailbox_id == INBOX
    assert (await account.collection("\\Sent")).mailbox.name == "Sent"
    assert (await account.collection(made.mailbox_id)).mailbox == made
    with pytest.raises(NoSuchMailbox, match="Nowhere"):
        await account.collection("Nowhere")


async def test_a_message_is_read_in_all_its_forms(account: Account) -> None:
    inbox = await account.collection("INBOX")
    await inbox.add(RAW, flags=["\\Seen"], internal_date=1_700_000_000, zone=120)
    [message] = [message async for message in inbox]
    assert await message.raw() == RAW
    assert await message.raw(6, 9) == RAW[6:15]
    assert (await message.subject(), await message.preview()) == ("Lunch?", "At noon.")
    assert await message.header("from") == "Jürgen <j@example.test>"
    assert (await message.text()).strip() == "At noon."
    assert await message.html() is None
    assert message.date.isoformat() == "2023-11-15T00:13:20+02:00"
    assert (await message.security()).encryption == "local"
    text, menu = await message.parts()
    assert (text.attachment_name, await text.text()) == (None, "At noon.")
    assert (menu.attachment_name, menu.content_type) == ("menu.csv", "text/csv")
    assert await menu.content() == b"soup,5"


async def test_windows_flags_moves_and_deletion(account: Account) -> None:
    inbox, archive = await account.collection("INBOX"), await account.collection("Archive")
    raws = [RAW.replace(b"Lunch", b"%d" % i) for i in range(5)]
    added = await inbox.add_many(NewMessage(raw=raw) for raw in raws)
    newest = await inbox.window(0, 2)
    assert [await message.subject() for message in newest] == ["4?", "3?"]
    assert [await m.subject() for m in await inbox.window(1, 2, newest_first=False)] == ["1?", "2?"]
    assert await inbox.window(10, 5) == []
    await newest[0].add_flags("\\Flagged")
    assert newest[0].flags == ("\\Flagged",)
    assert [m.flags for m in await inbox.search("4?")] == [("\\Flagged",)]
    await inbox.move_to([added[0].uid], archive)
    await inbox.copy_to([added[1].uid], archive)
    assert await archive.count() == 2
    assert await inbox.delete([added[1].uid, Uid(999)]) == 1
    assert (await inbox.count(), await inbox.unseen()) == (3, 3)
    assert await inbox.by_uid(added[1].uid) is None


async def test_changes_come_by_themselves(account: Account) -> None:
    changes = account.changes()
    await (await account.collection("INBOX")).add(RAW)
    assert (await anext(changes)).mailbox_id == INBOX


async def test_large_batches_are_cut(account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    append = account.backend.append

    async def counted(mailbox_id: object, messages: list[NewMessage]) -> object:
        calls.append(len(messages))
        return await append(mailbox_id, messages)  # type: ignore[arg-type]

    monkeypatch.setattr(account.backend, "append", counted)
    inbox = await account.collection("INBOX")
    await inbox.add_many([NewMessage(raw=b"x")] * 1100)
    await inbox.add_many([NewMessage(raw=bytes(20 * 1024 * 1024))] * 2)
    assert calls == [500, 500, 100, 1, 1]


async def test_the_store_is_opened_with_the_passphrase_when_no_daemon_runs(tmp_path: Path) -> None:
    home = await make_home(tmp_path)
    with pytest.raises(AccountUnavailable, match="bitmask start"):
        await Account.open(ALICE, home=home)
    with pytest.raises(AccountUnavailable, match="passphrase is wrong"):
        await Account.open(ALICE, home=home, passphrase="another")
    async with await Account.open(
        "Alice@Example.test", home=home, passphrase="a long passphrase"
    ) as account:
        await (await account.collection("INBOX")).add(RAW)
        with pytest.raises(AccountUnavailable, match="Another program"):
            await Account.open(ALICE, home=home, passphrase="a long passphrase")
    async with await Account.open(ALICE, home=home, passphrase="a long passphrase") as account:
        assert await (await account.collection("INBOX")).count() == 1


async def test_windows_of_a_mailbox_with_gaps(account: Account) -> None:
    inbox = await account.collection("INBOX")
    await inbox.add_many([NewMessage(raw=b"Subject: %d\r\n\r\n" % i) for i in range(1200)])
    gone = [Uid(uid) for uid in range(1, 1201) if uid % 100 > 3]
    await inbox.delete(gone)
    left = [uid for uid in range(1, 1201) if uid % 100 <= 3]
    assert [m.uid for m in await inbox.window(0, 10)] == left[::-1][:10]
    assert [m.uid for m in await inbox.window(45, 10)] == left[::-1][45:]
    assert [m.uid for m in await inbox.window(40, 10, newest_first=False)] == left[40:50]
    assert [m.uid for m in await inbox.window(0, 0)] == []


def record_of(accounts: Path, token: str) -> str:
    return json.dumps({"control": "", "accounts": str(accounts), "token": token})


async def test_a_daemon_that_died_leaves_the_store_to_others(tmp_path: Path) -> None:
    home = await make_home(tmp_path)
    (home / "daemon.lock").touch()
    (home / "daemon.json").write_text(record_of(home / "gone", "t"))
    with pytest.raises(AccountUnavailable, match="bitmask start"):
        await Account.open(ALICE, home=home)
    async with await Account.open(ALICE, home=home, passphrase="a long passphrase") as account:
        assert await (await account.collection("INBOX")).count() == 0


async def test_an_account_that_is_not_here_is_told_so(tmp_path: Path) -> None:
    for address in ("eve@example.test", "../../etc", ""):
        with pytest.raises(AccountUnavailable):
            await Account.open(address, home=tmp_path, passphrase="x")


async def test_the_example_reads_an_inbox_while_a_daemon_runs(
    tmp_path: Path, account: Account
) -> None:
    await (await account.collection("INBOX")).add(RAW)
    path = tmp_path / "accounts.sock"
    server = await serve_accounts(path, "token", {ALICE: account.backend}.get)
    (tmp_path / "daemon.json").write_text(record_of(path, "token"))
    lock = (tmp_path / "daemon.lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)  # as a running daemon holds it
    command = [sys.executable, str(EXAMPLE), ALICE, "--home", str(tmp_path)]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=60, check=False
    )
    await server.close()
    lock.close()
    assert (done.returncode, done.stderr) == (0, "")
    assert "1 messages, 1 unread" in done.stdout
    assert "Jürgen <j@example.test>" in done.stdout
    assert "Lunch?" in done.stdout
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "bitmask" in done.stderr
    assert "Traceback" not in done.stderr
