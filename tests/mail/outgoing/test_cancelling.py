"""Calling a mail back: either nothing was handed to the provider, or it is too late and said to be."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import pytest

from leap.mail.contract import MailboxId, NewMessage
from leap.mail.delivery_wishes import DeliveryWishes
from leap.mail.outbox_contract import OutboxEntry
from leap.mail.outgoing.outbox_tables import create_tables
from leap.mail.outgoing.submission import Refused, SubmissionUnavailable
from leap.soledad.transaction import Transaction
from tests.mail.travel import DOMAIN, NOW, Person, mail

ALICE, BOB = f"alice@{DOMAIN}", f"bob@{DOMAIN}"
EVE, CAROL = "eve@elsewhere.test", "carol@elsewhere.test"


async def entry_of(person: Person, outbox_id: str) -> OutboxEntry:
    [entry] = await person.outgoing.entries(outbox_id)
    return entry


async def states(person: Person, outbox_id: str) -> tuple[str, ...]:
    """The entry's, then each recipient's."""
    entry = await entry_of(person, outbox_id)
    return (entry.state, *(one.state for one in entry.recipients_state))


async def rows_left(person: Person) -> int:
    """Messages and copies that are still kept."""
    return await person.store.read(
        lambda c: sum(
            c.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("outbox_message", "outbox_copy")
        )
    )


class Gate:
    """A way to the provider that waits in the middle of handing over."""

    def __init__(self, person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        self.error: Exception | None = None
        submit = person.provider.submit

        async def slowly(
            submission_id: str,
            sender: str,
            recipients: Sequence[str],
            message: bytes,
            wishes: DeliveryWishes,
        ) -> dict[str, tuple[int, str]]:
            self.reached.set()
            await self.go.wait()
            results = await submit(submission_id, sender, recipients, message, wishes)
            if self.error is not None:
                raise self.error
            return results

        monkeypatch.setattr(person.provider, "submit", slowly)


async def test_a_mail_that_is_cancelled_never_leaves_and_nothing_of_it_stays(alice: Person) -> None:
    outbox_id = await alice.outgoing.submit(mail(to=EVE), ALICE, [EVE])
    assert await alice.outgoing.cancel(outbox_id)
    await alice.sender.process_due()
    assert alice.provider.submitted == []
    assert await states(alice, outbox_id) == ("cancelled", "cancelled")
    assert await rows_left(alice) == 0
    assert await alice.messages() == []  # no report either


@pytest.mark.parametrize("step", ["looking keys up", "connecting"])
async def test_while_the_provider_is_away_a_mail_can_be_called_back_between_attempts(
    alice: Person, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    async def unreachable(*_: object) -> object:
        raise SubmissionUnavailable("The provider cannot be reached.", may_have_arrived=False)

    if step == "connecting":
        monkeypatch.setattr(alice.provider, "submit", unreachable)
    else:
        alice.provider.offline = True
    outbox_id = await alice.outgoing.submit(mail(to=EVE), ALICE, [EVE])
    await alice.sender.process_due()
    entry = await entry_of(alice, outbox_id)
    assert (entry.attempts, entry.recipients_state[0].in_hand) == (1, False)
    assert entry.state == ("sending" if step == "connecting" else "queued")
    assert await alice.outgoing.cancel(outbox_id)
    monkeypatch.undo()
    alice.provider.offline = False
    await alice.sender.came_online()
    await alice.sender.process_due()
    assert alice.provider.submitted == []


async def test_while_it_is_handed_over_it_is_too_late(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(alice, monkeypatch)
    outbox_id = await alice.outgoing.submit(mail(to=EVE), ALICE, [EVE])
    sending = asyncio.create_task(alice.sender.process_due())
    await gate.reached.wait()
    assert (await entry_of(alice, outbox_id)).recipients_state[0].in_hand
    assert await alice.outgoing.cancel(outbox_id) is False
    gate.go.set()
    await sending
    assert await states(alice, outbox_id) == ("sent", "sent")
    assert not (await entry_of(alice, outbox_id)).recipients_state[0].in_hand
    assert await alice.outgoing.cancel(outbox_id) is False


async def test_a_lost_answer_is_never_called_cancelled_whatever_later_attempts_say(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(alice, monkeypatch)
    gate.go.set()
    gate.error = SubmissionUnavailable("The connection ended before it was answered.")
    outbox_id = await alice.outgoing.submit(mail(to=EVE), ALICE, [EVE])
    await alice.sender.process_due()
    assert await alice.outgoing.cancel(outbox_id) is False
    gate.error = None
    alice.provider.offline = True  # nothing is handed over this time, which says nothing of before
    alice.clock.time += 10
    await alice.sender.process_due()
    assert await alice.outgoing.cancel(outbox_id) is False
    alice.provider.offline = False
    alice.provider.replies = {EVE: (451, "4.3.0 Not now")}
    alice.clock.time += 20
    await alice.sender.process_due()
    assert await alice.outgoing.cancel(outbox_id) is False
    alice.provider.replies = {}
    await alice.outgoing.retry(outbox_id)
    await alice.sender.process_due()
    assert await states(alice, outbox_id) == ("sent", "sent")
    assert len({(one[0], one[3]) for one in alice.provider.submitted}) == 1


async def test_a_4xx_after_the_message_is_no_proof_that_nobody_has_it(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def kept_for_some(*_: object) -> dict[str, tuple[int, str]]:
        return {EVE: (451, "4.3.0 Not all could be kept"), CAROL: Refused((451, "4.2.0 Later"))}

    monkeypatch.setattr(alice.provider, "submit", kept_for_some)
    outbox_id = await alice.outgoing.submit(mail(to=EVE), ALICE, [EVE, CAROL])
    await alice.sender.process_due()
    assert await alice.outgoing.cancel(outbox_id)
    assert await states(alice, outbox_id) == ("sending", "waiting", "cancelled")
    monkeypatch.undo()
    await alice.outgoing.retry(outbox_id)
    await alice.sender.process_due()
    assert await states(alice, outbox_id) == ("sent", "sent", "cancelled")


async def test_some_have_it_and_the_others_are_cancelled(alice: Person) -> None:
    alice.provider.replies = {CAROL: (451, "4.2.0 Greylisted")}
    outbox_id = await alice.outgoing.submit(mail(to=EVE), ALICE, [EVE, CAROL])
    await alice.account.append(MailboxId("sent"), [NewMessage(raw=mail(to=EVE))])
    await alice.sender.process_due()
    assert await states(alice, outbox_id) == ("sending", "sent", "waiting")
    assert await alice.account.cancel(outbox_id)
    assert len(await alice.account.rows(MailboxId("sent"))) == 1  # eve has it
    assert await states(alice, outbox_id) == ("sent", "sent", "cancelled")
    await alice.sender.process_due()  # what eve has is put into Sent
    assert len(await alice.account.rows(MailboxId("sent"))) == 1
    assert await states(alice, outbox_id) == ("sent", "sent", "cancelled")
    assert await rows_left(alice) == 0
    alice.provider.replies = {}
    await alice.sender.came_online()
    await alice.sender.process_due()
    assert len(alice.provider.submitted) == 1


async def test_bcc_copies_that_have_not_left_are_cancelled_in_the_middle(
    alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(alice, monkeypatch)
    outbox_id = await alice.outgoing.submit(mail(), ALICE, [BOB, ALICE])  # alice is Bcc
    sending = asyncio.create_task(alice.sender.process_due())
    await gate.reached.wait()
    assert await alice.outgoing.cancel(outbox_id)
    assert await states(alice, outbox_id) == ("sending", "waiting", "cancelled")
    gate.go.set()
    await sending
    assert [one[2] for one in alice.provider.submitted] == [(BOB,)]
    assert await states(alice, outbox_id) == ("sent", "sent", "cancelled")


async def test_a_report_of_who_failed_comes_although_the_rest_was_cancelled(alice: Person) -> None:
    alice.provider.replies = {CAROL: (451, "4.2.0 Later"), EVE: (550, "5.1.1 No such user")}
    outbox_id = await alice.outgoing.submit(mail(to=EVE), ALICE, [EVE, CAROL])
    await alice.sender.process_due()
    assert await alice.outgoing.cancel(outbox_id)
    await alice.sender.process_due()
    assert await states(alice, outbox_id) == ("failed", "failed", "cancelled")
    [report] = await alice.messages()
    assert b"No such user" in report
    assert CAROL.encode() not in report.partition(b"text/rfc822-headers")[0]


async def test_cancelled_during_the_look_up_it_does_not_go(
    alice: Person, bob: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox_id = await alice.outgoing.submit(mail(), ALICE, [BOB])
    own_keys = alice.keys.own_keys

    async def meanwhile() -> object:
        assert await alice.outgoing.cancel(outbox_id)
        return await own_keys()

    monkeypatch.setattr(alice.keys, "own_keys", meanwhile)
    await alice.sender.process_due()
    assert alice.provider.submitted == []
    assert await states(alice, outbox_id) == ("cancelled", "cancelled")


async def test_whoever_comes_first_wins_and_both_know(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelling comes right before another transaction of sending each time."""
    outcomes = []
    transact = alice.store.transact
    for turn in range(6):
        outbox_id = await alice.outgoing.submit(mail(to=EVE, body=b"%d" % turn), ALICE, [EVE])
        left = [turn]
        outcome: list[bool | None] = []

        async def between(
            job: Callable[[Transaction], object],
            durable: bool = False,
            left: list[int] = left,
            outcome: list[bool | None] = outcome,
            outbox_id: str = outbox_id,
        ) -> object:
            left[0] -= 1
            if left[0] == -1:
                outcome.append(await alice.outgoing.cancel(outbox_id))
            return await transact(job, durable)

        sent_before = len(alice.provider.submitted)
        monkeypatch.setattr(alice.store, "transact", between)
        await alice.sender.process_due()
        monkeypatch.setattr(alice.store, "transact", transact)
        cancelled = outcome[0] if outcome else await alice.outgoing.cancel(outbox_id)
        assert cancelled is (len(alice.provider.submitted) == sent_before)
        wanted = "cancelled" if cancelled else "sent"
        assert await states(alice, outbox_id) == (wanted, wanted)
        outcomes.append(cancelled)
    assert outcomes == [True, True, False, False, False, False]  # keeping copies, taking in hand


async def test_a_cancelled_mail_that_is_sent_again_is_another_one(alice: Person) -> None:
    first = await alice.outgoing.submit(mail(to=EVE), ALICE, [EVE])
    await alice.outgoing.cancel(first)
    second = await alice.outgoing.submit(mail(to=EVE), ALICE, [EVE])
    assert second != first
    await alice.sender.process_due()
    assert len(alice.provider.submitted) == 1


async def test_a_delayed_mail_leaves_at_its_time_and_not_when_online_again(alice: Person) -> None:
    await alice.outgoing.set_delay(20)
    outbox_id = await alice.outgoing.submit(mail(to=EVE), ALICE, [EVE])
    for later in (0, 19):
        alice.clock.time = NOW + later
        await alice.sender.came_online()
        await alice.sender.process_due()
        assert alice.provider.submitted == []
    assert await alice.outgoing.outbox.next_due(alice.clock.time) == NOW + 20
    alice.clock.time = NOW + 20
    await alice.sender.process_due()
    assert await states(alice, outbox_id) == ("sent", "sent")


async def test_the_worker_wakes_for_a_delayed_mail_though_another_one_hangs(
    alice: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(alice, monkeypatch)
    await alice.outgoing.submit(mail(to=EVE), ALICE, [EVE])
    worker = asyncio.create_task(alice.sender.run())
    async with asyncio.timeout(10):
        await gate.reached.wait()
        await alice.outgoing.submit(mail(to=CAROL), ALICE, [CAROL], NOW + 30)
        assert await alice.sender._start_due() == pytest.approx(30)
    worker.cancel()
    await asyncio.gather(worker, return_exceptions=True)


async def test_what_the_former_version_may_have_handed_over_cannot_be_cancelled(
    alice: Person,
) -> None:
    def former(tx: Transaction) -> None:
        """Tables as they were before mail could be cancelled, with one mail tried and one not."""
        db = tx.connection
        create_tables(db)
        for column in ("not_before", "wishes", "delay_told"):
            db.execute(f"ALTER TABLE outbox DROP COLUMN {column}")
        db.execute("ALTER TABLE outbox_recipient DROP COLUMN in_hand")
        db.execute("ALTER TABLE outbox_recipient DROP COLUMN how")
        db.execute("ALTER TABLE outbox_copy DROP COLUMN how")
        for outbox_id, copy in (("tried", "c1"), ("new", None)):
            db.execute(
                "INSERT INTO outbox VALUES (?, ?, 'Of before', 10, 'open', '', '[]', '<1@x>',"
                " 'queued', 0, 0, ?, ?, NULL, '', NULL)",
                (outbox_id, ALICE, NOW - 10, NOW + 1000),
            )
            db.execute("INSERT INTO outbox_message VALUES (?, ?)", (outbox_id, mail(to=EVE)))
            db.execute(
                "INSERT INTO outbox_recipient VALUES (?, 0, ?, ?, 'waiting', 0, '')",
                (outbox_id, EVE, copy),
            )
        db.execute("INSERT INTO outbox_copy VALUES ('c1', 'tried', ?, '{}', ?)", (mail(), NOW))

    await alice.store.transact(former)
    assert {one.outbox_id: one.not_before for one in await alice.outgoing.entries()} == {
        "tried": 0,
        "new": 0,
    }
    assert await alice.outgoing.cancel("tried") is False
    assert await alice.outgoing.cancel("new")
    await alice.sender.process_due()
    assert [one[0] for one in alice.provider.submitted] == ["c1"]
    assert await states(alice, "tried") == ("sent", "sent")
