"""Threads and contacts on two devices, after any history, are what the rules say, and the same when built anew."""

from __future__ import annotations

from email.utils import formatdate
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from leap.mail.contacts.model import ContactUse
from leap.mail.contract import (
    AccountError,
    MailboxId,
    NewMessage,
    RowId,
    SecurityStatus,
)
from leap.soledad.maintenance import rebuild, verify
from tests.mail.devices import MailDevice
from tests.mail.test_convergence import MailConvergence, devices, places
from tests.mail.threads.dump import dump
from tests.mail.threads.oracle import Mail, contacts_of, threads_of

PEOPLE = ["bob@example.test", "carol@example.test", "alice@example.test"]
names = st.sampled_from([f"{letter}@x" for letter in "abcdef"])
mails = st.builds(
    Mail,
    key=st.just(""),
    message_id=names.map(lambda one: f"<{one}>"),
    references=st.lists(names.map(lambda one: f"<{one}>"), max_size=2, unique=True).map(tuple),
    subject=st.sampled_from(["", "one", "two"]),
    reply=st.booleans(),
    date=st.none() | st.integers(1, 12).map(lambda month: 1_767_225_600 + month * 40 * 86_400),
    sender=st.sampled_from(PEOPLE),
    recipients=st.lists(st.sampled_from(PEOPLE), unique=True, max_size=2).map(tuple),
    name=st.sampled_from(["", "Bob", "Carol"]),
)


def raw_of(mail: Mail) -> bytes:
    lines = [
        f"From: {mail.name} <{mail.sender}>",
        f"Subject: {'Re: ' if mail.reply else ''}{mail.subject}",
        f"Message-ID: {mail.message_id}",
    ]
    if mail.recipients:
        lines.append(f"To: {', '.join(mail.recipients)}")
    if mail.references:
        lines.append(f"References: {' '.join(mail.references)}")
    if mail.date is not None:
        lines.append(f"Date: {formatdate(mail.date)}")
    return "\r\n".join([*lines, "", "Text.\r\n"]).encode()


class ThreadConvergence(MailConvergence):
    """Two devices of one account, with mail that refers to mail."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: dict[bytes, Mail] = {}

    def written(self, mail: Mail) -> bytes:
        raw = raw_of(mail)
        self.sent[raw] = mail
        return raw

    @rule(number=devices, where=places, mail=mails, date=st.integers(0, 3))
    def append(self, number: int, where: int, mail: Mail, date: int) -> None:
        device, mailbox = self.mailbox(number, where)
        message = NewMessage(raw=self.written(mail), internal_date=date)
        [made] = self.run(device.account.append(mailbox, [message]))
        self.living.add(str(made.row_id))

    @rule(number=devices, item=st.integers(0, 3))
    def deliver(self, number: int, item: int) -> None:
        """The same item of the inbox can reach every device."""
        mail = Mail("", f"<{'abcd'[item]}@x>", (), "one", bool(item % 2), 1_767_225_600 + item)
        mail = mail._replace(sender=PEOPLE[item % 2], name=f"Name {item}")
        stored = self.run(
            self.world.devices[number].account.deliver(
                self.written(mail),
                row_id=RowId(f"{item:064x}"),
                security=SecurityStatus(encryption="provider"),
                original=None,
                internal_date=item,
            )
        )
        if stored and str(RowId(f"{item:064x}")) not in self.labels:
            self.living.add(f"{item:064x}")
        self.labels[f"{item:064x}"] |= set()

    @rule(number=devices, where=places, junk=st.booleans())
    def make_special(self, number: int, where: int, junk: bool) -> None:
        """A special mailbox goes away, and its mail is shown elsewhere or is deleted; or comes back."""
        account = self.world.devices[number].account
        use = "\\Junk" if junk else "\\Sent"
        try:
            self.run(account.create_mailbox(f"Special {next(self.numbers)}", use))
        except AccountError:
            return

    async def compare(self) -> None:
        await self.world.settle()
        answers = [await self.answers(device) for device in self.world.devices]
        assert all(one == answers[0] for one in answers)
        device = self.world.devices[0]
        assert answers[0] == await self.expected(device)
        before = await dump(device.account)
        await rebuild(device.store)
        device.account.look_for_headers()
        again = await dump(device.account, numbers=True)
        assert {name: values for name, values in again.items() if name in before} == before
        await rebuild(device.store)
        device.account.look_for_headers()
        assert await dump(device.account, numbers=True) == again
        assert await self.answers(device) == answers[0]
        assert (await verify(device.store)).clean

    async def answers(self, device: MailDevice) -> tuple[Any, Any, Any]:
        """Threads by their ids with their rows, the list of them, contacts."""
        account = device.account
        rows = [
            row.row_id
            for info in await account.list_mailboxes()
            for row in await account.rows(info.mailbox_id)
        ]
        ids = await account.thread_ids(rows)
        threads = {
            one: {found.row.row_id for found in await account.thread_rows(one)} for one in ids
        }
        assert all(row in threads[one] for row, one in zip(rows, ids, strict=True))
        summaries = await account.threads(None, 1000)
        assert {one.thread_id for one in summaries} == threads.keys()
        assert [(-one.newest) for one in summaries] == sorted(-one.newest for one in summaries)
        return threads, summaries, await account.contacts("", 1000)

    async def expected(self, device: MailDevice) -> tuple[Any, Any, Any]:
        rows = await device.store.read(
            lambda c: c.execute(
                "SELECT row_id, header_id, mailbox_id, internal_date FROM mail_index"
            ).fetchall()
        )
        uses = {i.mailbox_id: i.special_use for i in await device.account.list_mailboxes()}
        here: dict[str, Mail] = {}
        copies: dict[str, set[str]] = {}
        placed: dict[str, set[str | None]] = {}
        arrived: dict[str, int] = {}
        for row_id, header_id, mailbox_id, date in rows:
            raw = await device.account.read(RowId(row_id))
            here[header_id] = self.sent[raw]._replace(key=header_id)
            copies.setdefault(header_id, set()).add(row_id)
            placed.setdefault(header_id, set()).add(uses[MailboxId(mailbox_id)])
            arrived[header_id] = date
        threads = {
            one: {row for key in keys for row in copies[key]}
            for one, keys in threads_of(list(here.values())).items()
        }
        summaries = await device.account.threads(None, 1000)
        by_id = threads_of(list(here.values()))
        assert [one.messages for one in summaries] == [
            len(by_id[one.thread_id]) for one in summaries
        ]
        assert [one.newest for one in summaries] == [
            max(arrived[key] for key in by_id[one.thread_id]) for one in summaries
        ]
        counted = contacts_of(list(here.values()), placed, arrived, "alice@example.test")
        contacts = [
            ContactUse(address=address, name=name, written_to=to, written_from=by, last=last)
            for address, name, to, by, last in counted
        ]
        return threads, summaries, contacts


ThreadConvergence.TestCase.settings = settings(
    max_examples=3,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestThreadConvergence = ThreadConvergence.TestCase
