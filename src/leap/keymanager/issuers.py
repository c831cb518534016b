"""Which certificates of the ring a signature may be by: signatures name keys by fingerprint or key id."""

from __future__ import annotations

from collections.abc import Iterable

from leap.keymanager.documents import (
    CERTIFICATE,
    CertificateDocument,
    Content,
    DocumentStore,
    value_of,
)
from leap.keymanager.following import Followed


class Issuers:
    """The index over one account's certificates; read once, then it follows the store."""

    def __init__(self, store: DocumentStore) -> None:
        self._fingerprints: dict[str, set[str]] = {}
        self._documents = Followed(store, CERTIFICATE, self._follow)

    def close(self) -> None:
        """Stops listening to the store."""
        self._documents.close()

    async def find(self, issuers: Iterable[str]) -> list[str]:
        """Fingerprints of the certificates with a key of any of these fingerprints or key ids (upper hex), sorted."""
        await self._documents.read()
        index = self._fingerprints
        return sorted({f for issuer in issuers for f in index.get(issuer.upper(), ())})

    def enter(self, document: CertificateDocument) -> None:
        """A certificate that was just kept: it is found before the store's notice comes."""
        if self._documents.is_read:
            self._enter(document)

    def _follow(self, before: Content | None, after: Content | None) -> None:
        if after is not None:
            self._enter(value_of(after, CertificateDocument))

    def _enter(self, document: CertificateDocument) -> None:
        for issuer in document.issuers:
            self._fingerprints.setdefault(issuer, set()).add(document.fingerprint)
