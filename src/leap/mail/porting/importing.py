"""Imports mail: from a source through look-up and preparation into the account, each stage ahead of the next.

Invariants:
* A message and the memory of it are one row, written in one transaction with what the source notes: an import that is
  killed at any moment goes on where it ended when it is repeated, and nothing comes in twice.
* At most three batches are in memory.
* Nothing blocks the event loop: files are read in a thread, mail is parsed and sealed in a thread or process.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from leap.keymanager.openpgp import offload
from leap.mail.contract import MailboxId, MailboxInfo, RowId
from leap.mail.flags import checked_flags, flags_text
from leap.mail.local import LocalAccount
from leap.mail.model import MAIL_ROWS
from leap.mail.new_rows import row_values, stored_date
from leap.mail.porting.batches import Batch, MailSource
from leap.mail.porting.candidates import Candidate, candidates, prepare_all
from leap.mail.porting.found import Oddity, SourceMailbox
from leap.mail.porting.identity import OctetsHere, imported_row_id, rows_known
from leap.mail.porting.report import PortingReport
from leap.mail.projection import DirectoryReader
from leap.mail.storing import Prepared, account_errors, keep_all
from leap.soledad.transaction import Transaction
from leap.soledad.wire import MAX_MESSAGE_BYTES

Progress = Callable[[str, int, int], None]  # what, how many, of how many (0: unknown)
FIRST_IN_THREAD = 400  # messages made ready in a thread, before it is worth starting a process
MOST_TIMES = 1000  # a message can be brought back so many times


@dataclass(frozen=True)
class ImportOptions:
    """`into`: the mailbox for the mail itself, and above the source's other folders; None: mailboxes as at the source.

    `again`: also messages that were imported before and deleted since. `limit`: octets of one message.
    """

    into: str | None = None
    dry_run: bool = False
    again: bool = False
    limit: int = MAX_MESSAGE_BYTES


class _Chosen(NamedTuple):
    """A message that is new here, and the id of its row."""

    row_id: RowId
    candidate: Candidate


class _Ready(NamedTuple):
    """A batch on its way: `prepared` may still be at work while the one before is written and the next one read."""

    target: _Target
    chosen: list[_Chosen]
    prepared: asyncio.Task[list[Prepared]]
    batch: Batch


@dataclass
class _Target:
    """Where a mailbox of the source goes. `name` is what messages are known by; `info` is found or made when needed."""

    name: str
    special_use: str | None
    info: MailboxInfo | None = None
    here: OctetsHere | None = None
    seen: set[RowId] = field(default_factory=set)


async def import_mail(
    account: LocalAccount,
    source: MailSource,
    options: ImportOptions,
    report: PortingReport,
    *,
    progress: Progress = lambda what, done, total: None,
    now: Callable[[], float] = time.time,
) -> None:
    """Brings in what is new at `source`; `report` says what happened, also when this raises.

    Raises AccountError when the account cannot take more, and what the source raises. What is in stays in.
    """
    work = _Import(account, options, report, progress, now)
    ready: asyncio.Queue[_Ready | None] = asyncio.Queue(maxsize=1)
    storing = asyncio.create_task(work.store_all(ready))
    making = asyncio.create_task(work.make_ready(source, ready))
    try:
        with account.deriving.hurrying():
            done, _ = await asyncio.wait({storing, making}, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
            await account.deriving.finish()
    finally:
        for task in (making, storing):
            task.cancel()
        await asyncio.gather(making, storing, return_exceptions=True)
        await work.end()


class _Import:
    """One run."""

    def __init__(
        self,
        account: LocalAccount,
        options: ImportOptions,
        report: PortingReport,
        progress: Progress,
        now: Callable[[], float],
    ) -> None:
        self._account = account
        self._store = account.store
        self._options = options
        self._report = report
        self._progress = progress
        self._now = now
        self._directory = DirectoryReader()
        self._looked = 0
        self._made = 0
        self._preparing: set[asyncio.Task[list[Prepared]]] = set()

    # -- from the source to messages that are ready

    async def make_ready(self, source: MailSource, ready: asyncio.Queue[_Ready | None]) -> None:
        targets: dict[str, _Target] = {}
        for mailbox in await source.mailboxes():
            wanted = self._target(mailbox)
            target = targets.setdefault(wanted.name, wanted)
            async with contextlib.aclosing(source.batches(mailbox, self._options.limit)) as batches:
                async for batch in batches:
                    for oddity in batch.odd:
                        self._report.tell(oddity)
                    made = await self._make(target, batch)
                    self._looked += len(batch.found)
                    self._progress("messages", self._looked, 0)
                    if made is not None:
                        await ready.put(made)
        await ready.put(None)

    def _target(self, mailbox: SourceMailbox) -> _Target:
        into = self._options.into
        if into is None:
            return _Target(mailbox.name, mailbox.special_use)
        return _Target(into if mailbox.name == "INBOX" else f"{into}/{mailbox.name}", None)

    async def _make(self, target: _Target, batch: Batch) -> _Ready | None:
        """Chooses what is new of a batch, and makes it ready; None when there is nothing to write."""
        odd: list[Oddity] = []
        looked_at = await asyncio.to_thread(
            candidates, batch.found, self._options.limit, odd.append
        )
        for oddity in odd:
            self._report.tell(oddity)
        chosen = await self._choose(target, looked_at)
        if self._options.dry_run:
            self._count(target, chosen)
            return None
        if not chosen and batch.noted is None:
            return None
        preparing = asyncio.create_task(self._prepare(chosen))
        self._preparing.add(preparing)
        preparing.add_done_callback(self._preparing.discard)
        return _Ready(target, chosen, preparing, batch)

    async def _prepare(self, chosen: Sequence[_Chosen]) -> list[Prepared]:
        if not chosen:
            return []
        account, epoch = self._store.sealing_keys
        served = [one.candidate.served for one in chosen]
        self._made += len(chosen)
        if self._made <= FIRST_IN_THREAD:
            return await asyncio.to_thread(prepare_all, served, account=account, epoch=epoch)
        return await offload.run_batch(prepare_all, served, account=account, epoch=epoch)

    async def end(self) -> None:
        """Lets go of what was not written."""
        left = list(self._preparing)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _choose(self, target: _Target, looked_at: list[Candidate]) -> list[_Chosen]:
        """Those that are not here yet, one of each."""
        found = await self._find(target)
        fresh: list[_Chosen] = []
        for one in looked_at:
            row_id = imported_row_id(self._store.row_key, target.name, one.sha256)
            if row_id in target.seen:
                self._report.tell(
                    Oddity("duplicate", one.found.where, "The same message was there before it.")
                )
                continue
            target.seen.add(row_id)
            fresh.append(_Chosen(row_id, one))
        with account_errors():
            known = await self._store.read(lambda c: rows_known(c, [one.row_id for one in fresh]))
        unknown = [one for one in fresh if one.row_id not in known]
        gone = [one for one in fresh if known.get(one.row_id)]
        self._report.present += len(fresh) - len(unknown) - len(gone)
        if gone and self._options.again:
            unknown += await self._brought_back(target, gone)
        else:
            self._report.deleted += len(gone)
        if found is None:
            return unknown
        if target.here is None:
            target.here = OctetsHere(self._store, found.mailbox_id)
        here = await target.here.among(
            [(len(one.candidate.served.raw), one.candidate.sha256) for one in unknown]
        )
        new = [one for one in unknown if one.candidate.sha256 not in here]
        self._report.present += len(unknown) - len(new)
        return new

    async def _brought_back(self, target: _Target, gone: list[_Chosen]) -> list[_Chosen]:
        """New ids for messages whose rows are deleted for good."""
        out: list[_Chosen] = []
        nth = 0
        while gone and (nth := nth + 1) < MOST_TIMES:
            tried = [
                _Chosen(
                    imported_row_id(self._store.row_key, target.name, one.candidate.sha256, nth),
                    one.candidate,
                )
                for one in gone
            ]
            with account_errors():
                known = await self._store.read(
                    lambda c, tried=tried: rows_known(c, [one.row_id for one in tried])  # type: ignore[misc]
                )
            out += [one for one in tried if one.row_id not in known]
            gone = [one for one in tried if known.get(one.row_id)]
            self._report.present += sum(known.get(one.row_id) is False for one in tried)
        return out

    async def _find(self, target: _Target) -> MailboxInfo | None:
        """The mailbox, if it is there already."""
        if target.info is None:
            infos = await self._account.list_mailboxes()
            by_use = [
                info
                for info in infos
                if target.special_use is not None and info.special_use == target.special_use
            ]
            name = "INBOX" if target.name.upper() == "INBOX" else target.name
            by_name = [info for info in infos if info.name == name]
            target.info = next(iter(by_use or by_name), None)
        return target.info

    # -- into the account

    async def store_all(self, ready: asyncio.Queue[_Ready | None]) -> None:
        while (one := await ready.get()) is not None:
            await self._write(one)

    async def _write(self, ready: _Ready) -> None:
        mailbox_id = MailboxId("")
        if ready.chosen:
            info = await self._find(ready.target)
            if info is None:
                info = await self._account.create_mailbox(ready.target.name)
                ready.target.info = info
            mailbox_id = info.mailbox_id
        stored = await self._insert(mailbox_id, ready, await ready.prepared)
        self._report.present += len(ready.chosen) - len(stored)
        self._count(ready.target, stored)

    async def _insert(
        self, mailbox_id: MailboxId, ready: _Ready, made: Sequence[Prepared]
    ) -> list[_Chosen]:
        now = int(self._now())

        def job(tx: Transaction) -> list[_Chosen]:
            if ready.chosen:
                self._directory.read(tx.connection).require(mailbox_id)
            # another import, or sync, may have been faster
            there = rows_known(tx.connection, [one.row_id for one in ready.chosen])
            fresh: list[tuple[_Chosen, Prepared, int]] = []
            for one, prepared in zip(ready.chosen, made, strict=True):
                if one.row_id in there:
                    continue
                given = one.candidate.found.internal_date
                fresh.append((one, prepared, stored_date(now if given is None else given)))
            columns = keep_all(tx, [prepared for _, prepared, _ in fresh])
            rows = []
            for (one, _, date), fixed in zip(fresh, columns, strict=True):
                text = flags_text(checked_flags(one.candidate.flags))
                zone = one.candidate.found.zone
                values = row_values(one.row_id, fixed, mailbox_id, text, date, zone)
                rows.append((one.row_id, values))
            tx.insert_rows(MAIL_ROWS.name, rows)
            if ready.batch.noted is not None:
                ready.batch.noted(tx)
            return [one for one, _, _ in fresh]

        await self._account.deriving.before_adding()
        with account_errors():
            return await self._store.transact(job)

    def _count(self, target: _Target, chosen: list[_Chosen]) -> None:
        if chosen:
            name = target.info.name if target.info is not None else target.name
            octets = sum(len(one.candidate.found.raw) for one in chosen)
            self._report.add(name, len(chosen), octets)
