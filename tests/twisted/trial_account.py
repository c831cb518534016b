"""The account with Deferreds, on a real store. Run by trial: test_trial.py does, on asyncio and on uvloop."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

from twisted.internet import defer, reactor
from twisted.trial.unittest import TestCase

from leap.mail import Account as AsyncAccount
from leap.mail.contract import AccountUnavailable, Change, NoSuchMailbox, SearchResult
from leap.mail.twisted import (
    Account,
    Draft,
    FoundMessages,
    Message,
    MessageCollection,
    MessagePart,
    Stream,
    StreamEnded,
)
from leap.mail.twisted.bridge import run
from tests.twisted.making import ALICE, PASSPHRASE, RAW, make_home, open_store

timeout = 30  # seconds, of each test


class OnAStore(TestCase):
    """Alice's account, opened for each test."""

    async def setUp(self) -> None:
        self.account = Account(AsyncAccount(await run(open_store(Path(self.mktemp())))))
        self.addCleanup(self.account.close)
        self.inbox = await self.account.collection("INBOX")


class Mail(OnAStore):
    """What is stored is read again."""

    async def test_a_message_is_added_listed_and_read(self) -> None:
        added = await self.inbox.add(RAW, flags=["\\Seen"])
        [message] = await self.inbox.window()
        self.assertIsInstance(message, Message)
        self.assertEqual(message.uid, added.uid)
        self.assertEqual(await message.raw(), RAW)
        self.assertEqual(await message.subject(), "Nests")
        [part] = await message.parts()
        self.assertIsInstance(part, MessagePart)
        self.assertEqual((await part.text()).strip(), "Three herons.")
        await message.add_flags("\\Flagged")
        self.assertEqual(set(message.flags), {"\\Seen", "\\Flagged"})

    @defer.inlineCallbacks
    def test_generators_of_inline_callbacks_use_it_too(self) -> Generator[Any, Any, None]:
        added = yield self.inbox.add(RAW)
        archive = yield self.account.collection("Archive")
        self.assertIsInstance(archive, MessageCollection)
        yield self.inbox.move_to([added.uid], archive)
        self.assertEqual((yield self.inbox.count()), 0)
        self.assertEqual((yield archive.count()), 1)
        self.assertIsNone((yield self.inbox.by_uid(added.uid)))
        found: SearchResult = yield self.account.search("herons")
        [message] = yield self.account.open_found(found.found)
        self.assertEqual((yield message.subject()), "Nests")

    async def test_a_draft_is_changed_and_saved(self) -> None:
        draft = self.account.new_draft(to=["bob@example.test"], subject="Nests")
        self.assertIsInstance(draft, Draft)
        draft.text = "Two herons."
        draft.cc.append("carol@example.test")
        await draft.save()
        [saved] = await (await self.account.drafts()).window()
        again = await self.account.open_draft(saved)
        self.assertEqual((again.subject, again.text.strip()), ("Nests", "Two herons."))
        self.assertEqual(again.recipients, ["bob@example.test", "carol@example.test"])
        self.assertEqual(draft.asyncio.text, "Two herons.")

    async def test_messages_that_were_found_are_chosen_by_themselves(self) -> None:
        await self.inbox.add(RAW)
        found = self.account.found("herons")
        self.assertIsInstance(found, FoundMessages)
        [message] = await found.window()
        await found.add_tags([message], ["birds"])
        self.assertEqual(await self.account.tagged("birds").count(), 1)
        archive = await self.account.collection("Archive")
        await message.move_to(archive)
        self.assertEqual(message.mailbox_id, archive.mailbox.mailbox_id)
        pieces = await message.stream(16).all()
        self.assertEqual((b"".join(pieces), len(pieces[0])), (RAW, 16))

    async def test_errors_are_those_of_the_library(self) -> None:
        error = await self.assertFailure(self.account.collection("Nowhere"), NoSuchMailbox)
        self.assertIn("Nowhere", str(error))
        wrong = Account.open("bob@example.test", home=Path(self.mktemp()), passphrase=PASSPHRASE)
        await self.assertFailure(wrong, AccountUnavailable)

    async def test_it_is_closed_at_the_end_of_a_block(self) -> None:
        async with self.account as account:
            self.assertIs(account, self.account)
        await self.assertFailure(self.account.mailboxes(), AccountUnavailable)

    async def test_two_that_stand_for_one_object_are_equal(self) -> None:
        twin = MessageCollection(self.inbox.asyncio)
        other = await self.account.collection("Archive")
        self.assertEqual(len({twin, self.inbox, other}), 2)


class Streams(OnAStore):
    """Iteration and change feeds."""

    async def test_all_messages_are_met_in_order(self) -> None:
        for number in range(3):
            await self.inbox.add(RAW.replace(b"Nests", b"%d" % number))
        met = [await message.subject() async for message in self.inbox]
        self.assertEqual(met, ["0", "1", "2"])
        seen: list[str] = []

        async def slowly(message: Message) -> None:
            seen.append(await message.subject())

        await self.inbox.each(slowly)
        self.assertEqual(seen, met)
        self.assertEqual([m.uid for m in await aiter(self.inbox).all()], [1, 2, 3])

    async def test_a_change_is_told_to_whoever_asked_before_it(self) -> None:
        changes = self.account.changes()
        waiting = changes.get()
        self.assertNoResult(waiting)
        await self.inbox.add(RAW)
        change = await waiting
        self.assertEqual(change.mailbox_id, self.inbox.mailbox.mailbox_id)
        await changes.stop()
        await self.assertFailure(changes.get(), StreamEnded)

    async def test_callbacks_hear_of_changes_until_the_stream_is_stopped(self) -> None:
        heard: defer.Deferred[Change] = defer.Deferred()
        changes = self.account.changes()
        running = changes.each(heard.callback)
        await self.inbox.add(RAW)
        self.assertEqual((await heard).mailbox_id, self.inbox.mailbox.mailbox_id)
        self.assertNoResult(running)
        await changes.stop()
        await running

    async def test_what_a_callback_raises_stops_the_stream(self) -> None:
        changes = self.account.changes()
        running = changes.each(lambda change: 1 // 0)
        await self.inbox.add(RAW)
        await self.assertFailure(running, ZeroDivisionError)
        await self.assertFailure(changes.get(), StreamEnded)

    async def test_a_cancelled_get_loses_no_value(self) -> None:
        changes = self.account.changes()
        first, second = changes.get(), changes.get()
        first.cancel()
        await self.assertFailure(first, defer.CancelledError)
        await self.inbox.add(RAW)
        self.assertEqual((await second).mailbox_id, self.inbox.mailbox.mailbox_id)
        await changes.stop()

    async def test_cancelling_each_stops_the_stream(self) -> None:
        changes: Stream[Change] = self.account.changes()
        running = changes.each(lambda change: None)
        running.cancel()
        await self.assertFailure(running, defer.CancelledError)
        await self.assertFailure(changes.get(), StreamEnded)

    async def test_the_feed_ends_with_the_account(self) -> None:
        changes = self.account.changes()
        waiting = changes.get()
        await self.account.close()
        await self.assertFailure(waiting, StreamEnded)


class Cancelling(TestCase):
    """A Deferred and its task end together."""

    async def test_the_task_has_ended_when_the_deferred_fires(self) -> None:
        ended: list[str] = []
        sleeper: defer.Deferred[None] = defer.Deferred()

        async def work() -> None:
            try:
                await sleeper.asFuture(reactor._asyncioEventloop)  # type: ignore[attr-defined]
            finally:
                ended.append("work")

        working = run(work())
        sleeper.addErrback(lambda failure: failure.trap(defer.CancelledError) and None)
        reactor.callLater(0, working.cancel)  # type: ignore[attr-defined]
        await self.assertFailure(working, defer.CancelledError)
        self.assertEqual(ended, ["work"])

    async def test_an_account_whose_opening_was_cancelled_is_not_left_open(self) -> None:
        home = await run(make_home(Path(self.mktemp())))
        for _ in range(2):
            opening = Account.open(ALICE, home=home, passphrase=PASSPHRASE)
            reactor.callLater(0.002, opening.cancel)  # type: ignore[attr-defined]
            await self.assertFailure(opening, defer.CancelledError)
        account = await Account.open(ALICE, home=home, passphrase=PASSPHRASE)
        await account.close()
