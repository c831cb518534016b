"""Annotations of an account in memory."""

from __future__ import annotations

from collections.abc import Mapping

from leap.mail.annotations.rules import annotated, changed_entries
from leap.mail.contract import Change, MailboxId


class MemoryAnnotations:
    """A part of `MemoryAccount`."""

    _annotations: dict[MailboxId | None, dict[str, bytes]]
    _change: int

    def _check_place(self, mailbox_id: MailboxId | None) -> None:
        raise NotImplementedError

    def _push(self, change: Change) -> None:
        raise NotImplementedError

    async def annotations(self, mailbox_id: MailboxId | None = None) -> dict[str, bytes]:
        self._check_place(mailbox_id)
        return dict(self._annotations.get(mailbox_id, {}))

    async def annotate(
        self, mailbox_id: MailboxId | None, values: Mapping[str, bytes | None]
    ) -> None:
        self._check_place(mailbox_id)
        before = self._annotations.get(mailbox_id, {})
        after = annotated(before, values)
        self._annotations[mailbox_id] = after
        entries = changed_entries(before, after)
        if entries:
            self._change += 1
            self._push(
                Change(
                    seq=self._change, topic="annotations", mailbox_id=mailbox_id, entries=entries
                )
            )
