"""A mail that comes from outside, checked: SPF, DKIM and DMARC, in bounded time.

Invariants:
* A mail never waits longer than `seconds` for the DNS, and is never lost for it: what did not answer is "temperror".
* From is read as the receiving program reads it: one address of one field beyond doubt, or nobody's.
* What is wrong in a check makes no mail bounce; what is not known is never a pass.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from leap.keymanager.canonical import canonical
from leap.mail.contract import DkimCheck, ProviderChecks
from leap.mail.outgoing.addresses import domain_of, only_address
from leap.mail.outgoing.field_lines import header_fields, values_of
from leap.provider.mx.authentication.dkim import SignedMail
from leap.provider.mx.authentication.dkim_canonical import split_mail
from leap.provider.mx.authentication.dmarc import (
    AuthorPolicy,
    Identity,
    Verdict,
    find_policy,
    is_domain,
    judge,
)
from leap.provider.mx.authentication.dns_contract import NoAnswer, Resolver
from leap.provider.mx.authentication.spf import check_host, peer_address

log = logging.getLogger(__name__)

SECONDS = 4.0  # for the DNS, all in all; a sender waits ten minutes for the answer to its mail (RFC 5321 4.5.3.2.6)
INLINE_HEADER = 8 * 1024  # octets read on the loop: 2 ms, be its fields ever so short
MAX_HEADER = 256 * 1024  # octets; a longer one is made to be long, and would keep the loop


class MailChecks:
    """Checks mail for one MX; `seconds` is how long one mail may wait."""

    def __init__(
        self,
        resolver: Resolver,
        *,
        seconds: float = SECONDS,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._resolver = resolver
        self._seconds = seconds
        self._now = now

    async def check(self, *, peer: str, helo: str, sender: str, raw: bytes) -> ProviderChecks:
        """What can be said of a mail that `peer` brought, with this MAIL FROM ("" the null sender). Never raises."""
        try:
            return await self._check(peer, helo, sender, raw)
        except Exception as error:  # a fault of ours: nothing is known, and the mail goes on
            log.error("a mail could not be checked: %s", type(error).__name__)
            return ProviderChecks(spf="temperror", dmarc="temperror")

    async def _check(self, peer: str, helo: str, sender: str, raw: bytes) -> ProviderChecks:
        header = split_mail(raw)[1]
        if header > MAX_HEADER:
            return ProviderChecks(dmarc="permerror")
        if header <= INLINE_HEADER:
            author, mail = self._read(raw)
        else:
            author, mail = await asyncio.to_thread(self._read, raw)
        # each with the same time from now; judging comes after, from what is cached by then
        part = self._seconds * 0.75
        spf, dkim, policy = await asyncio.gather(
            self._spf(peer, helo, sender, part),
            mail.verify(self._resolver, part),
            self._policy(author, part),
        )
        verdict = await self._verdict(author, policy, spf, dkim)
        return ProviderChecks(
            spf=spf.result,
            spf_domain=spf.domain,
            dkim=dkim,
            dmarc=verdict.result,
            dmarc_domain=verdict.domain,
            policy=verdict.policy,
        )

    def _read(self, raw: bytes) -> tuple[str | None, SignedMail]:
        author = _author_domain(raw)
        return author, SignedMail(raw, author or "", self._now())

    async def _spf(self, peer: str, helo: str, sender: str, seconds: float) -> Identity:
        """For the domain of MAIL FROM, or of HELO when there is none (RFC 7208 2.4)."""
        address = peer_address(peer)
        domain = domain_of(sender) if sender else canonical(f"x@{helo}").rpartition("@")[2]
        if address is None or not is_domain(domain):
            return Identity("", "none")
        try:
            async with asyncio.timeout(seconds):
                result = await check_host(self._resolver, address, domain, sender, helo)
        except (TimeoutError, NoAnswer):
            result = "temperror"
        return Identity(domain, result)

    async def _policy(self, author: str | None, seconds: float) -> AuthorPolicy | Verdict | None:
        """The policy for an author, or a verdict where there can be none."""
        if author is None:
            return Verdict("permerror")
        try:
            async with asyncio.timeout(seconds):
                return await find_policy(self._resolver, author)
        except (TimeoutError, NoAnswer):
            return Verdict("temperror", author)

    async def _verdict(
        self,
        author: str | None,
        policy: AuthorPolicy | Verdict | None,
        spf: Identity,
        dkim: tuple[DkimCheck, ...],
    ) -> Verdict:
        if isinstance(policy, Verdict) or author is None:
            return policy if isinstance(policy, Verdict) else Verdict("permerror")
        signed = [Identity(one.domain, one.result) for one in dkim]
        try:
            async with asyncio.timeout(self._seconds / 4):
                return await judge(self._resolver, policy, author, spf, signed)
        except TimeoutError:
            return Verdict("temperror", author, policy.policy if policy else "")


def submitted_by(account: str) -> ProviderChecks:
    """Of a mail that an account of this provider submitted: it logged in, and From is its own. Nothing else counts."""
    return ProviderChecks(submitter=account)


def _author_domain(raw: bytes) -> str | None:
    """The domain that From names; None when that is not beyond doubt."""
    author = only_address(values_of(header_fields(raw), "from"))
    domain = domain_of(author) if author is not None else ""
    return domain if is_domain(domain) else None
