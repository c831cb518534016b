"""Three devices that do anything to mail in any order, with crashes and lost replies, end equal; no edit is lost.

What must be there in the end is written down while it is done: every message that no device expunged (nor lost with
a mailbox it deleted), with every label put on it; every mailbox that nobody deleted, under a name somebody gave it.
"""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from leap.mail.contract import (
    INBOX,
    AccountError,
    MailboxId,
    MessageRow,
    NewMessage,
    RowId,
    SecurityStatus,
)
from leap.mail.projection import DirectoryReader
from leap.soledad.errors import SoledadError
from tests.conformance.account_backend import PLAIN
from tests.mail.devices import MailDevice, MailWorld
from tests.soledad.memory_provider import delivered_twice, lost_reply, lost_request

NAMES = ("laptop", "phone", "tablet")
devices = st.integers(0, len(NAMES) - 1)
places = st.integers(0, 9)  # of the mailboxes a device has
picks = st.integers(0, 3)  # of the messages in one


class MailConvergence(RuleBasedStateMachine):
    """Three devices of one account of mail."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.world = MailWorld(self.folder)
        for name in NAMES:
            self.run(self.world.device(name))
        self.numbers = itertools.count()
        self.living: set[str] = set()
        self.labels: dict[str, set[str]] = defaultdict(set)
        self.names: dict[str, set[str]] = {}  # of mailboxes that nobody deleted
        self.deleted: set[str] = set()
        for device in self.world.devices:
            self.run(device.sync())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    # -- choosing

    def mailbox(self, number: int, where: int) -> tuple[MailDevice, MailboxId]:
        device = self.world.devices[number]
        infos = self.run(device.account.list_mailboxes())
        return device, infos[where % len(infos)].mailbox_id

    def message(self, device: MailDevice, mailbox: MailboxId, pick: int) -> MessageRow | None:
        rows = self.run(device.account.rows(mailbox))
        return rows[pick % len(rows)] if rows else None

    def lose(self, rows: list[MessageRow]) -> None:
        self.living -= {str(row.row_id) for row in rows}

    # -- messages

    @rule(number=devices, where=places)
    def append(self, number: int, where: int) -> None:
        device, mailbox = self.mailbox(number, where)
        raw = PLAIN + b"%d" % next(self.numbers)
        [made] = self.run(device.account.append(mailbox, [NewMessage(raw=raw)]))
        self.living.add(str(made.row_id))

    @rule(number=devices, item=st.integers(0, 5))
    def deliver(self, number: int, item: int) -> None:
        """The same item of the inbox can reach every device."""
        row_id = RowId(f"{item:064x}")
        stored = self.run(
            self.world.devices[number].account.deliver(
                PLAIN + b"item %d" % item,
                row_id=row_id,
                security=SecurityStatus(encryption="provider"),
                original=None,
                internal_date=1_700_000_000 + item,
            )
        )
        if stored and str(row_id) not in self.labels:  # else it may have been expunged elsewhere
            self.living.add(str(row_id))
        self.labels[str(row_id)] |= set()

    @rule(number=devices, where=places, pick=picks, add=st.booleans())
    def flag(self, number: int, where: int, pick: int, add: bool) -> None:
        device, mailbox = self.mailbox(number, where)
        if row := self.message(device, mailbox, pick):
            op = "add" if add else "remove"
            self.run(device.account.store_flags(mailbox, [row.uid], op, ["\\Seen"]))

    @rule(number=devices, where=places, pick=picks)
    def label(self, number: int, where: int, pick: int) -> None:
        """A keyword of its own, which nobody takes away."""
        device, mailbox = self.mailbox(number, where)
        if row := self.message(device, mailbox, pick):
            word = f"label{next(self.numbers)}"
            self.run(device.account.store_flags(mailbox, [row.uid], "add", [word]))
            self.labels[str(row.row_id)].add(word)

    @rule(number=devices, where=places, pick=picks, to=places)
    def move(self, number: int, where: int, pick: int, to: int) -> None:
        device, mailbox = self.mailbox(number, where)
        _, target = self.mailbox(number, to)
        if row := self.message(device, mailbox, pick):
            self.run(device.account.move(mailbox, [row.uid], target))

    @rule(number=devices, where=places, pick=picks, to=places)
    def copy(self, number: int, where: int, pick: int, to: int) -> None:
        device, mailbox = self.mailbox(number, where)
        _, target = self.mailbox(number, to)
        if row := self.message(device, mailbox, pick):
            done = self.run(device.account.copy(mailbox, [row.uid], target))
            rows = self.run(device.account.rows(target))
            self.living |= {str(one.row_id) for one in rows if one.uid in done.target}

    @rule(number=devices, where=places, pick=picks)
    def expunge(self, number: int, where: int, pick: int) -> None:
        device, mailbox = self.mailbox(number, where)
        if row := self.message(device, mailbox, pick):
            self.run(device.account.store_flags(mailbox, [row.uid], "add", ["\\Deleted"]))
            before = self.run(device.account.rows(mailbox))
            gone = set(self.run(device.account.expunge(mailbox)))
            self.lose([one for one in before if one.uid in gone])

    # -- mailboxes

    @rule(number=devices, common=st.booleans())
    def create(self, number: int, common: bool) -> None:
        """Under a name of its own, or one that other devices use at the same time."""
        name = "Work" if common else f"Box{next(self.numbers)}"
        try:
            made = self.run(self.world.devices[number].account.create_mailbox(name))
        except AccountError:
            return
        self.names[str(made.mailbox_id)] = {name}

    @rule(number=devices, where=places)
    def rename(self, number: int, where: int) -> None:
        device, mailbox = self.mailbox(number, where)
        name = f"Box{next(self.numbers)}"
        merged = self.run(device.store.read(DirectoryReader().read)).same_name(mailbox)
        try:
            self.run(device.account.rename_mailbox(mailbox, name))
        except AccountError:
            return
        if mailbox == INBOX:  # RFC 9051 6.3.6: its mail goes into a new mailbox, and it stays
            return
        for one in map(str, merged):  # those of one name go together
            if one not in self.deleted:  # on another device
                self.names.setdefault(one, set()).add(name)

    @rule(number=devices, where=places)
    def delete(self, number: int, where: int) -> None:
        device, mailbox = self.mailbox(number, where)
        rows = self.run(device.account.rows(mailbox))
        merged = self.run(device.store.read(DirectoryReader().read)).same_name(mailbox)
        try:
            self.run(device.account.delete_mailbox(mailbox))
        except AccountError:
            return  # INBOX
        self.lose(rows)
        for one in map(str, merged):  # those of one name go together
            self.deleted.add(one)
            self.names.pop(one, None)

    # -- what goes wrong

    @rule(
        number=devices,
        request=st.sampled_from(["pull", "stage", "commit", "put_blobs"]),
        fault=st.sampled_from([None, lost_request, lost_reply, delivered_twice]),
    )
    def sync(self, number: int, request: str, fault: Any) -> None:
        device = self.world.devices[number]
        device.remote.faults[request] = [fault]
        try:
            self.run(device.sync())
        except SoledadError:
            pass
        device.remote.faults.clear()

    @rule(number=devices, other=devices)
    def race(self, number: int, other: int) -> None:
        """`other` commits just before `number` does."""
        first, second = self.world.devices[number], self.world.devices[other]

        async def interfere() -> None:
            first.remote.before.clear()
            if first is not second:
                await second.engine.sync()

        first.remote.before["commit"] = interfere
        self.run(first.sync())
        first.remote.before.clear()

    @rule(number=devices)
    def crash(self, number: int) -> None:
        self.run(self.world.devices[number].restart())

    # -- what must hold

    @invariant()
    def no_alarm(self) -> None:
        assert all(not device.engine.status.alarm for device in self.world.devices)

    def teardown(self) -> None:
        try:
            self.run(self.compare())
        finally:
            self.run(self.world.close())
            self.run(self.loop.shutdown_default_executor())
            self.loop.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    async def compare(self) -> None:
        view = await self.world.settle()
        flags = {row_id: set(given) for rows in view.values() for row_id, given, _ in rows}
        assert self.living <= flags.keys()
        for row_id in self.living:
            assert self.labels[row_id] <= flags[row_id]
        [device, *_] = self.world.devices
        names = {str(i.mailbox_id): i.name for i in await device.account.list_mailboxes()}
        for mailbox, given in self.names.items():
            assert given & ({names[mailbox]} if mailbox in names else set(names.values()))
        for one in self.world.devices:
            assert (await one.engine.refresh_status()).pending == 0
            for row_id in flags:
                assert (await one.account.read(RowId(row_id))).startswith(PLAIN)
        assert INBOX in names


MailConvergence.TestCase.settings = settings(
    max_examples=4,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestMailConvergence = MailConvergence.TestCase
