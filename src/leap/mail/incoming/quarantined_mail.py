"""The mail of one account that could not be opened: listed, tried again, and taken out for somebody else to read.

Invariants:
* An item leaves only in the transaction that stores its mail.
* One that brought the program down before is opened apart only, and by itself once for each version of the program.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from dataclasses import replace
from functools import partial

from leap.mail.incoming import begun, quarantine
from leap.mail.incoming.delivery import OURS, Delivery
from leap.mail.incoming.lots import Item
from leap.mail.incoming.quarantine import Quarantined
from leap.mail.incoming.ready import Refused
from leap.mail.incoming.workshop import Workshop
from leap.mail.version import __version__
from leap.soledad.errors import ProviderLies
from leap.soledad.inbox_seal import open_from_inbox
from leap.soledad.store import Soledad
from leap.soledad.transaction import Transaction

logger = logging.getLogger(__name__)


class QuarantinedMail:
    """What is in quarantine, on this device as on all others of the account."""

    def __init__(self, store: Soledad, workshop: Workshop, delivery: Delivery) -> None:
        self._store = store
        self._workshop = workshop
        self._delivery = delivery

    async def items(self) -> list[Quarantined]:
        """What could not be opened yet, oldest first."""
        documents = await self._store.find_docs(quarantine.QUARANTINE)
        found = [quarantine.item_of(one.doc_id, one.content) for one in documents]
        return sorted((one for one in found if one is not None), key=lambda one: one.received)

    async def retry(self, row_ids: Collection[str] | None = None) -> list[str]:
        """Tries to open these again, or, by itself, all for which something may have changed; answers which left."""
        released = []
        for one in await self.items():
            if one.row_id in row_ids if row_ids is not None else one.tried != __version__:
                try:
                    if await self._opens(one):
                        released.append(one.row_id)
                except ProviderLies:
                    continue
                except OURS as error:
                    logger.info("a mail in quarantine cannot be read now: %s", type(error).__name__)
        return released

    async def export(self, row_id: str) -> tuple[bytes, bool]:
        """The mail as it came, out of its seal, and True; or the sealed octets when no key here opens it.

        Raises KeyError when it is not in quarantine, and what the store raises.
        """
        item = next((one for one in await self.items() if one.row_id == row_id), None)
        sealed = None if item is None else await self._sealed(item)
        if sealed is None:
            raise KeyError(row_id)
        material = self._store.material
        if material is None:
            return sealed, False
        try:
            raw = await asyncio.to_thread(
                open_from_inbox, sealed, material.inbox_keys, material.account_id
            )
        except ProviderLies:
            return sealed, False
        return raw, True

    async def _opens(self, one: Quarantined) -> bool:
        sealed = await self._sealed(one)
        if sealed is None:
            return False
        begun_before = await self._store.transact(
            lambda tx: begun.note(tx.connection, [one.row_id])
        )
        [outcome] = await self._workshop.make([sealed], apart=one.poisoned or bool(begun_before))
        if isinstance(outcome, Refused):
            tried = replace(
                one,
                reason=outcome.reason,
                poisoned=outcome.poisoned,
                tried=__version__ if outcome.poisoned else "",
            )
            await self._store.transact(partial(_keep_again, tried))
            return False
        item = Item(one.row_id, one.key_id, one.received, sealed)
        await self._delivery.deliver_and_learn([(item, outcome)], partial(_release, one.row_id))
        return True

    async def _sealed(self, one: Quarantined) -> bytes | None:
        if one.sealed is None and one.blob is not None:
            return await self._store.read_blob(one.blob)
        return one.sealed


def _keep_again(item: Quarantined, tx: Transaction) -> None:
    begun.forget(tx.connection, [item.row_id])
    quarantine.note_tried(tx, item)


def _release(row_id: str, tx: Transaction) -> None:
    begun.forget(tx.connection, [row_id])
    quarantine.release(tx, row_id)
