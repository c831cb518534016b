"""The outbox of an account that a running daemon holds: the part of `RemoteAccount` that sends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from leap.mail.delivery_wishes import NO_WISHES, DeliveryWishes
from leap.mail.outbox_access import checked_rules
from leap.mail.outbox_contract import OutboxEntry, SendingRules
from leap.mail.rpc_frames import INLINE_BODY


class RemoteOutbox:
    """See `leap.mail.outbox_contract.OutboxBackend`."""

    async def _call(self, method: str, *arguments: Any, large: bool = False) -> Any:
        raise NotImplementedError

    async def submit(
        self,
        raw: bytes,
        sender: str,
        recipients: Sequence[str],
        not_before: int | None = None,
        wishes: DeliveryWishes = NO_WISHES,
    ) -> str:
        large = len(raw) > INLINE_BODY
        made: str = await self._call(
            "submit", raw, sender, list(recipients), not_before, wishes, large=large
        )
        return made

    async def outbox(self, outbox_id: str | None = None) -> list[OutboxEntry]:
        found: list[OutboxEntry] = await self._call("outbox", outbox_id)
        return found

    async def cancel(self, outbox_id: str) -> bool:
        cancelled: bool = await self._call("cancel", outbox_id)
        return cancelled

    async def retry(self, outbox_id: str | None = None) -> None:
        await self._call("retry", outbox_id)

    async def send_delay(self) -> int:
        seconds: int = await self._call("send_delay")
        return seconds

    async def set_send_delay(self, seconds: int) -> None:
        await self._call("set_send_delay", seconds)

    async def sending_rules(self) -> SendingRules:
        rules: SendingRules = await self._call("sending_rules")
        return rules

    async def set_sending_rules(self, rules: SendingRules) -> None:
        await self._call("set_sending_rules", checked_rules(rules))

    async def addresses(self) -> list[str]:
        found: list[str] = await self._call("addresses")
        return found
