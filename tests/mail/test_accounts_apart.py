"""Two accounts with the same mailboxes never see each other, whatever is asked of one of them.

Every public method of the classes below has a case here; a new method without one fails.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from leap.mail import (
    Account,
    AccountUnavailable,
    Draft,
    FoundMessages,
    Message,
    MessageCollection,
    MessagePart,
    NewMessage,
    Outbox,
    SendingRules,
)
from leap.mail.contract import INBOX, AccountBackend, MailboxId, ModSeq, Uid
from leap.mail.local import LocalAccount, open_mail_store
from leap.mail.memory import MemoryAccount
from leap.mail.memory_outbox import MemoryOutbox
from leap.mail.remote import RemoteAccount
from leap.mail.rpc import serve_accounts
from leap.mail.sorting.model import SortKey

ALICE, BOB = "alice@example.test", "bob@example.test"
CLASSES = (
    AccountBackend,
    Account,
    MessageCollection,
    FoundMessages,
    Message,
    MessagePart,
    Draft,
    Outbox,
)
KINDS = ("memory", "socket")  # behind the socket lie two stores, as in the daemon


def mail(whose: str) -> bytes:
    """The same for both, but for the word that tells them apart; it is of the same length."""
    return (
        f"From: {whose}@example.test\r\nTo: carol@example.test\r\nSubject: {whose}secret\r\n"
        f"Message-ID: <1@{whose}>\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n"
        f"--x\r\n\r\nheron {whose}secret\r\n"
        f"--x\r\nContent-Disposition: attachment; filename={whose}secret.txt\r\n\r\n{whose}secret\r\n--x--\r\n"
    ).encode()


class World(NamedTuple):
    """Alice's account with what is asked of it, and bob's, which nobody touches."""

    alice: Account
    bob: Account
    inbox: MessageCollection
    archive: MessageCollection
    found: FoundMessages
    message: Message
    part: MessagePart
    draft: Draft

    @property
    def backend(self) -> AccountBackend:
        return self.alice.backend


async def fill(account: Account, whose: str) -> None:
    inbox = await account.collection("INBOX")
    await inbox.add_many(
        [NewMessage(raw=mail(whose), flags=("work", "\\Deleted"), internal_date=1_700_000_000)] * 3
    )
    await account.add_mailbox("Projects")
    draft = account.new_draft(to=["carol@example.test"], subject=f"{whose}secret", text="heron")
    draft.message_id = "<draft@example.test>"  # the same in both accounts
    await draft.save()
    await account.send(mail(whose), ["carol@example.test"])


@contextlib.asynccontextmanager
async def accounts(kind: str, folder: Path) -> AsyncIterator[tuple[Account, Account]]:
    async with contextlib.AsyncExitStack() as stack:
        backends: dict[str, AccountBackend] = {}
        for address, whose in ((ALICE, "alice"), (BOB, "bobby")):
            if kind == "memory":
                backends[address] = MemoryAccount(address)
                stack.push_async_callback(backends[address].close)
                continue
            store = await stack.enter_async_context(
                await open_mail_store(folder / f"{whose}.db", bytes(32))
            )
            backends[address] = LocalAccount(store, address, MemoryOutbox(address))
            stack.push_async_callback(backends[address].close)
        if kind == "socket":
            server = await serve_accounts(folder / "s", "token", backends.get)
            stack.push_async_callback(server.close)
            backends = {
                address: await RemoteAccount.connect(server.path, "token", address)
                for address in backends
            }
        alice, bob = (Account(backends[address]) for address in (ALICE, BOB))
        for account, whose in ((alice, "alice"), (bob, "bobby")):
            stack.push_async_callback(account.close)
            await fill(account, whose)
        yield alice, bob


async def open_world(alice: Account, bob: Account) -> World:
    """What a case needs, made anew where an earlier one took it away."""
    if await alice.find_mailbox("\\Archive") is None:
        await alice.add_mailbox("Archive", "\\Archive")
    inbox = await alice.collection("INBOX")
    if await inbox.count() < 2:
        await inbox.add_many([NewMessage(raw=mail("alice"), flags=("work", "\\Deleted"))] * 2)
    drafts = await alice.drafts()
    if await drafts.count() == 0:
        await alice.new_draft(to=["carol@example.test"], text="heron").save()
    [message, *_] = await inbox.window()
    [part] = await message.attachments()
    [saved, *_] = await drafts.window()
    archive = await alice.collection("\\Archive")
    draft = await alice.open_draft(saved)
    draft.to = ["carol@example.test"]
    return World(alice, bob, inbox, archive, alice.found("heron"), message, part, draft)


async def drained(iterator: AsyncIterator[Any]) -> list[Any]:
    return [one async for one in iterator]


async def change_of(account: Account, iterator: AsyncIterator[Any]) -> list[Any]:
    """What an iterator of changes tells of a change."""
    await (await account.collection("INBOX")).add(mail("alice"))
    async with asyncio.timeout(5):
        return [await anext(iterator)]


async def closed(account: Account) -> None:
    await account.close()
    with pytest.raises(AccountUnavailable):
        await account.mailboxes()


Case = Callable[[World], Awaitable[Any]]


def there(w: World) -> MailboxId:
    return w.archive.mailbox.mailbox_id


def first(w: World) -> list[Uid]:
    return [w.message.uid]


CASES: dict[str, Case] = {
    # the contract
    "AccountBackend.list_mailboxes": lambda w: w.backend.list_mailboxes(),
    "AccountBackend.create_mailbox": lambda w: w.backend.create_mailbox("New"),
    "AccountBackend.rename_mailbox": lambda w: w.backend.rename_mailbox(there(w), "Old"),
    "AccountBackend.delete_mailbox": lambda w: w.backend.delete_mailbox(there(w)),
    "AccountBackend.set_subscribed": lambda w: w.backend.set_subscribed(there(w), False),
    "AccountBackend.status": lambda w: w.backend.status(INBOX),
    "AccountBackend.rows": lambda w: w.backend.rows(INBOX),
    "AccountBackend.expunged": lambda w: w.backend.expunged(INBOX, ModSeq(0)),
    "AccountBackend.claim_recent": lambda w: w.backend.claim_recent(INBOX),
    "AccountBackend.metadata": lambda w: w.backend.metadata([w.message.row_id]),
    "AccountBackend.read": lambda w: w.backend.read(w.message.row_id),
    "AccountBackend.read_many": lambda w: w.backend.read_many([w.message.row_id]),
    "AccountBackend.header_fields": lambda w: w.backend.header_fields(
        [w.message.row_id], [b"Subject"]
    ),
    "AccountBackend.read_original": lambda w: w.backend.read_original(w.message.row_id),
    "AccountBackend.structure": lambda w: w.backend.structure(w.message.row_id),
    "AccountBackend.rows_of": lambda w: w.backend.rows_of([w.message.id]),
    "AccountBackend.append": lambda w: w.backend.append(INBOX, [NewMessage(raw=mail("alice"))]),
    "AccountBackend.replace": lambda w: w.backend.replace(
        INBOX, w.message.uid, NewMessage(raw=mail("alice"))
    ),
    "AccountBackend.store_flags": lambda w: w.backend.store_flags(INBOX, first(w), "set", ["x"]),
    "AccountBackend.copy": lambda w: w.backend.copy(INBOX, first(w), there(w)),
    "AccountBackend.move": lambda w: w.backend.move(INBOX, first(w), there(w)),
    "AccountBackend.expunge": lambda w: w.backend.expunge(INBOX),
    "AccountBackend.search_text": lambda w: w.backend.search_text(
        INBOX, first(w), "text", "secret"
    ),
    "AccountBackend.search_header": lambda w: w.backend.search_header(
        INBOX, first(w), "subject", ""
    ),
    "AccountBackend.search": lambda w: w.backend.search("secret"),
    "AccountBackend.count": lambda w: w.backend.count("secret"),
    "AccountBackend.sorted_uids": lambda w: w.backend.sorted_uids(
        INBOX, first(w), [SortKey(field="subject")]
    ),
    "AccountBackend.threaded_uids": lambda w: w.backend.threaded_uids(
        INBOX, first(w), "references"
    ),
    "AccountBackend.save_dates": lambda w: w.backend.save_dates(INBOX, first(w)),
    "AccountBackend.space": lambda w: w.backend.space(),
    "AccountBackend.annotations": lambda w: w.backend.annotations(INBOX),
    "AccountBackend.annotate": lambda w: w.backend.annotate(INBOX, {"/private/comment": b"x"}),
    "AccountBackend.changes": lambda w: change_of(w.alice, w.backend.changes()),
    "AccountBackend.submit": lambda w: w.backend.submit(mail("alice"), ALICE, ["dan@example.test"]),
    "AccountBackend.outbox": lambda w: w.backend.outbox(),
    "AccountBackend.cancel": lambda w: _cancelled(w),
    "AccountBackend.retry": lambda w: w.backend.retry(),
    "AccountBackend.send_delay": lambda w: w.backend.send_delay(),
    "AccountBackend.set_send_delay": lambda w: w.backend.set_send_delay(0),
    "AccountBackend.sending_rules": lambda w: w.backend.sending_rules(),
    "AccountBackend.set_sending_rules": lambda w: w.backend.set_sending_rules(
        SendingRules(mixed="split")
    ),
    "AccountBackend.addresses": lambda w: w.backend.addresses(),
    "AccountBackend.thread_ids": lambda w: w.backend.thread_ids([w.message.row_id]),
    "AccountBackend.threads": lambda w: w.backend.threads(),
    "AccountBackend.thread_rows": lambda w: _thread_rows(w),
    "AccountBackend.contacts": lambda w: w.backend.contacts(),
    "AccountBackend.sync_now": lambda w: w.backend.sync_now(),
    "AccountBackend.sync_status": lambda w: w.backend.sync_status(),
    "AccountBackend.close": lambda w: closed(w.alice),
    # the account
    "Account.mailboxes": lambda w: w.alice.mailboxes(),
    "Account.collection": lambda w: w.alice.collection("Projects"),
    "Account.find_mailbox": lambda w: w.alice.find_mailbox("\\Sent"),
    "Account.add_mailbox": lambda w: w.alice.add_mailbox("Newer"),
    "Account.rename_mailbox": lambda w: w.alice.rename_mailbox(INBOX, "Older"),
    "Account.delete_mailbox": lambda w: w.alice.delete_mailbox(there(w)),
    "Account.set_subscribed": lambda w: w.alice.set_subscribed(there(w), False),
    "Account.search": lambda w: w.alice.search("secret"),
    "Account.open_found": lambda w: _open_found(w),
    "Account.count": lambda w: w.alice.count(""),
    "Account.found": lambda w: w.alice.found("").rows(),
    "Account.tagged": lambda w: w.alice.tagged("work").rows(),
    "Account.messages": lambda w: w.alice.messages([w.message.id]),
    "Account.message": lambda w: w.alice.message(w.message.id),
    "Account.drafts": lambda w: w.alice.drafts(),
    "Account.new_draft": lambda w: w.alice.new_draft(to=["carol@example.test"]).send(),
    "Account.open_draft": lambda w: _reopened(w),
    "Account.reply": lambda w: _replied(w),
    "Account.forward": lambda w: _forwarded(w),
    "Account.changes": lambda w: change_of(w.alice, w.alice.changes()),
    "Account.send": lambda w: w.alice.send(mail("alice"), ["dan@example.test"]),
    "Account.events": lambda w: change_of(w.alice, w.alice.events()),
    "Account.threads": lambda w: w.alice.threads(),
    "Account.thread": lambda w: _thread(w),
    "Account.contacts": lambda w: w.alice.contacts(),
    "Outbox.entries": lambda w: w.alice.outbox.entries(),
    "Outbox.find": lambda w: _found_in_outbox(w),
    "Outbox.cancel": lambda w: _called_back(w),
    "Outbox.retry": lambda w: w.alice.outbox.retry(),
    "Outbox.delay": lambda w: w.alice.outbox.delay(),
    "Outbox.set_delay": lambda w: w.alice.outbox.set_delay(0),
    "Outbox.rules": lambda w: w.alice.outbox.rules(),
    "Outbox.set_rules": lambda w: w.alice.outbox.set_rules(SendingRules(sign=True)),
    "Outbox.addresses": lambda w: w.alice.outbox.addresses(),
    "Message.sent_to": lambda w: w.message.sent_to(),
    "Account.sync": lambda w: w.alice.sync(),
    "Account.sync_status": lambda w: w.alice.sync_status(),
    "Account.close": lambda w: closed(w.alice),
    # a mailbox
    "MessageCollection.status": lambda w: w.inbox.status(),
    "MessageCollection.count": lambda w: w.inbox.count(),
    "MessageCollection.unseen": lambda w: w.inbox.unseen(),
    "MessageCollection.recent": lambda w: w.inbox.recent(),
    "MessageCollection.rows": lambda w: w.inbox.rows(),
    "MessageCollection.window": lambda w: w.inbox.window(),
    "MessageCollection.window_from": lambda w: w.inbox.window_from(3),
    "MessageCollection.by_uid": lambda w: w.inbox.by_uid(1),
    "MessageCollection.__aiter__": lambda w: drained(aiter(w.inbox)),
    "MessageCollection.search": lambda w: w.inbox.search("secret"),
    "MessageCollection.add": lambda w: w.inbox.add(mail("alice")),
    "MessageCollection.add_many": lambda w: w.inbox.add_many([NewMessage(raw=mail("alice"))]),
    "MessageCollection.set_flags": lambda w: w.inbox.set_flags([w.message], ["\\Seen"]),
    "MessageCollection.add_flags": lambda w: w.inbox.add_flags([w.message], ["\\Seen"]),
    "MessageCollection.remove_flags": lambda w: w.inbox.remove_flags([w.message], ["work"]),
    "MessageCollection.set_tags": lambda w: w.inbox.set_tags([w.message], ["x"]),
    "MessageCollection.add_tags": lambda w: w.inbox.add_tags([w.message], ["x"]),
    "MessageCollection.remove_tags": lambda w: w.inbox.remove_tags([w.message], ["work"]),
    "MessageCollection.copy_to": lambda w: w.inbox.copy_to([w.message], w.archive),
    "MessageCollection.move_to": lambda w: w.inbox.move_to([w.message], w.archive),
    "MessageCollection.delete": lambda w: w.inbox.delete([w.message]),
    "MessageCollection.expunge": lambda w: w.inbox.expunge(),
    # what a query finds
    "FoundMessages.status": lambda w: w.found.status(),
    "FoundMessages.count": lambda w: w.found.count(),
    "FoundMessages.unseen": lambda w: w.found.unseen(),
    "FoundMessages.rows": lambda w: w.found.rows(),
    "FoundMessages.window": lambda w: w.found.window(),
    "FoundMessages.__aiter__": lambda w: drained(aiter(w.found)),
    "FoundMessages.set_flags": lambda w: w.found.set_flags([w.message], ["\\Seen"]),
    "FoundMessages.add_flags": lambda w: w.found.add_flags([w.message], ["\\Seen"]),
    "FoundMessages.remove_flags": lambda w: w.found.remove_flags([w.message], ["work"]),
    "FoundMessages.set_tags": lambda w: w.found.set_tags([w.message], ["x"]),
    "FoundMessages.add_tags": lambda w: w.found.add_tags([w.message], ["x"]),
    "FoundMessages.remove_tags": lambda w: w.found.remove_tags([w.message], ["work"]),
    "FoundMessages.copy_to": lambda w: w.found.copy_to([w.message], w.archive),
    "FoundMessages.move_to": lambda w: w.found.move_to([w.message], w.archive),
    "FoundMessages.delete": lambda w: w.found.delete([w.message]),
    # a message
    "Message.refresh": lambda w: w.message.refresh(),
    "Message.thread_id": lambda w: w.message.thread_id(),
    "Message.metadata": lambda w: w.message.metadata(),
    "Message.subject": lambda w: w.message.subject(),
    "Message.preview": lambda w: w.message.preview(),
    "Message.security": lambda w: w.message.security(),
    "Message.envelope": lambda w: w.message.envelope(),
    "Message.raw": lambda w: w.message.raw(),
    "Message.original": lambda w: w.message.original(),
    "Message.stream": lambda w: drained(w.message.stream()),
    "Message.headers": lambda w: w.message.headers(),
    "Message.header": lambda w: w.message.header("Subject"),
    "Message.structure": lambda w: w.message.structure(),
    "Message.open": lambda w: w.message.open(),
    "Message.text": lambda w: w.message.text(),
    "Message.html": lambda w: w.message.html(),
    "Message.parts": lambda w: w.message.parts(),
    "Message.part": lambda w: w.message.part("1"),
    "Message.attachments": lambda w: w.message.attachments(),
    "Message.outline": lambda w: w.message.outline(texts=True),
    "Message.set_flags": lambda w: w.message.set_flags("x"),
    "Message.add_flags": lambda w: w.message.add_flags("x"),
    "Message.remove_flags": lambda w: w.message.remove_flags("work"),
    "Message.set_tags": lambda w: w.message.set_tags("x"),
    "Message.add_tags": lambda w: w.message.add_tags("x"),
    "Message.remove_tags": lambda w: w.message.remove_tags("work"),
    "Message.copy_to": lambda w: w.message.copy_to(w.archive),
    "Message.move_to": lambda w: w.message.move_to(w.archive),
    "Message.delete": lambda w: w.message.delete(),
    # a part
    "MessagePart.header": lambda w: _at_once(w.part.header("content-disposition")),
    "MessagePart.raw": lambda w: w.part.raw(),
    "MessagePart.content": lambda w: w.part.content(),
    "MessagePart.read": lambda w: w.part.read(1, 5),
    "MessagePart.stream": lambda w: drained(w.part.stream()),
    "MessagePart.text": lambda w: w.part.text(),
    # a draft
    "Draft.attach": lambda w: _attached(w),
    "Draft.save": lambda w: w.draft.save(),
    "Draft.send": lambda w: w.draft.send(),
    "Draft.discard": lambda w: w.draft.discard(),
    "Draft.answering": lambda w: w.draft.answering(w.message, "x").send(),
}
MADE_ELSEWHERE = {  # they make an account or a draft: there is none yet whom another could see
    "Account.open",
    "Draft.of",
}


async def _cancelled(w: World) -> bool:
    outbox_id = await w.backend.submit(
        mail("alice"), ALICE, ["dan@example.test"], int(time.time()) + 60
    )
    return await w.backend.cancel(outbox_id)


async def _called_back(w: World) -> bool:
    later = datetime.now(UTC) + timedelta(minutes=1)
    outbox_id = await w.alice.send(mail("alice"), ["dan@example.test"], not_before=later)
    return await w.alice.outbox.cancel(outbox_id)


async def _found_in_outbox(w: World) -> Any:
    return await w.alice.outbox.find(await w.alice.send(mail("alice"), ["dan@example.test"]))


async def _thread_rows(w: World) -> Any:
    [thread_id] = await w.backend.thread_ids([w.message.row_id])
    return await w.backend.thread_rows(thread_id)


async def _thread(w: World) -> Any:
    return await w.alice.thread(await w.message.thread_id()).rows()


async def _at_once(value: Any) -> Any:
    return value


async def _attached(w: World) -> list[Any]:
    w.draft.attach("x", b"x")
    return w.draft.files


async def _open_found(w: World) -> list[Message]:
    return await w.alice.open_found((await w.alice.search("secret")).found)


async def _reopened(w: World) -> None:
    [saved] = await (await w.alice.drafts()).window()
    await (await w.alice.open_draft(saved)).save()


async def _replied(w: World) -> str:
    draft = await w.alice.reply(w.message)
    await draft.send()
    return draft.text


async def _forwarded(w: World) -> list[Any]:
    draft = await w.alice.forward(w.message)
    await draft.save()
    return [draft.text, draft.files]


def public_methods() -> set[str]:
    return {
        f"{kind.__name__}.{name}"
        for kind in CLASSES
        for name, found in inspect.getmembers(kind, callable)
        if not name.startswith("_") or name == "__aiter__"
    }


def test_every_public_method_has_a_case() -> None:
    assert set(CASES) | MADE_ELSEWHERE == public_methods()


def told(value: Any) -> str:
    """All that a value says, whatever it is made of; what of an account lies behind it is left out."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, (list, tuple, set)):
        return " ".join(map(told, value))
    fields = getattr(value, "__struct_fields__", None) or getattr(value, "__slots__", None)
    if fields:
        return " ".join(told(getattr(value, name, "")) for name in fields)
    held = getattr(value, "__dict__", None)
    if held is not None and type(value).__module__.startswith("leap."):
        return " ".join(told(one) for name, one in held.items() if "backend" not in name)
    return str(value)


async def snapshot(account: Account) -> list[Any]:
    """Everything that can be seen of an account."""
    out: list[Any] = [account.address, await account.mailboxes(), await account.backend.outbox()]
    for info in await account.mailboxes():
        collection = MessageCollection(account.backend, info)
        out += [await collection.status(), await collection.rows()]
        out += [await message.raw() async for message in collection]
    out += [await account.count(""), await account.count("bobbysecret")]
    return out


@pytest.mark.parametrize("kind", KINDS)
async def test_nothing_asked_of_one_account_is_seen_in_another(kind: str, tmp_path: Path) -> None:
    async with accounts(kind, tmp_path) as (alice, bob):
        before = await snapshot(bob)
        assert "bobbysecret" in told(before)
        listening = asyncio.ensure_future(anext(bob.changes()))
        world = await open_world(alice, bob)
        ordered = sorted(CASES, key=lambda name: name.endswith(".close"))
        for number, name in enumerate(ordered):
            if not name.endswith(".close"):
                world = await open_world(alice, bob)
            said = told(await CASES[name](world))
            assert "bobby" not in said, name
            assert BOB not in said, name
            assert not listening.done(), name
            if number % 20 == 0:  # a look at all of it is slow
                assert await snapshot(bob) == before, f"{name}, or one of the twenty before it"
        assert await snapshot(bob) == before
        assert not listening.done(), "bob heard of what alice did"
        listening.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await listening
