"""Annotations of an account that a running daemon holds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leap.mail.contract import MailboxId


class RemoteAnnotations:
    """A part of `RemoteAccount`."""

    async def _call(self, method: str, *arguments: Any, large: bool = False) -> Any:
        raise NotImplementedError

    async def annotations(self, mailbox_id: MailboxId | None = None) -> dict[str, bytes]:
        found: dict[str, bytes] = await self._call("annotations", mailbox_id)
        return found

    async def annotate(
        self, mailbox_id: MailboxId | None, values: Mapping[str, bytes | None]
    ) -> None:
        await self._call("annotate", mailbox_id, dict(values))
