"""`Outbox` with Deferreds: made of `leap.mail` by tools/make_twisted.py."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from leap.mail.outbox_contract import OutboxEntry, SendingRules
from leap.mail.sending import Outbox as AsyncOutbox
from leap.mail.twisted.bridge import run
from leap.mail.twisted.twin import Twin


class Outbox(Twin[AsyncOutbox]):
    """The mail of an account that is on its way out from this device, and what became of it for two weeks. With
    Deferreds; `Outbox(that)` is made of one of `leap.mail`."""

    def entries(self) -> Deferred[list[OutboxEntry]]:
        """Newest first."""
        return run(self.asyncio.entries())

    def find(self, outbox_id: str) -> Deferred[OutboxEntry | None]:
        """The entry of this id; None when there is none, or none any more."""
        return run(self.asyncio.find(outbox_id))

    def cancel(self, outbox_id: str) -> Deferred[bool]:
        """Calls a mail back from all to whom it has not been handed over; False when it is too late for all of them.

        For those whom the entry then names as cancelled nothing was handed to the provider, and nothing will be.
        Raises NoSuchMessage.
        """
        return run(self.asyncio.cancel(outbox_id))

    def retry(self, outbox_id: str | None = None) -> Deferred[None]:
        """Tries a mail now, or all that wait because they could not be sent.

        One that is named leaves even when it was to wait. Raises NoSuchMessage when it is not waiting.
        """
        return run(self.asyncio.retry(outbox_id))

    def delay(self) -> Deferred[int]:
        """Seconds a new mail waits on this device, in which it can be called back ("undo send")."""
        return run(self.asyncio.delay())

    def set_delay(self, seconds: int) -> Deferred[None]:
        """Decides it for the mail that comes from now on. Raises NotPermitted for less than 0 or over an hour."""
        return run(self.asyncio.set_delay(seconds))

    def rules(self) -> Deferred[SendingRules]:
        """What the person decided about all mail they send, the same on all devices."""
        return run(self.asyncio.rules())

    def set_rules(self, rules: SendingRules) -> Deferred[None]:
        """Decides it, from the next mail on. Raises NotPermitted for a rule that there is not."""
        return run(self.asyncio.set_rules(rules))

    def addresses(self) -> Deferred[list[str]]:
        """The addresses this account may send as, its own first, then the aliases its provider gave it."""
        return run(self.asyncio.addresses())
