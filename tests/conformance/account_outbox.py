"""What every implementation of `leap.mail.outbox_contract.OutboxBackend` must do; nothing is sent meanwhile.

Use as `account_backend`: a class which inherits `OutboxSuite` and has an async fixture `backend`, a new account.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from leap.mail.contract import (
    AccountBackend,
    Change,
    MailboxId,
    NewMessage,
    NoSuchMessage,
    NotPermitted,
)
from leap.mail.outbox_contract import OutboxEntry, SendingRules
from tests.conformance.account_making import PATIENCE, PLAIN, close_stream

SENT, DRAFTS = MailboxId("sent"), MailboxId("drafts")
BOB, CAROL = "bob@elsewhere.test", "carol@elsewhere.test"


def letter(backend: AccountBackend, body: bytes = b"") -> bytes:
    return PLAIN.replace(b"alice@example.test", backend.address.encode()) + body


async def entry_of(backend: AccountBackend, outbox_id: str) -> OutboxEntry:
    [entry] = await backend.outbox(outbox_id)
    assert entry.outbox_id == outbox_id
    return entry


async def about_outbox(stream: AsyncIterator[Change]) -> Change:
    async with asyncio.timeout(PATIENCE):
        while True:
            change = await anext(stream)
            if change.topic == "outbox":
                return change


class OutboxSuite:
    """Inherit it and give it a fixture `backend`."""

    async def send(
        self, backend: AccountBackend, body: bytes = b"", not_before: int | None = None
    ) -> str:
        raw = letter(backend, body)
        return await backend.submit(raw, backend.address, [BOB, CAROL], not_before)

    async def test_an_entry_says_where_each_recipient_stands(self, backend: AccountBackend) -> None:
        assert await backend.outbox() == []
        entry = await entry_of(backend, await self.send(backend))
        assert (entry.state, entry.subject, entry.attempts) == ("queued", "Plain words", 0)
        assert not entry.ended
        assert entry.recipients == (BOB, CAROL)
        assert [(one.address, one.state, one.in_hand) for one in entry.recipients_state] == [
            (BOB, "waiting", False),
            (CAROL, "waiting", False),
        ]

    async def test_one_entry_or_all_newest_first(self, backend: AccountBackend) -> None:
        first = await self.send(backend, b"one\r\n")
        second = await self.send(backend, b"two\r\n")
        assert [one.outbox_id for one in await backend.outbox()] == [second, first]
        assert [one.outbox_id for one in await backend.outbox(first)] == [first]
        assert await backend.outbox("nothing") == []

    async def test_what_is_cancelled_is_cancelled_for_all_who_wait(
        self, backend: AccountBackend
    ) -> None:
        outbox_id = await self.send(backend)
        assert await backend.cancel(outbox_id)
        entry = await entry_of(backend, outbox_id)
        assert (entry.state, entry.ended) == ("cancelled", True)
        assert [one.state for one in entry.recipients_state] == ["cancelled", "cancelled"]
        assert not await backend.cancel(outbox_id)
        with pytest.raises(NoSuchMessage):
            await backend.retry(outbox_id)
        await backend.retry()
        assert (await entry_of(backend, outbox_id)).state == "cancelled"

    async def test_what_nobody_got_is_a_draft_again_and_not_sent(
        self, backend: AccountBackend
    ) -> None:
        outbox_id = await self.send(backend)
        raw = letter(backend)
        other = raw.replace(b"<plain@", b"<other@")
        copies = [
            NewMessage(raw=one, flags=("\\Seen", "$Submitted")) for one in (other, raw, other)
        ]
        await backend.append(SENT, copies)
        assert await backend.cancel(outbox_id)
        assert len(await backend.rows(SENT)) == 2
        [draft] = await backend.rows(DRAFTS)
        assert await backend.read(draft.row_id) == raw
        assert set(draft.flags) == {"\\Draft", "\\Seen"}
        # A copy that a mail program puts there later is found when it is cancelled once more.
        await backend.append(SENT, copies[1:2])
        assert not await backend.cancel(outbox_id)
        assert len(await backend.rows(SENT)) == 2

    async def test_what_is_not_there_cannot_be_cancelled_or_retried(
        self, backend: AccountBackend
    ) -> None:
        with pytest.raises(NoSuchMessage):
            await backend.cancel("nothing")
        with pytest.raises(NoSuchMessage):
            await backend.retry("nothing")
        await backend.retry()

    async def test_a_mail_may_leave_later(self, backend: AccountBackend) -> None:
        at = int(time.time()) + 1000
        later, now = await self.send(backend, not_before=at), await self.send(backend, b"now\r\n")
        entry = await entry_of(backend, later)
        assert (entry.not_before, entry.next_attempt) == (at, at)
        assert (await entry_of(backend, now)).not_before == 0
        await backend.retry()  # of what could not be sent: this one is not to leave yet
        assert (await entry_of(backend, later)).next_attempt == at
        await backend.retry(later)
        assert (await entry_of(backend, later)).next_attempt == 0

    @pytest.mark.parametrize("at", [-1, 10**12])
    async def test_a_time_that_is_none_is_refused(self, backend: AccountBackend, at: int) -> None:
        with pytest.raises(NotPermitted, match="year"):
            await self.send(backend, not_before=at)
        assert await backend.outbox() == []

    async def test_a_delay_holds_for_the_mail_that_comes_then(
        self, backend: AccountBackend
    ) -> None:
        assert await backend.send_delay() == 0
        before = await self.send(backend)
        await backend.set_send_delay(30)
        assert await backend.send_delay() == 30
        assert (await entry_of(backend, before)).not_before == 0
        entry = await entry_of(backend, await self.send(backend, b"another\r\n"))
        assert abs(entry.not_before - time.time() - 30) < 10
        at = int(time.time()) + 5
        assert (await entry_of(backend, await self.send(backend, b"3\r\n", at))).not_before == at
        for seconds in (-1, 3601):
            with pytest.raises(NotPermitted, match="3600"):
                await backend.set_send_delay(seconds)
        assert await backend.send_delay() == 30

    async def test_rules_of_sending_hold_until_they_are_changed(
        self, backend: AccountBackend
    ) -> None:
        assert await backend.sending_rules() == SendingRules()
        rules = SendingRules(encrypt="require", sign=True, mixed="split", subject_tags=True)
        await backend.set_sending_rules(rules)
        assert await backend.sending_rules() == rules
        for wrong in ({"encrypt": "sometimes"}, {"mixed": ""}, {"replies": "quote"}, {"sign": 2}):
            with pytest.raises(NotPermitted, match="no such rule"):
                await backend.set_sending_rules(SendingRules(**wrong))  # type: ignore[arg-type]
        assert await backend.sending_rules() == rules

    async def test_its_own_address_is_the_first_it_sends_as(self, backend: AccountBackend) -> None:
        assert await backend.addresses() == [backend.address]

    async def test_the_feed_tells_of_each_entry(self, backend: AccountBackend) -> None:
        stream = backend.changes()
        outbox_id = await self.send(backend)
        told = await about_outbox(stream)
        assert (told.outbox_id, told.mailbox_id) == (outbox_id, None)
        await backend.cancel(outbox_id)
        then = await about_outbox(stream)
        while (await entry_of(backend, outbox_id)).state != "cancelled":
            then = await about_outbox(stream)
        assert then.outbox_id == outbox_id
        assert then.seq > told.seq
        await close_stream(stream)

    async def test_the_feed_of_mail_says_what_a_change_is_about(
        self, backend: AccountBackend
    ) -> None:
        stream = backend.changes()
        await backend.create_mailbox("Fresh")
        async with asyncio.timeout(PATIENCE):
            change = await anext(stream)
        assert (change.topic, change.mailbox_id, change.outbox_id) == ("mailboxes", None, "")
        await close_stream(stream)
