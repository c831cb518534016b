"""How an account offers its way out: `Outgoing` does the work, the account says who may ask and what is a time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from leap.mail.contract import AccountError, NoSuchMessage, NotPermitted, RowId
from leap.mail.delivery_wishes import NO_WISHES, DeliveryWishes
from leap.mail.message.compose import is_address
from leap.mail.outbox_contract import OutboxEntry, SendingRules
from leap.mail.sent_copy import return_to_drafts

logger = logging.getLogger(__name__)

LONGEST_DELAY = (
    3600  # seconds; whoever wants a mail to leave later than that says so for this one mail
)
LONGEST_WAIT = 366 * 24 * 3600  # seconds; a time further ahead is in the wrong unit


def checked_rules(rules: SendingRules) -> SendingRules:
    """The rules. Raises NotPermitted when one of them has a value that there is not."""
    try:
        return msgspec.convert(msgspec.to_builtins(rules), SendingRules)
    except msgspec.ValidationError as error:
        raise NotPermitted(f"There is no such rule: {error}.") from error


class Outgoing(Protocol):
    """The way out of an account: `leap.mail.outgoing`, or `leap.mail.memory_outbox`."""

    async def submit(
        self,
        raw: bytes,
        sender: str,
        recipients: Sequence[str],
        not_before: float | None = None,
        wishes: DeliveryWishes = NO_WISHES,
    ) -> str: ...
    async def entries(self, outbox_id: str | None = None) -> list[OutboxEntry]: ...
    async def cancel(self, outbox_id: str) -> bool | None:
        """False: too late for all; None: no such entry."""

    async def retry(self, outbox_id: str | None) -> bool:
        """Whether anything waited."""

    async def delay(self) -> int: ...
    async def set_delay(self, seconds: int) -> None: ...
    async def sending_rules(self) -> SendingRules: ...
    async def set_sending_rules(self, rules: SendingRules) -> None: ...
    async def addresses(self) -> list[str]: ...
    async def sent_copies(self, message_id: str) -> list[RowId]:
        """Under which ids it may have put a mail of this Message-ID (angle brackets included) into Sent."""

    def on_progress(self, follower: Callable[[str], None]) -> Callable[[], None]:
        """Calls `follower` on the loop with the id of each entry that changed; answers how to stop."""


class OutboxAccess:
    """The part of an account that sends (`leap.mail.outbox_contract.OutboxBackend`)."""

    _now: Callable[[], float]

    def _way_out(self) -> Outgoing | None:
        """None: the account was opened without one. Raises AccountUnavailable when it is closed."""
        raise NotImplementedError

    def _sending(self) -> Outgoing:
        found = self._way_out()
        if found is None:
            raise NotPermitted("This account cannot send: it was opened without the daemon.")
        return found

    async def submit(
        self,
        raw: bytes,
        sender: str,
        recipients: Sequence[str],
        not_before: int | None = None,
        wishes: DeliveryWishes = NO_WISHES,
    ) -> str:
        outgoing = self._sending()
        if not_before is not None and not 0 <= not_before <= self._now() + LONGEST_WAIT:
            raise NotPermitted("A mail can wait for a year at most.")
        for one in recipients:
            if not (is_address(one) and all(one.rpartition("@"))):
                raise NotPermitted("A recipient is one mail address, like bob@example.test.")
        return await outgoing.submit(raw, sender, recipients, not_before, wishes)

    async def outbox(self, outbox_id: str | None = None) -> list[OutboxEntry]:
        outgoing = self._way_out()
        return [] if outgoing is None else await outgoing.entries(outbox_id)

    async def cancel(self, outbox_id: str) -> bool:
        cancelled = await self._sending().cancel(outbox_id)
        if cancelled is None:
            raise NoSuchMessage("There is no such mail in the outbox.")
        for entry in await self._sending().entries(outbox_id):
            if entry.state == "cancelled":
                await self._unsent(entry)
        return cancelled

    async def _unsent(self, entry: OutboxEntry) -> None:
        """Nobody got it: a copy in Sent would be a lie. Cancelling holds whatever comes of that."""
        try:
            await return_to_drafts(self, entry.message_id)  # type: ignore[arg-type]  # the account is whole
        except AccountError as error:
            logger.warning("the copy of a cancelled mail stays in Sent: %s", type(error).__name__)

    async def retry(self, outbox_id: str | None = None) -> None:
        tried = await self._sending().retry(outbox_id)
        if not tried and outbox_id is not None:
            raise NoSuchMessage("No such mail waits in the outbox.")

    async def send_delay(self) -> int:
        return await self._sending().delay()

    async def set_send_delay(self, seconds: int) -> None:
        if not 0 <= seconds <= LONGEST_DELAY:
            raise NotPermitted(f"New mail can wait for 0 to {LONGEST_DELAY} seconds.")
        await self._sending().set_delay(seconds)

    async def sending_rules(self) -> SendingRules:
        return await self._sending().sending_rules()

    async def set_sending_rules(self, rules: SendingRules) -> None:
        await self._sending().set_sending_rules(checked_rules(rules))

    async def addresses(self) -> list[str]:
        return await self._sending().addresses()
