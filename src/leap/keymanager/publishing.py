"""Publishing the own certificate at the provider's directory, which serves it by address and as a Web Key Directory.

Invariants:
* Publishing is remembered as undone until the directory took the newest certificate, whichever device made it.
* Nothing is published before `synced` was done: nobody may encrypt to a key whose secret is on one device alone.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from leap.keymanager.discovery import Directory
from leap.keymanager.documents import (
    PUBLICATION,
    DocumentStore,
    DocumentTransaction,
    Publication,
    content_of,
    value_of,
)
from leap.keymanager.openpgp import Certificate
from leap.keymanager.openpgp.component import address_in
from leap.keymanager.openpgp.packets import Tag
from leap.keymanager.openpgp.parts import with_signatures
from leap.keymanager.openpgp.self_signatures import read_signatures_on
from leap.keymanager.own_keys import OwnKeys
from leap.soledad.errors import SoledadError

MAX_FORMER = 3  # certificates; correspondents who have an older one heard of that long ago


class Publishing:
    """What the directory has of one account's key, and giving it what is new."""

    def __init__(
        self,
        store: DocumentStore,
        own: OwnKeys,
        directory: Directory | None,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._own = own
        self._address = own.address
        self._directory = directory
        self._now = now
        self.aliases: tuple[
            str, ...
        ] = ()  # further addresses which the directory knows to be the account's

    async def publish(
        self, *, synced: Callable[[], Awaitable[object]] | None = None, look: bool = False
    ) -> bool:
        """Gives the directory the own certificate if it has not this one yet; False when that must be tried again.

        `synced` syncs, or raises SoledadError or OSError. `look`: the directory is asked what it has, since a provider
        that was set back has less than it took. Why it failed is in `state`. Raises NoOwnKey.
        """
        if not look and (await self.state()).published == _digest(await self._certificate()):
            return True
        try:
            if synced is not None:
                await synced()
            published = await self._give(await self._certificate())
        except (SoledadError, OSError) as failure:
            await self._note(error=f"the key could not be published: {failure}")
            return False
        await self._note(published=published)
        return True

    async def _certificate(self) -> bytes:
        """The one in use, then former ones which were revoked: who has one of those must hear of it."""
        return await self._form(self._address, self.aliases)

    async def _form(self, address: str, aliases: Sequence[str] = ()) -> bytes:
        """What is published under these addresses; of each key that has the first of them."""
        in_use = await self._own.certificate()
        others = [key.certificate for key in (await self._own.keys())[1:]]
        former = [c for c in others if c.revoked and self._address in c.addresses]
        return b"".join(
            published_form(certificate, address, others, aliases).binary
            for certificate in (in_use, *former[:MAX_FORMER])
            if address in certificate.addresses
        )

    async def _give(self, certificate: bytes) -> str:
        """Answers the digest of what the directory has now."""
        if self._directory is None:
            raise ConnectionError("offline, there is no directory to publish to")
        for address in (self._address, *self.aliases):
            # The directory answers with the names of what is asked for only.
            if (await self._directory.find_certificate(address) or b"") != await self._form(
                address
            ):
                await self._directory.put_certificate(certificate)
                break
        return _digest(certificate)

    async def is_current(self) -> bool:
        """Whether the directory took the newest certificate, as far as is known. Raises NoOwnKey."""
        return (await self.state()).published == _digest(await self._certificate())

    async def state(self) -> Publication:
        """Whether the directory has the own key, and what stood in the way last."""
        document = await self._store.get_doc(self._document_id())
        if document is None or document.content is None:
            return Publication(address=self._address)
        return value_of(document.content, Publication)

    def _document_id(self) -> str:
        return self._store.row_key(f"{PUBLICATION}:{self._address}".encode())

    async def _note(self, *, published: str | None = None, error: str = "") -> None:
        document_id = self._document_id()
        when = int(self._now())

        def job(tx: DocumentTransaction) -> None:
            content = tx.get(document_id)
            before = (
                Publication(address=self._address)
                if content is None
                else value_of(content, Publication)
            )
            if published is not None and published == before.published and not before.error:
                return
            after = msgspec.structs.replace(
                before,
                published=before.published if published is None else published,
                when=when,
                attempts=before.attempts + 1 if error else 0,
                error=error,
            )
            tx.put(document_id, content_of(after))

        await self._store.transact(job)


def published_form(
    certificate: Certificate,
    address: str,
    vouching: Sequence[Certificate],
    aliases: Sequence[str] = (),
) -> Certificate:
    """What goes out of a certificate: what its owner says of it now, with no names but the address and its aliases.

    The directory gives it to whoever asks with the name that was asked for only. Of what others signed only the word
    of one's own other keys, by which programs take a new key for the old one's.
    """
    named = {"", address, *aliases}
    whole = certificate.without_user_ids(lambda body: address_in(body) not in named)
    current = whole.current()
    words = {
        component.body: [
            signature.body
            for signature in read_signatures_on(component)
            if any(signature.may_be_by(other.primary) for other in vouching)
        ]
        for component in whole.components
        if component.tag == Tag.USER_ID
    }
    names = [c for c in current.components if c.tag == Tag.USER_ID]
    return with_signatures(current, {name: words[name.body] for name in names})


def _digest(certificate: bytes) -> str:
    return hashlib.sha256(certificate).hexdigest()
