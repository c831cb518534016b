"""Publishing the own certificate at the provider's directory, which serves it by address and as a Web Key Directory.

Invariant: publishing is remembered as undone until the directory took the newest certificate.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

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
from leap.keymanager.own_keys import OwnKeys
from leap.soledad.errors import SoledadError


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

    async def publish(self) -> bool:
        """Gives the directory the own certificate if it has not this one yet; False when that must be tried again.

        Why it failed is in `state`. Raises NoOwnKey.
        """
        certificate = (await self._own.certificate()).of_address(self._address)
        digest = hashlib.sha256(certificate.binary).hexdigest()
        state = await self.state()
        if state.published == digest:
            return True
        error = "offline: there is no directory to publish to"
        if self._directory is not None:
            try:
                await self._directory.put_certificate(certificate.binary)
            except (SoledadError, OSError) as failure:
                error = f"the key could not be published: {failure}"
            else:
                error = ""
        done = not error
        await self._save(
            msgspec.structs.replace(
                state,
                published=digest if done else state.published,
                when=int(self._now()),
                attempts=0 if done else state.attempts + 1,
                error=error,
            )
        )
        return done

    async def state(self) -> Publication:
        """Whether the directory has the own key, and what stood in the way last."""
        document = await self._store.get_doc(self._document_id())
        if document is None or document.content is None:
            return Publication(address=self._address)
        return value_of(document.content, Publication)

    def _document_id(self) -> str:
        return self._store.row_key(f"{PUBLICATION}:{self._address}".encode())

    async def _save(self, state: Publication) -> None:
        content = content_of(state)
        document_id = self._document_id()

        def job(tx: DocumentTransaction) -> None:
            tx.put(document_id, content)

        await self._store.transact(job)
