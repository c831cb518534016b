"""Which certificates of the ring a signature may be by: signatures name keys by fingerprint or key id.

Invariant: nobody looks into a half-read index, since "unknown key" would be untrue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from leap.keymanager.documents import CERTIFICATE, CertificateDocument, DocumentStore, value_of


class Issuers:
    """The index over one account's certificates; read once, then it follows the store."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store
        self._fingerprints: dict[str, set[str]] = {}
        self._loading = asyncio.Lock()
        self._unsubscribe: Callable[[], None] | None = None

    def close(self) -> None:
        """Stops listening to the store."""
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None

    async def find(self, issuers: Iterable[str]) -> list[str]:
        """Fingerprints of the certificates with a key of any of these fingerprints or key ids (upper hex), sorted."""
        async with self._loading:
            if self._unsubscribe is None:
                await self._load()
        index = self._fingerprints
        return sorted({f for issuer in issuers for f in index.get(issuer.upper(), ())})

    def enter(self, document: CertificateDocument) -> None:
        """A certificate that was just kept: it is found before the store's notice comes."""
        if self._unsubscribe is not None:
            self._enter(document)

    async def _load(self) -> None:
        # listening begins before reading: what syncs in meanwhile is in one of both
        self._fingerprints = {}
        unsubscribe = self._store.on_change(self._follow)
        try:
            documents = await self._store.find_docs(CERTIFICATE)
        except BaseException:
            unsubscribe()
            raise
        for document in documents:
            if document.content is not None:
                self._enter(value_of(document.content, CertificateDocument))
        self._unsubscribe = unsubscribe

    def _follow(self, changes: Any) -> None:
        for _, _, after in changes.docs:
            if after is not None and after.get("type") == CERTIFICATE:
                self._enter(value_of(after, CertificateDocument))

    def _enter(self, document: CertificateDocument) -> None:
        for issuer in document.issuers:
            self._fingerprints.setdefault(issuer, set()).add(document.fingerprint)
