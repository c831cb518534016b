"""An account over the daemon's socket is the same account."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leap.mail.contract import (
    INBOX,
    AccountBackend,
    AccountUnavailable,
    MailboxId,
    NewMessage,
    NoSuchMailbox,
    NotPermitted,
    RowId,
    TooLarge,
    Uid,
)
from leap.mail.local import LocalAccount, open_mail_store
from leap.mail.memory import MemoryAccount
from leap.mail.remote import RemoteAccount
from leap.mail.rpc import AccountServer, serve_accounts
from leap.mail.rpc_frames import MAX_FRAME, VERSION, Hello, pack, read_frame
from tests.conformance.account_backend import AccountBackendSuite
from tests.conformance.account_save_dates import SaveDatesSuite
from tests.conformance.account_sorting import SortingSuite
from tests.conformance.account_threads import ThreadsAndContactsSuite
from tests.mail.outgoing_fake import Outgoing

ALICE, BOB, TOKEN = "alice@example.test", "bob@example.test", "a token of the daemon"


@pytest.fixture
async def accounts() -> AsyncIterator[dict[str, AccountBackend]]:
    found: dict[str, AccountBackend] = {ALICE: MemoryAccount(ALICE), BOB: MemoryAccount(BOB)}
    yield found
    for account in found.values():
        await account.close()


@pytest.fixture
async def server(
    tmp_path: Path, accounts: dict[str, AccountBackend]
) -> AsyncIterator[AccountServer]:
    server = await serve_accounts(tmp_path / "s", TOKEN, accounts.get)
    yield server
    await server.close()


@pytest.fixture
async def backend(server: AccountServer) -> AsyncIterator[RemoteAccount]:
    account = await RemoteAccount.connect(server.path, TOKEN, ALICE)
    yield account
    await account.close()


class TestConformance(AccountBackendSuite, ThreadsAndContactsSuite, SortingSuite, SaveDatesSuite):
    """The suite every account passes."""


class TestConformanceOnAStore(
    AccountBackendSuite, ThreadsAndContactsSuite, SortingSuite, SaveDatesSuite
):
    """The same with a real store behind the socket, as in the daemon."""

    @pytest.fixture
    async def backend(self, tmp_path: Path) -> AsyncIterator[RemoteAccount]:
        async with await open_mail_store(tmp_path / "store.db", bytes(32)) as store:
            local = LocalAccount(store, ALICE, Outgoing())
            server = await serve_accounts(tmp_path / "s", TOKEN, {ALICE: local}.get)
            account = await RemoteAccount.connect(server.path, TOKEN, ALICE)
            yield account
            await account.close()
            await server.close()
            await local.close()


async def test_the_socket_is_for_its_owner_only(server: AccountServer) -> None:
    assert stat.S_IMODE(server.path.stat().st_mode) == 0o600


async def test_a_wrong_token_opens_nothing(server: AccountServer) -> None:
    for token in ("", "wrong", TOKEN + "x", "ä" * 20):
        with pytest.raises(NotPermitted, match="token"):
            await RemoteAccount.connect(server.path, token, ALICE)


async def test_an_account_that_is_not_unlocked_is_unavailable(server: AccountServer) -> None:
    with pytest.raises(AccountUnavailable, match="is not unlocked"):
        await RemoteAccount.connect(server.path, TOKEN, "eve@example.test")


async def test_without_a_daemon_the_sentence_says_how_to_start_it(tmp_path: Path) -> None:
    with pytest.raises(AccountUnavailable, match="bitmask start"):
        await RemoteAccount.connect(tmp_path / "nothing", TOKEN, ALICE)


async def test_two_accounts_do_not_see_each_other(
    server: AccountServer, backend: RemoteAccount
) -> None:
    bob = await RemoteAccount.connect(server.path, TOKEN, BOB)
    stream = bob.changes()
    await backend.append(INBOX, [NewMessage(raw=b"for alice")])
    assert (await bob.status(INBOX)).messages == 0
    await bob.create_mailbox("Only bob's")
    assert (await anext(stream)).mailbox_id is None
    assert "Only bob's" not in {m.name for m in await backend.list_mailboxes()}
    await bob.close()


async def test_errors_keep_their_class_and_their_sentence(backend: RemoteAccount) -> None:
    with pytest.raises(NoSuchMailbox, match=r"There is no such mailbox\."):
        await backend.status(MailboxId("nowhere"))
    with pytest.raises(NotPermitted):
        await backend.append(INBOX, [NewMessage(raw=b"", flags=("\\Recent",))])


async def test_a_large_message_goes_both_ways_while_others_are_answered(
    backend: RemoteAccount,
) -> None:
    raw = bytes(range(256)) * (48 * 4096)  # 48 MiB
    large = asyncio.ensure_future(backend.append(INBOX, [NewMessage(raw=raw)]))
    await asyncio.sleep(0)
    await backend.list_mailboxes()
    assert not large.done()
    [appended] = await large
    assert await backend.read(appended.row_id) == raw
    assert await backend.read(appended.row_id, 40_000_000, 5) == raw[40_000_000:40_000_005]


async def test_what_is_too_large_for_one_call_is_refused_here(backend: RemoteAccount) -> None:
    message = NewMessage(raw=bytes(40 * 1024 * 1024))
    with pytest.raises(TooLarge):
        await backend.append(INBOX, [message] * 4)
    assert await backend.rows(INBOX) == []


async def test_a_daemon_that_goes_is_told_to_all_who_wait(
    server: AccountServer, accounts: dict[str, AccountBackend], backend: RemoteAccount
) -> None:
    stream = backend.changes()
    next_change = asyncio.ensure_future(anext(stream))
    await backend.list_mailboxes()
    await server.close()
    with pytest.raises(AccountUnavailable, match="bitmask start"):
        await next_change
    for attempt in (backend.status(INBOX), backend.read(RowId("x")), backend.list_mailboxes()):
        with pytest.raises(AccountUnavailable, match="bitmask start"):
            await attempt
    with pytest.raises(AccountUnavailable):
        await anext(backend.changes())


async def test_an_account_locked_meanwhile_is_unavailable(
    accounts: dict[str, AccountBackend], backend: RemoteAccount
) -> None:
    alice = accounts.pop(ALICE)
    with pytest.raises(AccountUnavailable, match="locked"):
        await backend.status(INBOX)
    accounts[ALICE] = alice
    assert (await backend.status(INBOX)).messages == 0


async def test_a_closed_account_answers_no_more(backend: RemoteAccount) -> None:
    stream = backend.changes()
    await backend.close()
    await backend.close()
    with pytest.raises(AccountUnavailable, match="closed"):
        await backend.status(INBOX)
    assert [change async for change in stream] == []


async def test_closing_one_connection_leaves_the_account_open(
    server: AccountServer, backend: RemoteAccount
) -> None:
    other = await RemoteAccount.connect(server.path, TOKEN, ALICE)
    await other.close()
    assert (await backend.status(INBOX)).messages == 0


async def test_a_slow_reader_of_changes_gets_the_newest_of_each_mailbox(
    backend: RemoteAccount,
) -> None:
    stream = backend.changes()
    [one] = await backend.append(INBOX, [NewMessage(raw=b"x")])
    for flag in ("a", "b", "c", "d"):
        await backend.store_flags(INBOX, [one.uid], "set", [flag])
    await backend.create_mailbox("New")
    seen = [await anext(stream), await anext(stream)]
    assert [change.mailbox_id for change in seen] == [INBOX, None]
    assert seen[0].modseq == (await backend.status(INBOX)).highest_modseq


async def test_a_cancelled_call_leaves_the_connection_usable(backend: RemoteAccount) -> None:
    task = asyncio.ensure_future(backend.append(INBOX, [NewMessage(raw=bytes(20_000_000))]))
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await backend.status(INBOX)).messages in (0, 1)


@pytest.mark.parametrize(
    "octets",
    [
        b"\xff\xff\xff\xff" + b"x" * 100,
        b"\x00\x00\x00\x05hello",
        b"\x00\x00\x00\x00",
        b"GET / HTTP/1.1\r\n\r\n",
        pack(Hello(VERSION, TOKEN, ALICE))[:-3],
    ],
)
async def test_a_stranger_is_cut_off_without_an_answer(
    server: AccountServer, backend: RemoteAccount, octets: bytes
) -> None:
    reader, writer = await asyncio.open_unix_connection(str(server.path))
    writer.write(octets)
    writer.write_eof()
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    assert (await backend.status(INBOX)).messages == 0


@pytest.mark.parametrize(
    "message",
    [
        (MAX_FRAME + 1).to_bytes(4, "big"),
        b"\x00\x00\x00\x01\xc0",
        b"\x00\x00\x00\x03\x93\x01\x02",
        b"\x00\x00\x00\x04\x92\x07\x01\x01",
    ],
)
async def test_nonsense_after_the_greeting_ends_only_its_own_connection(
    server: AccountServer, backend: RemoteAccount, message: bytes
) -> None:
    reader, writer = await asyncio.open_unix_connection(str(server.path))
    writer.write(pack(Hello(VERSION, TOKEN, ALICE)))
    await read_frame(reader)
    writer.write(message)
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()
    assert (await backend.status(INBOX)).messages == 0


async def test_arguments_of_the_wrong_type_reach_no_account(backend: RemoteAccount) -> None:
    with pytest.raises(Exception, match="does not understand"):
        await backend.status(3)  # type: ignore[arg-type]
    with pytest.raises(Exception, match="does not understand"):
        await backend.store_flags(INBOX, [Uid(1)], "twist", [])  # type: ignore[arg-type]
