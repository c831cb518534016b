"""What the person decided about an address: whether to encrypt, and which keys never to use.

Invariant: a decision is never changed by what sources say; only by the person, on any of their devices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from leap.keymanager.canonical import canonical
from leap.keymanager.documents import (
    CONTACT,
    Block,
    Contact,
    DocumentStore,
    DocumentTransaction,
    content_of,
    value_of,
)

POLICIES = ("prefer", "require", "never")
SIGNING = ("on", "off")


class Contacts:
    """The contact documents of one account, by canonical addresses."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store

    def document_id(self, address: str) -> str:
        """Where a contact lies."""
        return self._store.row_key(f"{CONTACT}:{canonical(address)}".encode())

    async def find(self, address: str) -> Contact:
        """What was decided about an address; an empty one when nothing was."""
        document = await self._store.get_doc(self.document_id(address))
        return _read(address, None if document is None else document.content)

    async def list(self) -> list[Contact]:
        """All about whom something was decided, by address."""
        documents = await self._store.find_docs(CONTACT)
        found = [value_of(d.content, Contact) for d in documents if d.content is not None]
        return sorted(found, key=lambda contact: contact.address)

    async def policies(self, addresses: Iterable[str]) -> dict[str, str]:
        """What was decided about encrypting to each of these ("prefer", "require", "never"); others are left out."""
        found = await self._several(addresses)
        return {one.address: one.policy for one in found if one.policy in POLICIES}

    async def signing(self, addresses: Iterable[str]) -> dict[str, str]:
        """What was decided about signing readable mail to each of these ("on", "off"); others are left out."""
        found = await self._several(addresses)
        return {one.address: one.sign for one in found if one.sign in SIGNING}

    async def _several(self, addresses: Iterable[str]) -> Sequence[Contact]:
        ids = [self.document_id(address) for address in set(addresses)]
        documents = await self._store.get_docs(ids, False)
        return [value_of(d.content, Contact) for d in documents if d.content is not None]

    def read(self, tx: DocumentTransaction, address: str) -> Contact:
        """The same as `find`, within a transaction."""
        return _read(address, tx.get(self.document_id(address)))

    def edit(
        self, tx: DocumentTransaction, address: str, change: Callable[[Contact], Contact]
    ) -> Contact:
        """Keeps what `change` makes of a contact, within a transaction."""
        before = self.read(tx, address)
        after = change(before)
        if after != before:
            tx.put(self.document_id(address), content_of(after))
        return after

    async def set_policy(self, address: str, policy: str) -> Contact:
        """Sets "prefer", "require" or "never" for mail to an address; "" goes back to the account's."""
        if policy and policy not in POLICIES:
            raise ValueError(f"there is no policy {policy!r}")

        def job(tx: DocumentTransaction) -> Contact:
            return self.edit(tx, address, lambda c: msgspec.structs.replace(c, policy=policy))

        return await self._store.transact(job, durable=True)

    async def set_signing(self, address: str, sign: str) -> Contact:
        """Sets "on" or "off" for readable mail to an address; "" goes back to the account's."""
        if sign and sign not in SIGNING:
            raise ValueError(f"mail is signed or not, not {sign!r}")

        def job(tx: DocumentTransaction) -> Contact:
            return self.edit(tx, address, lambda c: msgspec.structs.replace(c, sign=sign))

        return await self._store.transact(job, durable=True)


def blocking(contact: Contact, block: Block) -> Contact:
    """The contact with one more blocked key."""
    if contact.blocks(block.fingerprint):
        return contact
    return msgspec.structs.replace(contact, blocked=(*contact.blocked, block))


def unblocking(contact: Contact, fingerprint: str) -> Contact:
    """The contact with one less."""
    rest = tuple(one for one in contact.blocked if one.fingerprint != fingerprint)
    return msgspec.structs.replace(contact, blocked=rest)


def _read(address: str, content: dict[str, Any] | None) -> Contact:
    return Contact(address=canonical(address)) if content is None else value_of(content, Contact)
