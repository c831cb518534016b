"""Keys that come with mail: attached to it, or behind the url of its `OpenPGP:` header.

Invariants:
* Nothing is learnt from a mail that nobody vouched for: a good signature of its sender, DKIM of the sender's domain,
  or a signature over the whole mail by the attached key itself. The last one says only that its writer has the key:
  it is worth what an Autocrypt header is.
* Only a certificate that carries the sender's address is taken, as a weak chain: it never ends a search by itself.
* That a mail came causes no request. A url is kept, and fetched when somebody looks for a key of that address and the
  ring has none, by https, from the public net, without following redirects.

Whoever mails someone decides what the url is. If it were fetched on arrival, each mail could have one of its own, and
its sender would be told that it arrived, when, and from where it was read.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from leap.keymanager.canonical import canonical
from leap.keymanager.discovery.choosing import MAX_CERTIFICATES, choose
from leap.keymanager.discovery.contract import Found
from leap.keymanager.discovery.https import Https, Page
from leap.keymanager.discovery.key_urls import KeyUrl, KeyUrls
from leap.keymanager.errors import KeyRefused, LookupFailed
from leap.keymanager.kept_times import SettingStore
from leap.keymanager.keyring import Bound
from leap.keymanager.mail_material import (
    DKIM_PASS,
    SIGNATURE_GOOD,
    SIGNED_BY_ATTACHED,
    Authentication,
)
from leap.keymanager.openpgp import Certificate, OpenPGPError
from leap.keymanager.trust import Decision, Level

logger = logging.getLogger(__name__)

NAME = "mail"
MAX_OCTETS = 256 * 1024  # of one attached key, or of what the url gives
MAX_URL, MAX_MESSAGE_ID = 500, 250

VOUCHED: tuple[Authentication, ...] = (SIGNATURE_GOOD, DKIM_PASS, SIGNED_BY_ATTACHED)


class Ring(Protocol):
    """What of `leap.keymanager.keyring.Keyring` is used."""

    async def find(self, address: str) -> Bound | None: ...
    async def learn(
        self,
        certificate: Certificate,
        address: str,
        level: Level,
        *,
        source: str,
        detail: str = "",
        url: str = "",
        mail: str = "",
        authentication: str = "",
    ) -> Decision: ...


class Offered(NamedTuple):
    """What became of the keys of a mail."""

    learnt: tuple[
        str, ...
    ] = ()  # fingerprints of those that now are, or update, the key of the address
    noted: bool = False  # the url is kept for when somebody writes to the address


class MailKeys:
    """Takes in keys of mail for one account, and is the last source of a search. `own_address` is never learnt about.

    `https` fetches from the public net only (`outside_only`); without it no url is fetched.
    """

    name = NAME

    def __init__(
        self,
        ring: Ring,
        store: SettingStore,
        https: Https | None,
        *,
        own_address: str,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.https = https
        self._ring = ring
        self._urls = KeyUrls(store)
        self._own = canonical(own_address)
        self._now = now

    async def offer(
        self,
        address: str,
        certificates: Sequence[bytes],
        *,
        url: str = "",
        message_id: str,
        authentication: Authentication,
    ) -> Offered:
        """Takes in what a mail from `address` brought; never raises for what is in it.

        `authentication`: what vouches for the mail being of this address; "" for nothing, and then nothing is learnt.
        """
        address = canonical(address)
        if authentication not in VOUCHED or address == self._own:
            return Offered()
        learnt: list[str] = []
        for data in certificates[:MAX_CERTIFICATES]:
            if len(data) <= MAX_OCTETS:
                learnt += await self._learn(data, address, message_id, authentication)
        known = bool(learnt) or await self._ring.find(address) is not None
        if known or not _is_url(url):
            return Offered(tuple(learnt))
        kept = KeyUrl(url=url, mail=message_id[:MAX_MESSAGE_ID], authentication=authentication)
        await self._urls.put(address, kept)
        return Offered(noted=True)

    async def find(self, address: str) -> Found | None:
        """The key behind the url that mail of an address named, if the ring has no key. Raises LookupFailed."""
        kept = await self._urls.get(address)
        if kept is None or self.https is None or await self._ring.find(address) is not None:
            return None
        try:
            page = await self.https.get(kept.url, most=MAX_OCTETS)
        except LookupFailed:
            await self._urls.note_failure(address, kept, self._now())
            raise
        if not isinstance(page, Page):
            await self._urls.put(address, None)
            return None
        try:
            chosen = await asyncio.to_thread(choose, page.body, address, self._now())
        except OpenPGPError as error:
            logger.debug("a url of a mail gave no key: %s", type(error).__name__)
            await self._urls.put(address, None)
            return None
        return Found(
            certificate=chosen.best,
            level=Level.WEAK_CHAIN,
            source=NAME,
            evidence=f"fetched from where a mail from {address} said it is",
            url=page.url,
            mail=kept.mail,
            authentication=kept.authentication,
        )

    async def _learn(
        self, data: bytes, address: str, message_id: str, authentication: Authentication
    ) -> list[str]:
        try:
            chosen = await asyncio.to_thread(choose, data, address, self._now())
            decision = await self._ring.learn(
                chosen.best,
                address,
                Level.WEAK_CHAIN,
                source=NAME,
                detail=f"attached to a mail from {address}",
                mail=message_id,
                authentication=authentication,
            )
        except (OpenPGPError, KeyRefused) as error:
            logger.debug("a key in a mail was not taken: %s", type(error).__name__)
            return []
        return [chosen.best.fingerprint] if decision.allowed else []


def _is_url(url: str) -> bool:
    return url.startswith("https://") and len(url) <= MAX_URL and url.isascii() and " " not in url
