"""SORT and THREAD of an account in memory: everything is worked out anew when it is asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from leap.mail.contract import MailboxId, MailboxInfo, MessageRow, SecurityStatus, Uid
from leap.mail.model import header_record
from leap.mail.sorting.asking import forest
from leap.mail.sorting.keys import SortKeys, sort_keys
from leap.mail.sorting.model import SortField, SortKey, ThreadAlgorithm, ThreadLine
from leap.mail.threads.facts import facts_of, ids_of
from leap.mail.threads.forest import Sent
from leap.mail.threads.subject import BaseSubject

_LOCAL = SecurityStatus(encryption="local")
_VALUES: dict[SortField, Callable[[MessageRow, SortKeys], Any]] = {
    "arrival": lambda row, keys: row.internal_date,
    "cc": lambda row, keys: keys.copied.encode(),
    "date": lambda row, keys: _sent(row, keys),
    "displayfrom": lambda row, keys: keys.shown_sender.encode(),
    "displayto": lambda row, keys: keys.shown_recipient.encode(),
    "from": lambda row, keys: keys.sender.encode(),
    "size": lambda row, keys: row.size,
    "subject": lambda row, keys: keys.subject.encode(),
    "to": lambda row, keys: keys.recipient.encode(),
}


class MemorySorting:
    """A part of `MemoryAccount`."""

    def _find(self, mailbox_id: MailboxId) -> Any:
        raise NotImplementedError

    def _listed(self) -> list[tuple[MailboxInfo, MessageRow, bytes]]:
        raise NotImplementedError

    def _keys(
        self, mailbox_id: MailboxId, uids: Sequence[Uid]
    ) -> list[tuple[MessageRow, SortKeys]]:
        self._find(mailbox_id)
        wanted = set(uids)
        found = [
            (row, _keys_of(raw))
            for info, row, raw in self._listed()
            if info.mailbox_id == mailbox_id and row.uid in wanted
        ]
        return sorted(found, key=lambda one: one[0].uid)

    async def sorted_uids(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], keys: Sequence[SortKey]
    ) -> list[Uid]:
        found = self._keys(mailbox_id, uids)
        for key in reversed(keys):  # stable, so the last key counts least
            value = _VALUES[key.field]
            found.sort(key=lambda one: value(*one), reverse=key.descending)
        return [row.uid for row, _ in found]

    async def threaded_uids(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], algorithm: ThreadAlgorithm
    ) -> list[ThreadLine]:
        messages = []
        for row, keys in self._keys(mailbox_id, uids):
            own, *references = map(str, ids_of(keys.ids))
            subject = BaseSubject(keys.subject, keys.reply)
            messages.append(Sent(row.uid, own, references, subject, _sent(row, keys)))
        return forest(messages, algorithm)


def _sent(row: MessageRow, keys: SortKeys) -> int:
    return row.internal_date if keys.sent is None else keys.sent  # RFC 5256 2.2


def _keys_of(raw: bytes) -> SortKeys:
    record = header_record(raw, _LOCAL)
    return sort_keys(record, facts_of(record))
