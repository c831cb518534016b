"""A way out that keeps everything and sends nothing: for accounts in memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from leap.mail.contract import NotPermitted, RowId, SecurityStatus, TooLarge
from leap.mail.delivery_wishes import NO_WISHES, DeliveryWishes
from leap.mail.message.metadata import message_metadata
from leap.mail.outbox_contract import OutboxEntry, RecipientResult, SendingRules
from leap.mail.outgoing.field_lines import header_fields, values_of

MAX_MESSAGE = 50 * 1024 * 1024  # as the real one


class MemoryOutbox:
    """An `Outgoing` which forgets everything when it goes."""

    def __init__(self, address: str, *, now: Callable[[], float] = time.time) -> None:
        self._address = address
        self._now = now
        self._entries: dict[str, OutboxEntry] = {}
        self._delay = 0
        self._rules = SendingRules()
        self._followers: list[Callable[[str], None]] = []

    def on_progress(self, follower: Callable[[str], None]) -> Callable[[], None]:
        self._followers.append(follower)
        return lambda: self._followers.remove(follower)

    async def submit(
        self,
        raw: bytes,
        sender: str,
        recipients: Sequence[str],
        not_before: float | None = None,
        wishes: DeliveryWishes = NO_WISHES,
    ) -> str:
        if sender.lower() != self._address.lower():
            raise NotPermitted(f"This account sends only as {self._address}.")
        if len(raw) > MAX_MESSAGE:
            raise TooLarge("A message has at most 50 MiB.")
        if not recipients:
            raise NotPermitted("The message has no recipients.")
        outbox_id = f"o{len(self._entries) + 1}"
        described = message_metadata(raw, RowId(outbox_id), SecurityStatus(encryption="local"))
        if not_before is None:
            not_before = self._now() + self._delay if self._delay else 0
        self._keep(
            OutboxEntry(
                outbox_id=outbox_id,
                sender=sender,
                recipients=tuple(recipients),
                subject=described.subject,
                state="queued",
                attempts=0,
                next_attempt=int(not_before),
                not_before=int(not_before),
                message_id=_message_id(raw),
                results=tuple((one, "waiting") for one in recipients),
                recipients_state=tuple(
                    RecipientResult(address=one, state="waiting") for one in recipients
                ),
            )
        )
        return outbox_id

    async def entries(self, outbox_id: str | None = None) -> list[OutboxEntry]:
        return [
            one for one in reversed(self._entries.values()) if outbox_id in (None, one.outbox_id)
        ]

    async def cancel(self, outbox_id: str) -> bool | None:
        entry = self._entries.get(outbox_id)
        if entry is None:
            return None
        if entry.ended:
            return False
        self._keep(
            msgspec.structs.replace(
                entry,
                state="cancelled",
                results=tuple((one, "cancelled") for one in entry.recipients),
                recipients_state=tuple(
                    RecipientResult(address=one, state="cancelled") for one in entry.recipients
                ),
            )
        )
        return True

    async def retry(self, outbox_id: str | None) -> bool:
        """Nothing is sent; but who was to wait does not any more."""
        waiting = [one for one in await self.entries(outbox_id) if not one.ended]
        for one in waiting:
            if outbox_id is not None:
                one = msgspec.structs.replace(one, next_attempt=0, not_before=0)
            self._keep(one)
        return bool(waiting)

    async def delay(self) -> int:
        return self._delay

    async def set_delay(self, seconds: int) -> None:
        self._delay = seconds

    async def sending_rules(self) -> SendingRules:
        return self._rules

    async def set_sending_rules(self, rules: SendingRules) -> None:
        self._rules = rules

    async def addresses(self) -> list[str]:
        return [self._address]

    async def sent_copies(self, message_id: str) -> list[RowId]:
        return []

    def _keep(self, entry: OutboxEntry) -> None:
        self._entries[entry.outbox_id] = entry
        for follower in tuple(self._followers):
            follower(entry.outbox_id)


def _message_id(raw: bytes) -> str:
    found = values_of(header_fields(raw), "message-id")
    return found[0].decode("ascii", "replace").strip() if found else ""
