"""Devices that edit, sync, crash and lose replies in any order all end equal, and nothing is lost in silence."""

import asyncio
import contextlib
import itertools
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from leap.soledad.errors import BeingFounded, SoledadError
from leap.soledad.rows import RowExists, SetEdit
from leap.soledad.syncing.loop import DAY
from tests.soledad.memory_provider import (
    Account,
    Device,
    delivered_twice,
    lost_reply,
    lost_request,
)

devices = st.integers(0, 2)
rows = st.sampled_from(["r1", "r2", "r3", "r4"])
folders = st.sampled_from(["in", "archive", "trash"])
flags = st.sampled_from(["seen", "flagged", "done"])


class Convergence(RuleBasedStateMachine):
    """Three devices of one account."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp())
        self.account = Account(self.folder)
        self.numbers = itertools.count()
        self.written: set[str] = set()
        for name in ("laptop", "phone", "tablet"):
            self.run(self.account.device(name, merges={"box": "fields"}))
        self.run(self.device(0).insert("anchor"))
        self.run(self.device(0).put("box-anchor", type="box"))
        self.run(self.device(0).put("note-anchor", type="note", entries=[]))
        for device in self.account.devices:
            self.run(device.sync())
        self.marks: set[str] = set()
        self.entries: set[int] = set()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def device(self, number: int) -> Device:
        return self.account.devices[number]

    @rule(number=devices, row=rows, folder=folders)
    def insert(self, number: int, row: str, folder: str) -> None:
        try:
            self.run(self.device(number).insert(row, folder))
        except RowExists:
            self.run(self.device(number).update(row, folder=folder))

    @rule(number=devices, row=rows, flag=flags, add=st.booleans())
    def flag(self, number: int, row: str, flag: str, add: bool) -> None:
        words = frozenset({flag})
        edit = SetEdit(add=words) if add else SetEdit(remove=words)
        self.run(self.device(number).update(row, flags=edit))

    @rule(number=devices, row=rows, folder=folders)
    def move(self, number: int, row: str, folder: str) -> None:
        self.run(self.device(number).update(row, folder=folder))

    @rule(number=devices, row=rows)
    def expunge(self, number: int, row: str) -> None:
        self.run(self.device(number).expunge(row))

    @rule(number=devices)
    def new_row(self, number: int) -> None:
        """Rows with names of their own: these must all be there in the end."""
        name = f"own{next(self.numbers)}"
        self.run(self.device(number).insert(name))
        self.written.add(name)

    @rule(number=devices)
    def mark(self, number: int) -> None:
        """Edits of what nobody deletes: not one of them may be missing in the end."""
        entry = next(self.numbers)
        word = f"mark{entry}"

        def job(tx: Any) -> None:
            tx.update_rows("note", ["anchor"], {"flags": SetEdit(add=frozenset({word}))})
            tx.put("box-anchor", tx.get("box-anchor") | {word: True})
            note = tx.get("note-anchor")
            tx.put("note-anchor", note | {"entries": [*note["entries"], entry]})

        self.run(self.device(number).store.transact(job))
        self.marks.add(word)
        self.entries.add(entry)

    @rule(number=devices, name=st.sampled_from(["d1", "d2"]), merged=st.booleans())
    def edit(self, number: int, name: str, merged: bool) -> None:
        value = next(self.numbers)
        kind = "box" if merged else "note"
        self.run(self.device(number).put(f"{kind}-{name}", type=kind, value=value))

    @rule(number=devices, name=st.sampled_from(["box-d1", "note-d2"]))
    def remove(self, number: int, name: str) -> None:
        try:
            self.run(self.device(number).store.transact(lambda tx: tx.delete(name)))
        except SoledadError:
            pass

    @rule(
        number=devices,
        request=st.sampled_from(["pull", "commit"]),
        fault=st.sampled_from([None, lost_request, lost_reply, delivered_twice]),
    )
    def sync(self, number: int, request: str, fault: Any) -> None:
        device = self.device(number)
        device.remote.faults[request] = [fault]
        try:
            self.run(device.sync())
        except SoledadError:
            pass
        device.remote.faults.clear()

    @rule(number=devices, other=devices)
    def race(self, number: int, other: int) -> None:
        """`other` commits just before `number` does."""
        first, second = self.device(number), self.device(other)

        async def interfere() -> None:
            first.remote.before.clear()
            if first is not second:
                await second.sync()

        first.remote.before["commit"] = interfere
        try:
            self.run(first.sync())
        except BeingFounded:
            pass
        first.remote.before.clear()

    @rule(days=st.sampled_from([1, 1, 31]))
    def wait(self, days: int) -> None:
        """Tombstones are purged, and whoever does not sync for a month finds them gone."""
        for device in self.account.devices:
            device.now += days * DAY

    @rule(number=devices, fault=st.sampled_from([None, None, lost_request, lost_reply]))
    def refound(self, number: int, fault: Any) -> None:
        """One device's state becomes the log, also while another one is at just that."""
        device = self.device(number)
        device.remote.faults["commit"] = [fault]
        try:
            self.run(device.refound())
        except SoledadError:
            pass
        device.remote.faults.clear()

    @rule(number=devices)
    def crash(self, number: int) -> None:
        self.run(self.device(number).restart())

    @invariant()
    def no_alarm(self) -> None:
        assert all(not device.engine.status.alarm for device in self.account.devices)

    def teardown(self) -> None:
        try:
            self.run(self.compare())
        finally:
            self.run(self.account.close())
            self.loop.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    async def compare(self) -> None:
        for device in self.account.devices:  # a founding that was cut is brought to its end
            with contextlib.suppress(BeingFounded):
                await device.sync()
        for _ in range(2):
            for device in self.account.devices:
                await device.sync()
        views = [await device.view() for device in self.account.devices]
        assert views[0] == views[1] == views[2]
        assert self.written <= {row[0] for row in views[0]["rows"]}
        await self.compare_marks(self.device(0))
        for device in self.account.devices:
            assert (await device.engine.refresh_status()).pending == 0

    async def compare_marks(self, device: Device) -> None:
        row = await device.row("anchor")
        assert set(row["flags"].split()) == self.marks
        assert (await device.content("box-anchor")).keys() - {"type"} == self.marks
        versions = await device.store.get_doc_conflicts("note-anchor")
        contents = [version.content for version in versions] or [
            await device.content("note-anchor")
        ]
        assert {entry for content in contents for entry in content["entries"]} == self.entries


Convergence.TestCase.settings = settings(
    max_examples=8,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestConvergence = Convergence.TestCase
