"""What a source of keys promises, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from leap.keymanager.openpgp import Certificate
from leap.keymanager.trust import Level


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A certificate for an address. `evidence` says in words where it is from; `source` names the module.

    `url`, `mail` and `authentication` are those of `documents.Evidence`. `others` are further certificates of the same
    answer: they may be news of the key which the address has, as a revocation. `barred` says why the person's word
    forbids to use it now, as in "is blocked by you", and `remedy` what they can do.
    """

    certificate: Certificate
    level: Level
    source: str
    evidence: str
    url: str = ""
    mail: str = ""
    authentication: str = ""
    others: tuple[Certificate, ...] = ()
    barred: str = ""
    remedy: str = ""


class Source(Protocol):
    """One place to look."""

    @property
    def name(self) -> str: ...

    async def find(self, address: str) -> Found | None:
        """The key of an address; None means the source is sure that it has none.

        Raises LookupFailed when it could not answer.
        """


class Directory(Protocol):
    """The provider's key directory, as `leap.soledad.remote.ProviderClient` offers it."""

    async def find_certificate(self, address: str, /) -> bytes | None: ...
    async def put_certificate(self, certificate: bytes, /) -> None: ...
