"""What is known of each recipient's key at this moment, asked of the key manager, for all at once.

Invariant: "absent" is answered only when the key manager said that there is none. Whatever fails, takes too
long or surprises is "unclear", so that a failure never makes clear text.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from leap.keymanager.openpgp import Certificate, OpenPGPError, SecretKey
from leap.mail.outgoing.addresses import domain_of, normal, without_tag
from leap.mail.outgoing.policy import Absent, KeyState, Unclear, Unusable, Usable

logger = logging.getLogger(__name__)

LOOKUP_SECONDS = 10.0  # a mail program waits this long at most for its answer to the message
AT_ONCE = 20  # look-ups under way for one mail


class FoundKey(Protocol):
    """What a look-up gives; `leap.keymanager.keys.Found` is one."""

    @property
    def certificate(self) -> Certificate: ...

    @property
    def barred(self) -> str:
        """Why the person's word forbids to use it, as in "is blocked by you"; or nothing."""
        ...

    @property
    def remedy(self) -> str:
        """What the person can do about that, as a sentence."""
        ...


class Keys(Protocol):
    """What sending needs of `leap.keymanager.keys.KeyManager`."""

    async def find_certificate(self, address: str) -> FoundKey | None:
        """None only if every source that could know says so; raises when one could not answer."""
        ...

    async def own_keys(self) -> Sequence[SecretKey]:
        """The account's keys, the one to sign with first."""
        ...

    async def autocrypt_header(self, from_address: str) -> str | None:
        """The value of the Autocrypt field for mail from the account or an alias of it; None when there is none."""
        ...

    async def policies(self, addresses: Iterable[str]) -> Mapping[str, str]:
        """What the person set for mail to these: "prefer", "require", "never"; the others are left out."""
        ...

    async def signing(self, addresses: Iterable[str]) -> Mapping[str, str]:
        """What the person set for readable mail to these: "on", "off"; the others are left out."""
        ...

    async def note_encrypted(self, fingerprints: Mapping[str, str]) -> None:
        """Mail was encrypted to these keys, by address."""
        ...


@dataclass(frozen=True, slots=True)
class Looked:
    """One recipient: `certificate` is there when `state` is Usable."""

    address: str
    state: KeyState
    certificate: Certificate | None = None
    name: str = ""  # the address the key is of: without its +tag, perhaps


async def look_up(
    keys: Keys,
    addresses: Sequence[str],
    *,
    own_domain: str,
    now: float,
    seconds: float = LOOKUP_SECONDS,
) -> list[Looked]:
    """The state of each address's key, in order; takes at most `seconds`, and never raises."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(address: str) -> Looked:
        async with gate:
            return await _look_up_one(keys, address, own_domain, now)

    tasks = [asyncio.create_task(one(address)) for address in addresses]
    try:
        done, _ = await asyncio.wait(tasks, timeout=seconds)
        return [
            task.result() if task in done else Looked(address, Unclear("the look-up took too long"))
            for task, address in zip(tasks, addresses, strict=True)
        ]
    finally:
        for task in tasks:
            task.cancel()


def names_of(address: str, own_domain: str) -> list[str]:
    """The addresses under which a key or a contact of a recipient may be known, the most exact first."""
    exact = normal(address)
    if domain_of(address) != own_domain or without_tag(exact) == exact:
        return [exact]
    return [exact, without_tag(exact)]  # our own provider delivers bob+lists@ to bob@


async def _look_up_one(keys: Keys, address: str, own_domain: str, now: float) -> Looked:
    try:
        best: Looked | None = None
        for name in names_of(address, own_domain):
            found = await keys.find_certificate(name)
            if found is not None and found.barred:
                return Looked(address, Unusable(found.barred, found.remedy), None, name)
            if found is not None:
                # Whoever reads bob+lists@ is bob@: what the person knows of bob's key, which comes last, must not be
                # passed by with a key that some mail or answer gave for the longer address.
                state = usability(found.certificate, now)
                certificate = found.certificate if state == Usable() else None
                best = Looked(address, state, certificate, name)
        if best is not None:
            return best
    except Exception as error:
        logger.info("a key look-up failed: %s", type(error).__name__)
        return Looked(address, Unclear("its key could not be looked up now"))
    return Looked(address, Absent())


def usability(certificate: Certificate, now: float) -> KeyState:
    """Whether one may encrypt to a certificate at `now` (seconds since 1970), or why not."""
    if certificate.revoked:
        return Unusable("was revoked")
    expires = certificate.expires
    if expires is not None and expires <= now:
        day = datetime.fromtimestamp(expires, UTC)
        return Unusable(f"expired on {day.day} {day:%B %Y}")
    if not certificate.can_encrypt(now):
        return Unusable(
            "cannot be encrypted to (its encryption part is missing, expired or too weak)"
        )
    return Usable()


def own_key_problem(own: Sequence[SecretKey], now: float) -> OpenPGPError | None:
    """Why one cannot sign with one's own key at `now`; None when one can, or when there is none yet.

    ExpiredCertificate passes by itself: an own key is extended in the background.
    """
    try:
        if own:
            own[0].signing_key(now)
    except OpenPGPError as error:
        return error
    return None


def own_key_sentence(problem: OpenPGPError) -> str:
    """What a person is told."""
    return f"Not sent: your own key cannot sign ({problem}); `bitmask keys list` says what to do."
