"""The outbox of every kind of account passes one suite; a program sends, and follows what becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from leap.mail.account import Account
from leap.mail.contract import INBOX, AccountBackend, Change, NewMessage, NotPermitted, SyncStatus
from leap.mail.local import LocalAccount, open_mail_store
from leap.mail.memory import MemoryAccount
from leap.mail.remote import RemoteAccount
from leap.mail.rpc import serve_accounts
from leap.mail.sending import OutboxProgress, SyncProgress
from tests.conformance.account_making import PATIENCE
from tests.conformance.account_outbox import OutboxSuite
from tests.mail.travel import FakeProvider, Person, mail, open_person

ALICE = "alice@example.test"
EVE, CAROL = "eve@elsewhere.test", "carol@elsewhere.test"


@pytest.fixture
async def alice(tmp_path: Path) -> AsyncIterator[Person]:
    """On a clock that goes."""
    import time

    person = await open_person(
        FakeProvider(),
        tmp_path / "alice",
        "alice",
        clock=time.time,  # type: ignore[arg-type]
    )
    yield person
    await person.close()


class TestInMemory(OutboxSuite):
    @pytest.fixture
    async def backend(self) -> AsyncIterator[AccountBackend]:
        account = MemoryAccount()
        yield account
        await account.close()


class TestOnAStore(OutboxSuite):
    @pytest.fixture
    async def backend(self, alice: Person) -> LocalAccount:
        return alice.account


class TestAtADaemon(OutboxSuite):
    @pytest.fixture
    async def backend(self, alice: Person, tmp_path: Path) -> AsyncIterator[RemoteAccount]:
        server = await serve_accounts(tmp_path / "s", "token", {ALICE: alice.account}.get)
        account = await RemoteAccount.connect(server.path, "token", ALICE)
        yield account
        await account.close()
        await server.close()


async def test_an_account_without_a_way_out_says_so(tmp_path: Path) -> None:
    async with await open_mail_store(tmp_path / "store.db", bytes(32)) as store:
        account = LocalAccount(store, ALICE)
        assert await account.outbox() == []
        with pytest.raises(NotPermitted, match="without the daemon"):
            await account.cancel("o1")
        await account.close()


# -- the public face


async def test_recipients_come_from_the_message_when_none_are_named() -> None:
    account = Account(MemoryAccount(ALICE))
    raw = mail(
        to=EVE, extra=b"Cc: Carol <carol@elsewhere.test>\r\nBcc: dave@x.test, %s\r\n" % EVE.encode()
    )
    found = await account.outbox.find(await account.send(raw))
    assert found is not None
    assert found.recipients == (EVE, CAROL, "dave@x.test")
    for bad in (b"To:\r\n\r\n", b"Subject: x\r\n\r\n", b"To: a@x.test <b@x.test>\r\n\r\n"):
        with pytest.raises(NotPermitted, match="recipients"):
            await account.send(bad)


async def test_a_draft_is_sent_at_its_time() -> None:
    @dataclass
    class Draft:
        raw: bytes

    account = Account(MemoryAccount(ALICE))
    at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    outbox_id = await account.send(Draft(mail()), not_before=at)
    [entry] = await account.outbox.entries()
    assert (entry.outbox_id, entry.not_before) == (outbox_id, int(at.timestamp()))
    with pytest.raises(ValueError, match="time zone"):
        await account.send(mail(), not_before=datetime(2030, 1, 1))


async def test_a_program_follows_a_mail_to_each_recipient_without_asking(alice: Person) -> None:
    account = Account(alice.account)
    alice.provider.replies = {CAROL: (451, "4.2.0 Later")}
    told: list[tuple[str, tuple[str, ...]]] = []

    async def listen() -> None:
        async for event in account.events({"outbox"}):
            assert isinstance(event, OutboxProgress)
            states = tuple(
                "in hand" if one.in_hand else one.state for one in event.entry.recipients_state
            )
            if (event.entry.state, states) not in told:
                told.append((event.entry.state, states))
            if event.entry.ended:
                return

    listening = asyncio.create_task(listen())
    await asyncio.sleep(0)
    outbox_id = await account.send(mail(to=EVE), [EVE, CAROL])
    await alice.sender.process_due()
    assert await account.outbox.cancel(outbox_id)
    async with asyncio.timeout(PATIENCE):
        await listening
    # A step that was over before it was asked for is passed over; these two last.
    assert ("sending", ("sent", "waiting")) in told
    assert told[-1] == ("sent", ("sent", "cancelled"))


async def test_a_program_hears_of_syncs_and_mail_in_one_stream(alice: Person) -> None:
    class Syncing:
        running = True

        async def sync_now(self) -> None: ...
        async def sync_status(self) -> SyncStatus:
            return SyncStatus(
                online=True,
                provisional=False,
                last_sync=None,
                pending=3,
                blobs_to_send=0,
                blobs_to_fetch=0,
                running=self.running,
            )

    syncing = Syncing()
    alice.account.attach_sync(syncing)
    events = Account(alice.account).events()
    async with asyncio.timeout(PATIENCE):
        alice.account.announce_sync()
        first = await anext(events)
        assert isinstance(first, SyncProgress)
        assert (first.status.running, first.status.pending) == (True, 3)
        syncing.running = False
        alice.account.announce_sync()
        await alice.account.append(INBOX, [NewMessage(raw=mail())])
        second = await anext(events)
        assert isinstance(second, SyncProgress)
        assert not second.status.running
        third = await anext(events)
        assert isinstance(third, Change)
        assert (third.topic, third.mailbox_id) == ("messages", INBOX)
    await events.aclose()


async def test_events_end_with_the_account() -> None:
    account = Account(MemoryAccount(ALICE))
    events = account.events()
    await account.close()
    assert [event async for event in events] == []
