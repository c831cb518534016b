"""Taking a mail from a person: what may not go is refused at once, with a sentence; the rest is kept durably.

Invariants:
* `submit` answers an id only when the mail is on disk in the outbox.
* A mail that was once decided to be encrypted is kept as "encrypted": no later event sends it in clear.
* A look-up that failed refuses nothing and decides nothing: the sender decides later.
* The sender, the one From and every Sender of a mail are addresses of the account.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence

from leap.keymanager.openpgp import ExpiredCertificate
from leap.mail.contract import NotPermitted, OutboxEntry, RowId, StorageFull, TooLarge
from leap.mail.delivery_wishes import NO_WISHES, DeliveryWishes
from leap.mail.message.words import decode_words
from leap.mail.outbox_contract import SendingRules
from leap.mail.outgoing.addresses import normal
from leap.mail.outgoing.answered import Answered
from leap.mail.outgoing.deciding import Deciding
from leap.mail.outgoing.field_lines import values_of
from leap.mail.outgoing.identities import Identities, is_one_of, named
from leap.mail.outgoing.outbox import Outbox
from leap.mail.outgoing.outbox_entries import NewEntry, Protection
from leap.mail.outgoing.outer_header import message_id_of
from leap.mail.outgoing.policy import Clear, Encrypt, Refuse, Split
from leap.mail.outgoing.recipient_keys import Keys, own_key_problem, own_key_sentence
from leap.mail.outgoing.rules import Rules
from leap.mail.outgoing.seven_bit import CannotSign
from leap.mail.outgoing.signed_mail import cannot_sign_sentence, check_signable
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
        self.identities = Identities(outbox.store, address)
        self.rules = Rules(outbox.store)
        self.deciding = Deciding(
            keys, self.rules, Answered(outbox.store, outbox.went_encrypted), address
        )
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
        own = await self.identities.load()
        if not is_one_of(sender, own):
            raise NotPermitted(f"This account sends as {named(own)} only.")
        unique = tuple({normal(one): one for one in recipients}.values())
        if not unique:
            raise NotPermitted("The message has no recipients.")
        if len(unique) > MAX_RECIPIENTS:
            raise NotPermitted(f"The message has over {MAX_RECIPIENTS} recipients.")
        now = self._now()
        tags = (await self.rules.load()).subject_tags
        if len(raw) > _OFF_LOOP:
            submitted = await asyncio.to_thread(self._read, raw, sender, now, tags)
        else:
            submitted = self._read(raw, sender, now, tags)
        _check_from(submitted, own)
        if submitted.wish.problem:
            raise NotPermitted(submitted.wish.problem)
        protection: Protection = "as-is"
        encrypted: tuple[str, ...] = ()
        if not submitted.encrypted:
            protection, encrypted = await self._protection(unique, submitted, now)
        if encrypted and len(submitted.message) > MAX_ENCRYPTED:
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
            policy=submitted.wish.text,
            created=now,
            message_id_was_given=all(b"message-id" not in line.lower() for line in submitted.added),
            not_before=not_before,
            encrypted=encrypted,
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

    async def sending_rules(self) -> SendingRules:
        """What the person decided about all mail they send."""
        return await self.rules.load()

    async def set_sending_rules(self, rules: SendingRules) -> None:
        await self.rules.save(rules)

    async def addresses(self) -> list[str]:
        """The account's own address, then its aliases."""
        return await self.identities.load()

    async def sent_copies(self, message_id: str) -> list[RowId]:
        """Under which ids the outbox may have put a mail of this Message-ID into Sent."""
        return [self.sent_copy_id(one) for one in await self.outbox.named(message_id)]

    def sent_copy_id(self, outbox_id: str) -> RowId:
        """The id of the outbox's own copy of an entry in Sent."""
        return RowId(self.outbox.store.row_key(b"sent copy " + outbox_id.encode()))

    def _read(self, raw: bytes, sender: str, now: float, subject_tags: bool) -> Submitted:
        return read_submission(raw, sender, now=now, new_id=self._new_id, subject_tags=subject_tags)

    async def _protection(
        self, recipients: Sequence[str], submitted: Submitted, now: float
    ) -> tuple[Protection, tuple[str, ...]]:
        """How the mail is kept, and to whom it goes encrypted or not at all."""
        decided = await self.deciding.decide(recipients, submitted.wish, submitted.fields, now=now)
        decision = decided.decision
        if isinstance(decision, Refuse):
            raise NotPermitted(decision.sentence)
        encrypted: tuple[str, ...] = ()
        if isinstance(decision, Encrypt):
            encrypted = tuple(recipients)
        elif isinstance(decision, Split):
            encrypted = decision.encrypted
        signed = isinstance(decision, Clear | Split) and decision.signed and not submitted.signed
        if signed:
            try:
                await check_signable(submitted.message, submitted.added)
            except CannotSign as error:
                raise NotPermitted(cannot_sign_sentence(error)) from error
        if encrypted or signed:
            problem = own_key_problem(await self._keys.own_keys(), now)
            if problem is not None and not isinstance(problem, ExpiredCertificate):
                raise NotPermitted(own_key_sentence(problem))
        return ("encrypted" if len(encrypted) == len(recipients) else "open"), encrypted


def _check_from(submitted: Submitted, own: Sequence[str]) -> None:
    found = submitted.from_address
    if found is None:
        raise NotPermitted(
            f"The message needs one From field with one address; this account sends as {named(own)}."
        )
    if not is_one_of(found, own):
        raise NotPermitted(
            f"The message's From is not {named(own)}; this account sends as nobody else."
        )


def _subject(submitted: Submitted) -> str:
    values = values_of(submitted.fields, "subject")
    return decode_words(values[0])[:200] if values else ""
