"""Sending through an account's public face, and following what becomes of it.

outbox_id = await account.send(raw, ["bob@example.test"], not_before=tomorrow)
if await account.outbox.cancel(outbox_id): ...      # nobody got it, or not everybody: the entry says who

async for event in account.events():
    if isinstance(event, OutboxProgress) and event.entry.ended: ...
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, get_args

from leap.mail.contract import AccountBackend, Change, NotPermitted, SyncStatus, Topic
from leap.mail.delivery_wishes import NO_WISHES, DeliveryWishes
from leap.mail.outbox_contract import OutboxEntry, SendingRules
from leap.mail.outgoing.addresses import strict_addresses
from leap.mail.outgoing.field_lines import header_fields, values_of

TOPICS: frozenset[Topic] = frozenset(get_args(Topic))


class Sendable(Protocol):
    """What has the octets of a message ready to leave, as a draft has."""

    @property
    def raw(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class OutboxProgress:
    """An entry of the outbox came, or something happened to it; `entry` is how it stands now."""

    entry: OutboxEntry


@dataclass(frozen=True, slots=True)
class SyncProgress:
    """How things stand with sync now: whether one runs, and how much waits."""

    status: SyncStatus


Event = Change | OutboxProgress | SyncProgress  # a Change is of mailboxes or messages


def seconds_of(not_before: datetime | None) -> int | None:
    """When mail may leave, in seconds since 1970. Raises ValueError for a time without a zone."""
    if not_before is None:
        return None
    if not_before.tzinfo is None:
        raise ValueError("not_before needs a time zone")
    return int(not_before.timestamp())


class Outbox:
    """The mail of an account that is on its way out from this device, and what became of it for two weeks."""

    def __init__(self, backend: AccountBackend) -> None:
        self._backend = backend

    async def entries(self) -> list[OutboxEntry]:
        """Newest first."""
        return await self._backend.outbox()

    async def find(self, outbox_id: str) -> OutboxEntry | None:
        """The entry of this id; None when there is none, or none any more."""
        found = await self._backend.outbox(outbox_id)
        return found[0] if found else None

    async def cancel(self, outbox_id: str) -> bool:
        """Calls a mail back from all to whom it has not been handed over; False when it is too late for all of them.

        For those whom the entry then names as cancelled nothing was handed to the provider, and nothing will be.
        Raises NoSuchMessage.
        """
        return await self._backend.cancel(outbox_id)

    async def retry(self, outbox_id: str | None = None) -> None:
        """Tries a mail now, or all that wait because they could not be sent.

        One that is named leaves even when it was to wait. Raises NoSuchMessage when it is not waiting.
        """
        await self._backend.retry(outbox_id)

    async def delay(self) -> int:
        """Seconds a new mail waits on this device, in which it can be called back ("undo send")."""
        return await self._backend.send_delay()

    async def set_delay(self, seconds: int) -> None:
        """Decides it for the mail that comes from now on. Raises NotPermitted for less than 0 or over an hour."""
        await self._backend.set_send_delay(seconds)

    async def rules(self) -> SendingRules:
        """What the person decided about all mail they send, the same on all devices."""
        return await self._backend.sending_rules()

    async def set_rules(self, rules: SendingRules) -> None:
        """Decides it, from the next mail on. Raises NotPermitted for a rule that there is not."""
        await self._backend.set_sending_rules(rules)

    async def addresses(self) -> list[str]:
        """The addresses this account may send as, its own first, then the aliases its provider gave it."""
        return await self._backend.addresses()


class Sending:
    """The part of `Account` that sends."""

    backend: AccountBackend

    @property
    def outbox(self) -> Outbox:
        return Outbox(self.backend)

    async def send(
        self,
        raw: bytes | Sendable,
        recipients: Sequence[str] | None = None,
        *,
        sender: str | None = None,
        not_before: datetime | None = None,
        wishes: DeliveryWishes = NO_WISHES,
    ) -> str:
        """Puts a message into the durable outbox; answers its id there.

        Without `recipients` it goes to those in its To, Cc and Bcc. `not_before` (with a time zone) is when it may
        leave; without it, it leaves after the account's delay. `wishes` say what to report, and whether every
        server on the way must use TLS. Raises NotPermitted, TooLarge.
        """
        octets = raw if isinstance(raw, bytes) else raw.raw
        if recipients is None:
            recipients = _recipients(octets)
        at = seconds_of(not_before)
        return await self.backend.submit(
            octets, sender or self.backend.address, recipients, at, wishes
        )

    def events(self, topics: Collection[Topic] = TOPICS) -> AsyncGenerator[Event, None]:
        """What happens in the account from now on: changes of mail, each step of a mail on its way out, and of sync.

        What happened while the program was busy is told as it stands then, once. Ends when the account is closed.
        """
        return _follow(self.backend, self.backend.changes(), topics)


async def _follow(
    backend: AccountBackend, changes: AsyncIterator[Change], topics: Collection[Topic]
) -> AsyncGenerator[Event, None]:
    """The events that `changes` tell of; ends `changes` when it is ended."""
    try:
        async for change in changes:
            if change.topic not in topics:
                continue
            if change.topic == "outbox":
                for entry in await backend.outbox(change.outbox_id):
                    yield OutboxProgress(entry)
            elif change.topic == "sync":
                yield SyncProgress(await backend.sync_status())
            else:
                yield change
    finally:
        close = getattr(changes, "aclose", None)
        if close is not None:
            await close()


def _recipients(raw: bytes) -> list[str]:
    fields = header_fields(raw)
    found: dict[str, None] = {}
    for value in (one for name in ("to", "cc", "bcc") for one in values_of(fields, name)):
        addresses = strict_addresses(value) if value.strip() else []
        if addresses is None:
            raise NotPermitted("To, Cc or Bcc cannot be read beyond doubt; name the recipients.")
        found.update(dict.fromkeys(addresses))
    if not found:
        raise NotPermitted("The message names no recipients.")
    return list(found)
