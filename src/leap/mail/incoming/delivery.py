"""What becomes of opened mail on this disk: stored with what it says of keys, or kept in quarantine.

Invariants:
* A mail, the note that its item is consumed, and what it says of keys are written by one durable transaction.
* What is wrong with one mail, or with what it says of keys, keeps back neither it nor the others.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

from leap.mail.contract import AccountError, RowId
from leap.mail.incoming import quarantine
from leap.mail.incoming.lots import Item, Lot
from leap.mail.incoming.needs import Keys, Mailbox
from leap.mail.incoming.quarantine import Quarantined
from leap.mail.incoming.ready import Ready, Refused
from leap.mail.incoming.senders import Lesson, key_name
from leap.mail.local import Arrived
from leap.mail.version import __version__
from leap.soledad.errors import SoledadError
from leap.soledad.store import Soledad
from leap.soledad.transaction import Transaction
from leap.soledad.wire import InboxItem

logger = logging.getLogger(__name__)

# failures of this machine, not of a mail
OURS = (SoledadError, AccountError, OSError, MemoryError)

Result = tuple[InboxItem, str | Exception]  # its row id when it is safe here, or what failed
NoteStored = Callable[[Sequence[str], Transaction], None]


class Delivery:
    """The storing half of receiving, for one account."""

    def __init__(
        self,
        account: Mailbox,
        store: Soledad,
        keys: Keys,
        own_domain: str,
        note_stored: NoteStored,
    ) -> None:
        """`note_stored` notes row ids as consumed, in the transaction that stores them."""
        self._account = account
        self._store = store
        self._keys = keys
        self._own_domain = own_domain
        self._note_stored = note_stored
        self._signed_by: set[tuple[str, str]] = set()  # noted in this batch

    def begin_batch(self) -> None:
        """Whose mail is signed is noted once a batch."""
        self._signed_by = set()

    async def store_lot(self, lot: Lot, outcomes: Sequence[Ready | Refused]) -> list[Result]:
        """What can be stored together is; if that fails, each alone, so that one does not keep back the others."""
        made = list(zip(lot, outcomes, strict=True))
        if len(made) > 1 and all(isinstance(outcome, Ready) for _, outcome in made):
            try:
                await self._deliver([(item, o) for (_, item), o in made if isinstance(o, Ready)])
                return [(one, item.row_id) for one, item in lot]
            except Exception as error:
                logger.info("mails are stored one by one: %s", type(error).__name__)
        results: list[Result] = []
        for (one, item), outcome in made:
            try:
                await self._store_one(item, outcome)
                results.append((one, item.row_id))
            except OURS as error:
                results.append((one, error))
        return results

    async def _store_one(self, item: Item, outcome: Ready | Refused) -> None:
        if isinstance(outcome, Refused):
            await self._quarantine(item, outcome)
            return
        try:
            await self._deliver([(item, outcome)])
        except OURS:
            raise
        except Exception as error:
            # A fault of ours that this mail brings out must not stop those behind it.
            reason = f"this version cannot store it ({type(error).__name__})"
            await self._quarantine(item, Refused(reason))

    async def _deliver(self, made: Sequence[tuple[Item, Ready]]) -> None:
        for _, ready in made:
            if ready.fault:
                logger.warning("a mail is served as it came: %s", ready.fault)
        note = partial(self._note_stored, [item.row_id for item, _ in made])
        await self.deliver_and_learn(made, note)

    async def deliver_and_learn(
        self, made: Sequence[tuple[Item, Ready]], also: Callable[[Transaction], None]
    ) -> None:
        """Stores mails, runs `also`, and keeps what they say of keys, all in one transaction."""
        lesson = await self._study(made)

        def job(tx: Transaction) -> None:
            also(tx)
            if lesson is not None:
                _keep(lesson, tx)

        await self._account.deliver_all([_arrived(item, ready) for item, ready in made], job)
        await self._note_signed(made)
        if lesson is not None:
            try:
                await lesson.finish()
            except Exception as error:  # the mail is stored, which is what matters
                logger.info("keys in mail were not used: %s", type(error).__name__)

    async def _note_signed(self, made: Sequence[tuple[Item, Ready]]) -> None:
        signed = {
            (key_name(ready.signed_by.address, self._own_domain), ready.signed_by.fingerprint)
            for _, ready in made
            if ready.signed_by is not None
        }
        if new := signed - self._signed_by:
            try:
                await self._keys.note_signed(dict(new))
                self._signed_by |= new
            except Exception as error:  # the mail is stored; the next one tells it again
                logger.info("signatures of mail were not noted: %s", type(error).__name__)

    async def _study(self, made: Sequence[tuple[Item, Ready]]) -> Lesson | None:
        materials = [
            ready.keys._replace(received=item.received)
            for item, ready in made
            if ready.keys is not None
        ]
        try:
            return await self._keys.learn_from_mail(materials) if materials else None
        except Exception as error:  # whatever it is, mail does not stop for it
            logger.warning("keys in mail were not looked at: %s", type(error).__name__)
            return None

    async def _quarantine(self, item: Item, refused: Refused) -> None:
        logger.warning("a mail could not be opened and is kept in quarantine: %s", refused.reason)
        blob = None
        if len(item.sealed) > quarantine.INLINE:
            blob = await self._store.seal_blob(item.sealed)
        kept = Quarantined(
            item.row_id,
            item.key_id,
            item.received,
            refused.reason,
            sealed=item.sealed if blob is None else None,
            blob=None if blob is None else blob.ref,
            poisoned=refused.poisoned,
            tried=__version__ if refused.poisoned else "",
        )

        def job(tx: Transaction) -> None:
            quarantine.keep(tx, kept, blob)
            self._note_stored([item.row_id], tx)

        await self._store.transact(job, durable=True)


def _keep(lesson: Lesson, tx: Transaction) -> None:
    try:
        lesson.keep(tx)
    except OURS:
        raise
    except Exception as error:  # the mail is worth more than what it says of keys
        logger.warning("keys in mail were not kept: %s", type(error).__name__)


def _arrived(item: Item, ready: Ready) -> Arrived:
    return Arrived(RowId(item.row_id), ready.prepared, item.received)
