"""Search in an account in memory: every message is read."""

from __future__ import annotations

from collections.abc import Sequence

from leap.mail.answers import QueryCount
from leap.mail.contract import FoundMessage, MailboxId, SearchedText, SearchResult, Uid
from leap.mail.memory_messages import MemoryMessages
from leap.mail.message import Message
from leap.mail.search.folding import fold
from leap.mail.search.headers import field_test
from leap.mail.search.judging import judge, reading
from leap.mail.search.query import parse_query, threads_of, with_rows
from leap.mail.search.texts import holds
from leap.mail.threads.memory import MemoryThreads


class MemorySearch(MemoryMessages, MemoryThreads):
    """A part of `MemoryAccount`; `thread:` in a query makes conversations a part of it too."""

    async def search_text(
        self,
        mailbox_id: MailboxId,
        uids: Sequence[Uid],
        where: SearchedText,
        needle: str,
    ) -> list[Uid]:
        rows = self._find(mailbox_id).rows
        folded = fold(needle)
        asked = sorted(set(uids) & rows.keys())
        if not folded and where in ("text", "body"):
            return asked
        return [
            uid for uid in asked if holds(Message(self._contents[rows[uid].row_id]), where, folded)
        ]

    async def search_header(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], field: str, needle: str
    ) -> list[Uid]:
        rows = self._find(mailbox_id).rows
        fits = field_test(field, fold(needle))
        asked = sorted(set(uids) & rows.keys())
        return [uid for uid in asked if fits(Message(self._contents[rows[uid].row_id]))]

    def _fitting(self, query: str) -> list[FoundMessage]:
        wanted = parse_query(query)
        rows = {
            thread_id: frozenset(one.row.row_id for one in self._rows_in_thread(thread_id))
            for thread_id in threads_of(wanted)
        }
        wanted = with_rows(wanted, rows)
        return [
            FoundMessage(mailbox_id=box.info.mailbox_id, row=row)
            for box in self._mailboxes.values()
            for row in box.rows.values()
            if judge(wanted, row, box.info, reading(Message(self._contents[row.row_id])))
        ]

    async def search(self, query: str, limit: int = 50, offset: int = 0) -> SearchResult:
        found = self._fitting(query)
        found.sort(key=lambda one: (-one.row.internal_date, one.row.row_id))
        offset = max(0, offset)
        end = offset + max(1, limit)
        return SearchResult(found=tuple(found[offset:end]), more=len(found) > end)

    async def count(self, query: str) -> QueryCount:
        found = self._fitting(query)
        unseen = sum("\\Seen" not in one.row.flags for one in found)
        return QueryCount(messages=len(found), unseen=unseen)
