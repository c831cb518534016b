"""Whose key may have signed a mail: what was looked up in the key ring, so that opening itself is pure.

Invariants:
* Only the certificates bound to the one From address may give a signature that counts as the From's own.
* What was not looked up is never taken for "has no key": `Senders.of` raises, and the look-up follows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from leap.keymanager.mail_material import KeyMaterial
from leap.keymanager.openpgp import Certificate, SecretKey
from leap.mail.outgoing.addresses import domain_of, without_tag

logger = logging.getLogger(__name__)

AT_ONCE = 50  # as many mails as are opened together
LOOKUP_SECONDS = 10.0  # for the key of a signer who is not in the ring yet


class SignerKeys(Protocol):
    """What receiving needs of `leap.keymanager.keys.KeyManager`."""

    async def own_keys(self) -> Sequence[SecretKey]: ...

    async def note_signed(self, fingerprints: Mapping[str, str]) -> None:
        """Mail of these addresses came with a good signature by these keys, which stood for them."""
        ...

    async def find_signers(self, issuers: Iterable[str]) -> Sequence[Certificate]:
        """Certificates in the ring with any of these fingerprints or key ids."""
        ...

    async def find_bound(
        self, address: str, *, seconds: float, issuers: Collection[str]
    ) -> Sequence[Certificate]:
        """Those that stand for an address; looked up for at most `seconds` when none is of the `issuers`."""
        ...

    async def level_of(self, address: str) -> str:
        """How well the key that stands for an address is known, a word of `leap.keymanager.trust.Level`, or ""."""
        ...


class Lesson(Protocol):
    """What mails teach of keys (`leap.keymanager.lesson.Lesson`)."""

    def keep(self, tx: Any, /) -> None:
        """Writes it, in the transaction that stores the mails."""
        ...

    async def finish(self) -> None:
        """What remains to be done once they are stored."""
        ...


class MailLearner(Protocol):
    """Who learns keys from mail: `leap.keymanager.keys.KeyManager`."""

    async def learn_from_mail(self, materials: Sequence[KeyMaterial]) -> Lesson | None:
        """What these mails teach; None when it is nothing."""
        ...


class SendersWanted(Exception):
    """A mail can be judged only when these were looked up: its From address (None: nobody's), its issuers.

    `others` are wanted for further layers of the same mail.
    """

    def __init__(
        self,
        from_address: str | None,
        issuers: frozenset[str],
        others: tuple[SendersWanted, ...] = (),
    ) -> None:
        super().__init__(from_address, issuers, others)
        self.from_address = from_address
        self.issuers = issuers
        self.others = others


@dataclass(frozen=True)
class Senders:
    """Certificates by From address, and by the fingerprints and key ids that signatures name.

    `levels`: how well the key of a From address is known, a word of `leap.keymanager.trust.Level`.
    """

    bound: Mapping[str, tuple[Certificate, ...]] = field(default_factory=dict)
    by_issuers: Mapping[frozenset[str], tuple[Certificate, ...]] = field(default_factory=dict)
    levels: Mapping[str, str] = field(default_factory=dict)

    def of(
        self, from_address: str | None, issuers: Collection[str]
    ) -> tuple[tuple[Certificate, ...], list[Certificate]]:
        """Those bound to the From, and all that may have signed. Raises SendersWanted."""
        wanted = frozenset(issuers)
        bound = () if from_address is None else self.bound.get(from_address)
        known = self.by_issuers.get(wanted)
        if bound is None or known is None:
            raise SendersWanted(from_address, wanted)
        by_fingerprint = {one.fingerprint: one for one in (*known, *bound)}
        return bound, list(by_fingerprint.values())


async def look_up(
    senders: Senders, wanted: Iterable[SendersWanted], keys: SignerKeys, own_domain: str
) -> Senders:
    """`senders` and what is wanted of the ring. Raises only what the key manager's store raises."""
    bound, by_issuers = dict(senders.bound), dict(senders.by_issuers)
    levels = dict(senders.levels)
    all_wanted = [each for one in wanted for each in (one, *one.others)]
    names = {one.from_address: one for one in all_wanted if one.from_address is not None}
    gate = asyncio.Semaphore(AT_ONCE)

    async def find(name: str, one: SendersWanted) -> None:
        async with gate:
            bound[name] = await _bound(one, keys, own_domain)
            if bound[name]:
                levels[name] = await _level(one, keys, own_domain)

    # together: a directory that is silent is waited for once, not for every sender
    await asyncio.gather(*(find(name, one) for name, one in names.items() if name not in bound))
    for one in all_wanted:
        if one.issuers not in by_issuers:
            by_issuers[one.issuers] = tuple(await keys.find_signers(one.issuers))
    return Senders(bound, by_issuers, levels)


def key_name(from_address: str, own_domain: str) -> str:
    """The address whose key stands for a From: our provider gives alice+tag@ to alice@ and to nobody else."""
    return without_tag(from_address) if domain_of(from_address) == own_domain else from_address


async def _bound(
    wanted: SendersWanted, keys: SignerKeys, own_domain: str
) -> tuple[Certificate, ...]:
    """The certificates whose signatures may count as the From's own."""
    assert wanted.from_address is not None
    try:
        name = key_name(wanted.from_address, own_domain)
        found = await keys.find_bound(name, seconds=LOOKUP_SECONDS, issuers=wanted.issuers)
        return tuple(found)
    except Exception as error:
        # Then the verdict is "unknown-key" or "not-from": nobody said that it is the sender's key.
        logger.info("a sender's key could not be looked up: %s", type(error).__name__)
        return ()


async def _level(wanted: SendersWanted, keys: SignerKeys, own_domain: str) -> str:
    assert wanted.from_address is not None
    try:
        return await keys.level_of(key_name(wanted.from_address, own_domain))
    except Exception as error:
        logger.info("how a sender's key is known could not be read: %s", type(error).__name__)
        return ""
