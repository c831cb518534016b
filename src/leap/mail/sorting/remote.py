"""SORT and THREAD of an account that a running daemon holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leap.mail.contract import MailboxId, Uid
from leap.mail.sorting.model import SortKey, ThreadAlgorithm, ThreadLine


class RemoteSorting:
    """A part of `RemoteAccount`."""

    async def _call(self, method: str, *arguments: Any, large: bool = False) -> Any:
        raise NotImplementedError

    async def sorted_uids(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], keys: Sequence[SortKey]
    ) -> list[Uid]:
        found: list[Uid] = await self._call("sorted_uids", mailbox_id, list(uids), list(keys))
        return found

    async def threaded_uids(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], algorithm: ThreadAlgorithm
    ) -> list[ThreadLine]:
        found: list[ThreadLine] = await self._call(
            "threaded_uids", mailbox_id, list(uids), algorithm
        )
        return found
