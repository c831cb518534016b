"""Mail on its way out, as every user of an account sees it: entries, what became of each recipient, what may be done.

States of a recipient, and of an entry:

    waiting -> sent | failed | cancelled          queued -> sending -> sent | failed | cancelled

Invariants:
* A recipient's state is final once it is not "waiting".
* "cancelled" means that nothing was handed to the provider for this recipient, and that nothing will be.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from leap.mail.delivery_wishes import NO_WISHES, DeliveryWishes

EntryState = Literal["queued", "sending", "sent", "failed", "cancelled"]
ResultState = Literal["waiting", "sent", "failed", "cancelled"]
Handling = Literal["", "encrypted", "signed", "clear", "as-is"]


class RecipientResult(msgspec.Struct, frozen=True, kw_only=True):
    """Where one recipient stands: `code` and `words` are the last answer heard, 0 and "" before there is one.

    `in_hand`: the mail may have reached the provider for this recipient, so that it cannot be cancelled for them now.
    `how` it goes to them: "encrypted", "signed" or "clear", "as-is" when the mail program encrypted it, "" while that
    is not decided.
    """

    address: str
    state: ResultState
    code: int = 0
    words: str = ""
    in_hand: bool = False
    how: Handling = ""


class SendingRules(msgspec.Struct, frozen=True, kw_only=True):
    """What the person decided about all mail they send; a contact, and a single mail, may say otherwise.

    `encrypt`: "prefer" encrypts whenever all have a key, "require" sends nothing readable, "never" encrypts nothing.
    `sign`: whether what leaves readable is signed; what is encrypted always is.
    `mixed`: when some recipients have a key and some have none: "refuse", "clear" to all, or "split": encrypted to the
    ones, readable to the others.
    `replies`: whether a mail that answers encrypted mail may leave readable: "refuse", "allow".
    `subject_tags`: whether [encrypt], [clear] and [split] in a subject speak for that mail, and are taken off.
    `sent_copies`: whether a mail that left is put into Sent, unless the mail program did that.
    """

    encrypt: Literal["prefer", "require", "never"] = "prefer"
    sign: bool = False
    mixed: Literal["refuse", "clear", "split"] = "refuse"
    replies: Literal["refuse", "allow"] = "refuse"
    subject_tags: bool = False
    sent_copies: bool = True


class OutboxEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One mail in the outbox. Times are seconds since 1970.

    An entry ended as "sent" when somebody got the mail and nobody's delivery failed; who was cancelled stands in
    `recipients_state`. As "cancelled" it ended when nobody got it.
    """

    outbox_id: str
    sender: str
    recipients: tuple[str, ...]
    subject: str
    state: EntryState
    attempts: int
    next_attempt: int
    results: tuple[tuple[str, str], ...] = ()  # (recipient, last word about it)
    recipients_state: tuple[RecipientResult, ...] = ()
    not_before: int = 0  # 0: at once
    message_id: str = ""  # of the mail, with its angle brackets (RFC 5322 3.6.4)

    @property
    def ended(self) -> bool:
        """Nothing more will happen to it."""
        return self.state not in ("queued", "sending")


class OutboxBackend(Protocol):
    """What an account offers for mail on its way out; every method may raise `AccountError`."""

    async def submit(
        self,
        raw: bytes,
        sender: str,
        recipients: Sequence[str],
        not_before: int | None = None,
        wishes: DeliveryWishes = NO_WISHES,
    ) -> str:
        """Puts mail into the durable outbox and answers its id.

        It leaves at `not_before` (seconds since 1970), or, without that, after the account's delay. `wishes` go with
        it to every server on its way that knows them. Raises NotPermitted, TooLarge.
        """

    async def outbox(self, outbox_id: str | None = None) -> list[OutboxEntry]:
        """All entries that are remembered, newest first; or the one asked for, if there is such a one."""

    async def cancel(self, outbox_id: str) -> bool:
        """Cancels a mail for everybody for whom nothing was handed over yet; False when it is too late for all.

        When nobody got it, its copy in Sent, if there is one by now, becomes a draft again.
        Raises NoSuchMessage when there is no such entry.
        """

    async def retry(self, outbox_id: str | None = None) -> None:
        """Tries one entry now, even one that was to wait; or all that wait, but for those which were to leave later.

        Raises NoSuchMessage when that entry is not waiting.
        """

    async def send_delay(self) -> int:
        """Seconds a new mail waits on this device before it leaves, so that it can be called back; 0 at first."""

    async def set_send_delay(self, seconds: int) -> None:
        """Decides it for the mail that comes from now on. Raises NotPermitted for what is no such time."""

    async def sending_rules(self) -> SendingRules:
        """What the person decided about all mail they send, on whatever device."""

    async def set_sending_rules(self, rules: SendingRules) -> None:
        """Decides it for all devices, from the next mail on."""

    async def addresses(self) -> list[str]:
        """The addresses this account may send as, its own first, then the aliases its provider gave it."""
