"""A Verifying Keyserver, as keys.openpgp.org is one: asked only if the person named it (its documented API, version 1).

    GET /vks/v1/by-email/<address, escaped>     200 with one armored certificate, or 404
    GET /vks/v1/by-fingerprint/<upper hex>      the same; user ids that were not confirmed are missing in it

Invariants:
* What it says of an address is a weak chain: it checked once that somebody reads mail there.
* A keyserver that does not exist or does not answer knows nothing: that is a failure, not the answer "none".
* News of a key one has are asked for by its fingerprint, and taken only if they are of that fingerprint.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from urllib.parse import quote, urlsplit

from leap.keymanager.canonical import canonical
from leap.keymanager.discovery.choosing import NoneOfThem, choose
from leap.keymanager.discovery.contract import Found
from leap.keymanager.discovery.https import Absent, Https, Page
from leap.keymanager.discovery.public_names import is_literal
from leap.keymanager.errors import LookupFailed
from leap.keymanager.openpgp import Certificate, OpenPGPError, read_certificates
from leap.keymanager.trust import Level

NAME = "vks"
MOST_OCTETS = 512 * 1024  # armored


class VksSource:
    """One keyserver."""

    name = NAME

    def __init__(self, https: Https, url: str, *, now: Callable[[], float] = time.time) -> None:
        """`url` as `keyserver_url` gives it."""
        self._https = https
        self._url = url
        self._host = urlsplit(url).hostname or url
        self._now = now

    async def find(self, address: str) -> Found | None:
        address = canonical(address)
        page = await self._get(f"by-email/{quote(address, safe='')}")
        if page is None:
            return None
        try:
            chosen = await asyncio.to_thread(choose, page.body, address, self._now())
        except NoneOfThem as error:
            raise LookupFailed(
                f"the keyserver {self._host} answered with a key that is not of {address}"
            ) from error
        except OpenPGPError as error:
            raise self._is_no_key(error) from error
        said = f"the keyserver {self._host} gave it for {address}"
        return self._found(chosen.best, said, page.url)

    async def refresh(self, address: str, fingerprint: str) -> Found | None:
        """What it has of a key one has (upper hex): expiry, revocation, subkeys. The address is not told."""
        page = await self._get(f"by-fingerprint/{fingerprint}")
        if page is None:
            return None
        try:
            found = await asyncio.to_thread(read_certificates, page.body)
        except OpenPGPError as error:
            raise self._is_no_key(error) from error
        for certificate in found:
            if certificate.fingerprint == fingerprint:
                said = f"the keyserver {self._host} had news of the key"
                return self._found(certificate, said, page.url)
        raise LookupFailed(f"the keyserver {self._host} answered with another key")

    async def _get(self, path: str) -> Page | None:
        url = f"{self._url}/vks/v1/{path}"
        answer = await self._https.get(url, most=MOST_OCTETS, stays_in=self._host)
        if isinstance(answer, Page):
            return answer
        if answer is Absent.PAGE:
            return None
        raise LookupFailed(f"the keyserver {self._host} cannot be asked: {answer.value}")

    def _found(self, certificate: Certificate, evidence: str, url: str) -> Found:
        return Found(
            certificate=certificate,
            level=Level.WEAK_CHAIN,
            source=NAME,
            evidence=evidence,
            url=url,
        )

    def _is_no_key(self, error: OpenPGPError) -> LookupFailed:
        return LookupFailed(f"the keyserver {self._host} answered with what is no key: {error}")


def keyserver_url(typed: str, *, proxied: bool) -> str:
    """A keyserver's address in one form; raises ValueError with a sentence.

    "keys.openpgp.org" is https://keys.openpgp.org. With a proxy, http is fine for an onion address (RFC 7686 1).
    """
    text = typed.strip()
    url = text if "://" in text else f"https://{text}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port, parts = None, None, urlsplit("")
    onion = (host or "").endswith(".onion")
    if onion and not proxied:
        raise ValueError(f"{host} is reached through Tor only: name its proxy with --proxy first")
    fine = host and ("." in host or host == "localhost" or is_literal(host)) and len(url) < 500
    if not fine or parts.username is not None or parts.query or parts.fragment or "\\" in text:
        raise ValueError(f"{text[:80]!r} is not the address of a keyserver: write https://HOST")
    if parts.scheme != "https" and not (onion and parts.scheme == "http"):
        raise ValueError(f"a keyserver's address begins with https://, not with {parts.scheme}://")
    where = f"[{host}]" if ":" in (host or "") else host
    return f"{parts.scheme}://{where}{f':{port}' if port else ''}{parts.path.rstrip('/')}"
