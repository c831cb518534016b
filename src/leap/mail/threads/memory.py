"""Threads and contacts of an account in memory: everything is worked out anew when it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from leap.keymanager.canonical import canonical
from leap.mail.contacts.counting import NOT, SENT, found_by, how_it_counts
from leap.mail.contacts.model import ContactUse
from leap.mail.contract import (
    FoundMessage,
    MailboxId,
    MailboxInfo,
    MessageRow,
    NoSuchMailbox,
    NoSuchMessage,
    RowId,
    SecurityStatus,
)
from leap.mail.model import header_record
from leap.mail.search.folding import fold
from leap.mail.threads.asking import participants
from leap.mail.threads.facts import Facts, facts_of, find_number, thread_id_of
from leap.mail.threads.grouping import Member, group, root_number, subject_links
from leap.mail.threads.model import ThreadId, ThreadSummary

LOCAL = SecurityStatus(encryption="local")


class _Listed(NamedTuple):
    """A message and all its copies."""

    key: str
    subject: str
    facts: Facts
    rows: list[tuple[MailboxInfo, MessageRow]]

    @property
    def arrived(self) -> int:
        return max(row.internal_date for _, row in self.rows)


class MemoryThreads:
    """A part of `MemoryAccount`."""

    @property
    def address(self) -> str:
        raise NotImplementedError

    def _listed(self) -> list[tuple[MailboxInfo, MessageRow, bytes]]:
        raise NotImplementedError

    async def thread_ids(self, row_ids: Sequence[RowId]) -> list[ThreadId]:
        found = {
            row.row_id: thread_id
            for thread_id, thread in self._grouped().items()
            for message in thread
            for _, row in message.rows
        }
        if not found.keys() >= set(row_ids):
            raise NoSuchMessage("The message was expunged.")
        return [found[row_id] for row_id in row_ids]

    async def threads(
        self, mailbox_id: MailboxId | None = None, limit: int = 50, offset: int = 0
    ) -> list[ThreadSummary]:
        if mailbox_id is not None and all(
            info.mailbox_id != mailbox_id for info in await self.list_mailboxes()
        ):
            raise NoSuchMailbox("There is no such mailbox.")
        out = [
            _summary(thread_id, thread)
            for thread_id, thread in self._grouped().items()
            if mailbox_id is None
            or any(info.mailbox_id == mailbox_id for one in thread for info, _ in one.rows)
        ]
        out.sort(key=lambda one: (one.newest, one.thread_id), reverse=True)
        first = max(0, offset)
        return out[first : first + max(0, limit)]

    async def list_mailboxes(self) -> list[MailboxInfo]:
        raise NotImplementedError

    async def thread_rows(self, thread_id: ThreadId) -> list[FoundMessage]:
        return self._rows_in_thread(thread_id)

    def _rows_in_thread(self, thread_id: ThreadId) -> list[FoundMessage]:
        number = find_number(thread_id)
        found = [
            FoundMessage(mailbox_id=info.mailbox_id, row=row)
            for thread in self._grouped().values()
            if any(number in one.facts.ids for one in thread)
            for one in thread
            for info, row in one.rows
        ]
        return sorted(found, key=lambda one: (one.row.internal_date, one.row.row_id))

    async def contacts(self, prefix: str = "", limit: int = 20) -> list[ContactUse]:
        own = canonical(self.address)
        uses: dict[str, list[tuple[int, str, bool]]] = {}
        for one in self._messages():
            how = how_it_counts({info.special_use for info, _ in one.rows}, one.facts.senders, own)
            if how == NOT:
                continue
            for person in one.facts.recipients if how == SENT else one.facts.senders:
                uses.setdefault(person.address, []).append((one.arrived, person.name, how == SENT))
        out = []
        for address, counted in uses.items():
            name = max((use[:2] for use in counted if use[1]), default=(0, ""))[1]
            if address == own or " " + fold(prefix).strip() not in found_by(address, name):
                continue
            written = sum(use[2] for use in counted)
            out.append(
                ContactUse(
                    address=address,
                    name=name,
                    written_to=written,
                    written_from=len(counted) - written,
                    last=max(use[0] for use in counted),
                )
            )
        out.sort(key=lambda one: (-one.written_to, -one.written_from, -one.last, one.address))
        return out[: max(0, limit)]

    def _messages(self) -> list[_Listed]:
        found: dict[str, _Listed] = {}
        for info, row, raw in self._listed():
            if row.message_id not in found:
                record = header_record(raw, LOCAL)
                found[row.message_id] = _Listed(
                    row.message_id, record.subject, facts_of(record), []
                )
            found[row.message_id].rows.append((info, row))
        return list(found.values())

    def _grouped(self) -> dict[ThreadId, list[_Listed]]:
        messages = {one.key: one for one in self._messages()}
        members = [
            Member(one.key, one.facts.ids, one.facts.date, one.facts.subject, one.facts.orphan)
            for one in messages.values()
        ]
        return {
            thread_id_of(root_number(thread[0].ids)): [messages[one.key] for one in thread]
            for thread in group(members, subject_links(members))
        }


def _summary(thread_id: ThreadId, thread: list[_Listed]) -> ThreadSummary:
    inside = sorted(thread, key=lambda one: (one.arrived, one.key))
    # of those sent in the same second the one that answers the fewest began it
    oldest = [one for one in thread if one.facts.date == thread[0].facts.date]
    first = min(oldest, key=lambda one: (len(one.facts.ids), one.key))
    return ThreadSummary(
        thread_id=thread_id,
        subject=first.subject,
        messages=len(thread),
        unseen=sum(all("\\Seen" not in row.flags for _, row in one.rows) for one in thread),
        newest=max(one.arrived for one in thread),
        participants=participants([person for one in inside for person in one.facts.senders]),
    )
