"""Keys that come with mail: attached to it, or behind the url of its `OpenPGP:` header.

Invariants:
* Nothing is learnt from a mail that nobody vouched for: a good signature of its sender, or DKIM of the sender's domain.
* Only a certificate that carries the sender's address is taken, as a weak chain: it never ends a search by itself.
* A url is fetched only when the ring has no key for the address, by https, from the public net, once a day.

Whoever mails someone decides what the url is, and learns by the request that the mail was looked at, and from where.
So it is fetched neither for a mail without authentication nor where it could tell anything new.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, Protocol

from leap.keymanager.discovery.choosing import MAX_CERTIFICATES, choose
from leap.keymanager.discovery.https import Https, Page
from leap.keymanager.errors import KeyRefused, LookupFailed
from leap.keymanager.keyring import Bound
from leap.keymanager.openpgp import Certificate, OpenPGPError
from leap.keymanager.trust import Decision, Level

logger = logging.getLogger(__name__)

NAME = "mail"
MAX_OCTETS = 256 * 1024  # of one attached key, or of what the url gives
MAX_URL = 1000
AGAIN_SECONDS = 24 * 3600.0  # the same url is not fetched again for each mail
MAX_WAITING = 20  # fetches under way; what comes on top is left for a later mail
MAX_HELD = 1000

Authentication = Literal["", "signature good", "dkim pass"]
VOUCHED: tuple[Authentication, ...] = ("signature good", "dkim pass")


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
    fetching: bool = False  # the url is being fetched in the background


class MailKeys:
    """Takes in keys of mail for one account. `own_address` is never learnt about."""

    def __init__(
        self,
        ring: Ring,
        https: Https | None,
        *,
        own_address: str,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`https` fetches from the public net only (`outside_only`); without it no url is fetched."""
        self._ring = ring
        self.https = https
        self._own = own_address.lower()
        self._now = now
        self._fetched: dict[tuple[str, str], float] = {}  # address and url -> not before
        self._tasks: set[asyncio.Task[None]] = set()

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
        address = address.strip().lower()
        if authentication not in VOUCHED or address == self._own:
            return Offered()
        learnt: list[str] = []
        for data in certificates[:MAX_CERTIFICATES]:
            if len(data) <= MAX_OCTETS:
                said = f"attached to a mail from {address}"
                learnt += await self._learn(data, address, said, "", message_id, authentication)
        known = bool(learnt) or await self._ring.find(address) is not None
        if known or not url or not self._may_fetch(address, url):
            return Offered(tuple(learnt))
        self._fetch_later(address, url, message_id, authentication)
        return Offered(fetching=True)

    async def settled(self) -> None:
        """Waits until nothing is being fetched."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    async def close(self) -> None:
        """Ends what is being fetched."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _learn(
        self,
        data: bytes,
        address: str,
        said: str,
        url: str,
        message_id: str,
        authentication: Authentication,
    ) -> list[str]:
        try:
            chosen = await asyncio.to_thread(choose, data, address, self._now())
            decision = await self._ring.learn(
                chosen.best,
                address,
                Level.WEAK_CHAIN,
                source=NAME,
                detail=said,
                url=url,
                mail=message_id,
                authentication=authentication,
            )
        except (OpenPGPError, KeyRefused) as error:
            logger.debug("a key in a mail was not taken: %s", error)
            return []
        return [chosen.best.fingerprint] if decision.allowed else []

    def _may_fetch(self, address: str, url: str) -> bool:
        fine = self.https is not None and url.isascii() and url.isprintable()
        return (
            fine
            and len(url) <= MAX_URL
            and len(self._tasks) < MAX_WAITING
            and self._fetched.get((address, url), 0) <= self._now()
        )

    def _fetch_later(
        self, address: str, url: str, message_id: str, authentication: Authentication
    ) -> None:
        self._fetched[address, url] = self._now() + AGAIN_SECONDS
        if len(self._fetched) > MAX_HELD:
            del self._fetched[next(iter(self._fetched))]
        work = self._fetch(address, url, message_id, authentication)
        task = asyncio.create_task(work, name="fetching a key")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fetch(
        self, address: str, url: str, message_id: str, authentication: Authentication
    ) -> None:
        assert self.https is not None
        try:
            page = await self.https.get(url, most=MAX_OCTETS)
        except LookupFailed as error:
            logger.debug("a key named by a mail could not be fetched: %s", error)
            return
        if isinstance(page, Page) and await self._ring.find(address) is None:
            said = f"fetched from where a mail from {address} said it is"
            await self._learn(page.body, address, said, page.url, message_id, authentication)
