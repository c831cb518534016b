"""DMARC (RFC 9989): whether the domain that From names stands behind a mail.

Invariants:
* Only a From with one address beyond doubt is judged; any other is permerror.
* A pass needs a pass of SPF or DKIM by the same organization. A DNS that does not answer gives temperror, never a pass.
* Eight questions a walk at most, whatever the name (4.10).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass

from leap.provider.mx.authentication.dmarc_record import DmarcRecord, find_record
from leap.provider.mx.authentication.dns_contract import NoAnswer, Resolver

MAX_LABELS = (
    8  # RFC 9989 4.10: of longer names all but the last seven are skipped after the first question
)

_DOMAIN = re.compile(
    r"(?=.{3,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)


@dataclass(frozen=True, slots=True)
class Identity:
    """A domain that SPF or DKIM found, with their word for it."""

    domain: str
    result: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result, whose policy was asked for, and what it asks for when it fails ("" where there is none)."""

    result: str
    domain: str = ""
    policy: str = ""


@dataclass(frozen=True, slots=True)
class AuthorPolicy:
    """What the DNS says of an author's domain: the record that counts for it, and where its organization begins."""

    domain: str
    record: DmarcRecord
    policy: str
    organization: str


def is_domain(name: str) -> bool:
    """Whether a name, in A-labels and lower case, can be one of a mail address with DMARC."""
    return _DOMAIN.fullmatch(name) is not None


async def find_policy(resolver: Resolver, domain: str) -> AuthorPolicy | None:
    """The policy for an author's domain; None when nobody asks for anything. Raises NoAnswer."""
    records = await _walk(resolver, domain)
    organization = _organization(domain, records)
    # RFC 9989 4.10.1: that of the name itself, else of its organization, else of whoever registers names there
    own = records.get(domain)
    if own is not None:
        return AuthorPolicy(domain, own, own.policy, organization)
    above = records.get(organization)
    if above is None:
        above = next((one for one in records.values() if one.psd == "y"), None)
    if above is None:
        return None
    policy = above.subdomains
    if above.missing != policy and not await _exists(resolver, domain):
        policy = above.missing
    return AuthorPolicy(domain, above, policy, organization)


async def judge(
    resolver: Resolver,
    policy: AuthorPolicy | None,
    domain: str,
    spf: Identity,
    dkim: Iterable[Identity],
) -> Verdict:
    """The verdict for a mail whose author's domain has this policy."""
    if policy is None:
        return Verdict("none", domain)
    verdict = Verdict("fail", domain, policy.policy)
    identities = [(spf, policy.record.strict_spf)]
    identities += [(one, policy.record.strict_dkim) for one in dkim]
    unsure = False
    for identity, strict in identities:
        if identity.result not in ("pass", "temperror"):
            continue
        try:
            aligned = await _is_aligned(resolver, policy, identity.domain, strict=strict)
        except NoAnswer:
            unsure = True
            continue
        if aligned and identity.result == "pass":
            return Verdict("pass", domain, policy.policy)
        unsure = unsure or aligned
    return Verdict("temperror", domain, policy.policy) if unsure else verdict


async def _is_aligned(
    resolver: Resolver, policy: AuthorPolicy, domain: str, *, strict: bool
) -> bool:
    """RFC 9989 4.10.2."""
    if domain == policy.domain:
        return True
    organization = policy.organization
    if strict or not is_domain(domain):
        return False
    if domain != organization and not domain.endswith(f".{organization}"):
        return False  # the organization of a name is the name or one above it
    return _organization(domain, await _walk(resolver, domain)) == organization


async def _walk(resolver: Resolver, domain: str) -> dict[str, DmarcRecord]:
    """The records found on the way up from a domain, by name (RFC 9989 4.10)."""
    labels = domain.split(".")
    names = [domain]
    rest = labels[1:] if len(labels) < MAX_LABELS else labels[-(MAX_LABELS - 1) :]
    names += [".".join(rest[index:]) for index in range(len(rest))]
    # together: one after the other, each level of a name would be a wait
    answers = await asyncio.gather(
        *(resolver.txt(f"_dmarc.{name}") for name in names), return_exceptions=True
    )
    found: dict[str, DmarcRecord] = {}
    for name, texts in zip(names, answers, strict=True):
        if isinstance(texts, BaseException):
            raise texts
        record = find_record(texts)
        if record is not None:
            found[name] = record
            if record.psd != "u":
                break
    return found


def _organization(domain: str, records: dict[str, DmarcRecord]) -> str:
    """Where the organization of a domain begins (RFC 9989 4.10.2)."""
    for name, record in records.items():
        if record.psd == "n":
            return name
        if record.psd == "y" and name != domain:
            below = domain[: -len(name) - 1].rpartition(".")[2]
            return f"{below}.{name}"
    return min(records, key=lambda name: name.count("."), default=domain)


async def _exists(resolver: Resolver, domain: str) -> bool:
    """Whether a name has what mail needs (RFC 9989 3.2.13: a domain without A, AAAA and MX does not exist)."""
    return bool(
        await resolver.exchangers(domain)
        or await resolver.addresses(domain, 4)
        or await resolver.addresses(domain, 6)
    )
