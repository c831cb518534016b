"""Taking a mail from a person: what may not go is refused at once, with a sentence; the rest is kept durably.

Invariants:
* `submit` answers an id only when the mail is on disk in the outbox.
* A mail that was once decided to be encrypted is kept as "encrypted": no later event sends it in clear.
* A look-up that failed refuses nothing and decides nothing: the sender decides later.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence

from leap.keymanager.openpgp import ExpiredCertificate
from leap.mail.contract import NotPermitted, OutboxEntry, StorageFull, TooLarge
from leap.mail.delivery_wishes import NO_WISHES, DeliveryWishes
from leap.mail.message.words import decode_words
from leap.mail.outgoing.addresses import domain_of, normal, without_tag
from leap.mail.outgoing.field_lines import values_of
from leap.mail.outgoing.outbox import Outbox
from leap.mail.outgoing.outbox_entries import NewEntry, Protection
from leap.mail.outgoing.outer_header import message_id_of
from leap.mail.outgoing.pgp_mime import is_encrypted
from leap.mail.outgoing.policy import (
    Encrypt,
    Policy,
    Recipient,
    Refuse,
    decide,
    policy_named,
    stricter,
)
from leap.mail.outgoing.recipient_keys import (
    Keys,
    Looked,
    look_up,
    names_of,
    own_key_problem,
    own_key_sentence,
)
from leap.mail.outgoing.submitted import Submitted, read_submission
from leap.soledad.errors import StoreFull
from leap.soledad.wire import MAX_MESSAGE_BYTES

# Armor makes 4 octets of 3 and a line end every 64 (RFC 9580 6): 36 MiB become 50.
MAX_ENCRYPTED = 36 * 1024 * 1024
MAX_RECIPIENTS = 1_000  # what the SMTP server takes at once, too
_OFF_LOOP = 256 * 1024  # octets from which reading a mail takes over 5 ms


class Outgoing:
    """The way out of one account: `LocalAccount.submit` and the SMTP gateway both come here."""

    def __init__(
        self,
        outbox: Outbox,
        keys: Keys,
        address: str,
        *,
        now: Callable[[], float] = time.time,
        new_id: Callable[[], str] = lambda: secrets.token_hex(16),
    ) -> None:
        self.outbox = outbox
        self.address = normal(address)
        self._keys = keys
        self._now = now
        self._new_id = new_id

    async def submit(
        self,
        raw: bytes,
        sender: str,
        recipients: Sequence[str],
        not_before: float | None = None,
        wishes: DeliveryWishes = NO_WISHES,
    ) -> str:
        """Keeps a mail durably for sending and answers its id in the outbox.

        It leaves at `not_before` (seconds since 1970), or, without that, after the delay that was set. `wishes` are
        kept with it.

        Raises TooLarge, StorageFull, and NotPermitted with a sentence: the sender is not this account's, or
        policy forbids it.
        """
        if len(raw) > MAX_MESSAGE_BYTES:
            raise TooLarge(f"The message is over {MAX_MESSAGE_BYTES // (1024 * 1024)} MiB.")
        self.check_sender(sender)
        unique = tuple({normal(one): one for one in recipients}.values())
        if not unique:
            raise NotPermitted("The message has no recipients.")
        if len(unique) > MAX_RECIPIENTS:
            raise NotPermitted(f"The message has over {MAX_RECIPIENTS} recipients.")
        now = self._now()
        if len(raw) > _OFF_LOOP:
            submitted, encrypted = await asyncio.to_thread(self._read, raw, sender, now)
        else:
            submitted, encrypted = self._read(raw, sender, now)
        self._check_from(submitted)
        policies = await self.wishes(unique, submitted.wish)
        protection: Protection = "as-is"
        if not encrypted:
            protection = await self._protection(unique, policies, now)
        if protection == "encrypted" and len(submitted.message) > MAX_ENCRYPTED:
            raise TooLarge(
                f"The message is over {MAX_ENCRYPTED // (1024 * 1024)} MiB, the limit for encrypted mail."
            )
        entry = NewEntry(
            outbox_id=self._new_id(),
            sender=sender,
            recipients=unique,
            subject=_subject(submitted),
            message=submitted.message,
            added=submitted.added,
            message_id=message_id_of(values_of(submitted.fields, "message-id"))
            or submitted.message_id,
            protection=protection,
            policy=submitted.wish,
            created=now,
            message_id_was_given=all(b"message-id" not in line.lower() for line in submitted.added),
            not_before=not_before,
            wishes=wishes.only_for(unique),
        )
        try:
            return await self.outbox.add(entry)
        except StoreFull as error:
            raise StorageFull("The disk is full; the message was not accepted.") from error

    async def entries(self, outbox_id: str | None = None) -> list[OutboxEntry]:
        """What is in the outbox, newest first; or the one of this id."""
        return await self.outbox.entries(outbox_id)

    async def cancel(self, outbox_id: str) -> bool | None:
        """See `Outbox.cancel`."""
        return await self.outbox.cancel(outbox_id)

    async def retry(self, outbox_id: str | None) -> bool:
        """See `Outbox.make_due`."""
        return await self.outbox.make_due(outbox_id)

    async def delay(self) -> int:
        """Seconds a new mail waits before it leaves."""
        return await self.outbox.delay()

    async def set_delay(self, seconds: int) -> None:
        await self.outbox.set_delay(seconds)

    def on_progress(self, follower: Callable[[str], None]) -> Callable[[], None]:
        """See `Outbox.on_progress`."""
        return self.outbox.on_progress(follower)

    def check_sender(self, sender: str) -> None:
        """Raises NotPermitted unless `sender` is the account's address, with or without a +tag."""
        if not self._is_own(sender):
            raise NotPermitted(f"This account sends as {self.address} only.")

    async def wishes(self, recipients: Sequence[str], wish: str) -> dict[str, Policy]:
        """The policy for each recipient of a message that says `wish`, as the person set it last on any device."""
        own = domain_of(self.address)
        names = {one: names_of(one, own) for one in recipients}
        known = await self._keys.policies({name for of in names.values() for name in of})
        return {
            one: stricter(policy_named(next((known[n] for n in of if n in known), None)), wish)
            for one, of in names.items()
        }

    def _is_own(self, address: str) -> bool:
        return normal(address) == self.address or without_tag(normal(address)) == self.address

    def _read(self, raw: bytes, sender: str, now: float) -> tuple[Submitted, bool]:
        submitted = read_submission(raw, sender, now=now, new_id=self._new_id)
        return submitted, is_encrypted(submitted.message)

    def _check_from(self, submitted: Submitted) -> None:
        found = submitted.from_address
        if found is None:
            raise NotPermitted(
                f"The message needs one From field with one address; this account sends as {self.address}."
            )
        if not self._is_own(found):
            raise NotPermitted(
                f"The message's From is not {self.address}; this account sends as that address only."
            )

    async def _protection(
        self, recipients: Sequence[str], wishes: dict[str, Policy], now: float
    ) -> Protection:
        if all(wish == "never" for wish in wishes.values()):
            return "open"
        looked = await look_up(self._keys, recipients, own_domain=domain_of(self.address), now=now)
        decision = decide(recipients_of(looked, wishes))
        if isinstance(decision, Refuse):
            raise NotPermitted(decision.sentence)
        if not isinstance(decision, Encrypt):
            return "open"
        problem = own_key_problem(await self._keys.own_keys(), now)
        if problem is not None and not isinstance(problem, ExpiredCertificate):
            raise NotPermitted(own_key_sentence(problem))
        return "encrypted"


def recipients_of(looked: Sequence[Looked], wishes: dict[str, Policy]) -> list[Recipient]:
    """What `decide` asks for."""
    return [Recipient(one.address, one.state, wishes[one.address]) for one in looked]


def _subject(submitted: Submitted) -> str:
    values = values_of(submitted.fields, "subject")
    return decode_words(values[0])[:200] if values else ""
