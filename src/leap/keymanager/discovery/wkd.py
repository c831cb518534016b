"""Web Key Directory: asking the domain of an address for its key (draft-koch-openpgp-webkey-service).

    https://openpgpkey.<domain>/...  the advanced method; where that host does not exist:
    https://<domain>/...             the direct method

Invariants:
* An answer counts only over verified TLS, and only if it is a certificate with a user id of the address asked for.
* The direct method is used only when the sub-domain of the advanced one does not exist (section 3.1).
* *None* is said by a domain which has no such host, on which nobody listens, or which answers that it has no such page;
  but not by nobody listening on the sub-domain of the advanced method, which is there for a directory only.
  What is neither a key nor a "no" (time-outs, failures of DNS, TLS or the server, garbage) leaves it open.

A web server that answers whatever it is asked with a page of its own is no directory: what is not OpenPGP data counts
as *none* if there is no proper policy file either. The word of the domain itself, over TLS, is as good as a 404.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Callable

from leap.keymanager.canonical import canonical
from leap.keymanager.discovery.choosing import NoneOfThem, choose
from leap.keymanager.discovery.contract import Found
from leap.keymanager.discovery.https import Absent, Https, Page, TlsFailed
from leap.keymanager.discovery.public_names import ascii_domain, is_public_name
from leap.keymanager.errors import LookupFailed
from leap.keymanager.openpgp import OpenPGPError
from leap.keymanager.trust import Level
from leap.keymanager.wkd_names import advanced_url, direct_url, policy_url

NAME = "wkd"
MOST_OCTETS = 256 * 1024  # several keys of one address, with photos on them
MOST_POLICY = 64 * 1024
WHOLE_SECONDS = 9.0  # of all requests for one address: sending waits ten
WITHOUT_SECONDS = 6 * 3600.0  # a domain without a directory is not asked about other addresses
MAX_WITHOUT = 1000

# ABNF of section 4.5:  line = [keyword [":" value]] ; keyword = ALPHA *(ALPHA / DIGIT / "-" / "." / "_")
_POLICY_LINE = re.compile(rb"[A-Za-z][A-Za-z0-9._-]*[ \t]*(?::.*)?")


class WkdSource:
    """The Web Key Directories of all domains; `is_public` says which names are asked about at all."""

    name = NAME

    def __init__(
        self,
        https: Https,
        *,
        now: Callable[[], float] = time.time,
        is_public: Callable[[str], bool] | None = None,
        whole_seconds: float = WHOLE_SECONDS,
    ) -> None:
        self._https = https
        self._now = now
        self._is_public = is_public or (lambda name: is_public_name(name, proxied=https.proxied))
        self._whole = whole_seconds
        self._without: dict[str, float] = {}  # domain -> until then

    async def find(self, address: str) -> Found | None:
        """What the address's domain says. The case of the local part is passed on as it comes (`?l=`)."""
        local_part, _, typed = address.rpartition("@")
        domain = ascii_domain(typed)
        if not local_part or domain is None or not self._is_public(domain):
            return None
        if self._without.get(domain, 0) > self._now():
            return None
        try:
            async with asyncio.timeout(self._whole):
                return await self._find(local_part, domain, canonical(address))
        except TimeoutError as error:
            raise LookupFailed(f"the key directory of {domain} does not answer in time") from error

    async def refresh(self, address: str, fingerprint: str) -> Found | None:
        """The same, also of a domain that had no directory lately."""
        self._without.pop(ascii_domain(address.rpartition("@")[2]) or "", None)
        return await self.find(address)

    async def _find(self, local_part: str, domain: str, address: str) -> Found | None:
        advanced = True
        answer = await self._ask_advanced(local_part, domain)
        if answer in (Absent.HOST, Absent.UNREACHABLE):
            advanced = False
            url = direct_url(local_part, domain)
            answer = await self._https.get(url, most=MOST_OCTETS, stays_in=domain)
            if answer is Absent.UNREACHABLE:
                raise LookupFailed(f"the proxy found no way to {domain}")
        if isinstance(answer, Page):
            return await self._read(answer, domain, address, advanced)
        if answer is not Absent.PAGE or not await self._has_policy(domain, advanced):
            self._note_without(domain)
        return None

    async def _ask_advanced(self, local_part: str, domain: str) -> Page | Absent:
        # Where every sub-domain has an address, this one does not exist because it has one, too (3.1 asks such
        # domains to except it, and most do not know). Who can forge the DNS could as well say that there is none.
        try:
            url = advanced_url(local_part, domain)
            answer = await self._https.get(url, most=MOST_OCTETS, stays_in=domain)
        except TlsFailed:
            if self._https.proxied or not await self._has_every_name(domain):
                raise
            return Absent.HOST
        if answer is not Absent.SERVER or self._https.proxied:
            return answer
        if await self._has_every_name(domain):
            return Absent.HOST
        # A name that is there for a directory only: its server is down, or somebody on the way says so.
        raise LookupFailed(f"nobody listens at the key directory of {domain}")

    async def _has_every_name(self, domain: str) -> bool:
        return await self._https.has_host(f"{secrets.token_hex(8)}.{domain}")

    async def _read(self, page: Page, domain: str, address: str, advanced: bool) -> Found | None:
        try:
            chosen = await asyncio.to_thread(choose, page.body, address, self._now())
        except NoneOfThem as error:
            raise LookupFailed(
                f"the key directory of {domain} answered with a key that is not of {address}"
            ) from error
        except OpenPGPError as error:
            if not await self._has_policy(domain, advanced):
                self._note_without(domain)
                return None
            raise LookupFailed(
                f"the key directory of {domain} answered with what is no key: {error}"
            ) from error
        return Found(
            certificate=chosen.best,
            others=chosen.others,
            level=Level.PROVIDER_TRUST,
            source=NAME,
            evidence=f"the Web Key Directory of {domain} gave it for {address}",
            url=page.url,
        )

    async def _has_policy(self, domain: str, advanced: bool) -> bool:
        """Whether the host shows a proper policy file that does not deny a directory; true if that is not known."""
        url = policy_url(domain, advanced=advanced)
        try:
            page = await self._https.get(url, most=MOST_POLICY, stays_in=domain)
        except LookupFailed:
            return True
        return isinstance(page, Page) and is_policy(page.body)

    def _note_without(self, domain: str) -> None:
        self._without[domain] = self._now() + WITHOUT_SECONDS
        if len(self._without) > MAX_WITHOUT:
            del self._without[next(iter(self._without))]


def is_policy(body: bytes) -> bool:
    """Whether this is a policy file (section 4.5) of a host that runs a directory."""
    for line in body.splitlines():
        words = line.strip()
        if not words or words.startswith(b"#"):
            continue
        if not _POLICY_LINE.fullmatch(words) or words.lower().startswith(b"dane-only"):
            return False
    return True
