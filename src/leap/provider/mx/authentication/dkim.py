"""DKIM (RFC 6376): which domains signed a mail as it came.

Invariants:
* "pass" means: all octets of the body, and of each signed name all fields, are as the domain signed them. A signature
  that leaves an end of the body (l=) or one of two equal fields open is "policy": it verifies, and says too little.
* A DNS that does not answer gives temperror. What a mail holds raises nothing.
* `MAX_SIGNATURES` are looked at, those of the From's domain first.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass
from itertools import islice

from leap.mail.authentication_results import MAX_DKIM
from leap.mail.contract import DkimCheck
from leap.mail.message.dkim_signature import (
    FIELD,
    BadSignature,
    DkimSignature,
    parse_signature,
)
from leap.provider.mx.authentication.dkim_canonical import (
    HeaderField,
    body_digest,
    by_name,
    header_octets,
    plain_fields,
    signed_fields,
    split_mail,
)
from leap.provider.mx.authentication.dkim_key import ALGORITHMS, BadKey, find_key
from leap.provider.mx.authentication.dns_contract import NoAnswer, Resolver

MAX_SIGNATURES = MAX_DKIM
MAX_PARSED = 32  # fields; each costs 0.05 ms
MAX_SKEW = 24 * 3600  # seconds by which a signer's clock may be ahead
INLINE = 256 * 1024  # octets: a body up to this is hashed in 1 ms, a larger one beside the loop

# RFC 5322 3.6, RFC 2045: fields that stand once; of two, programs show either
SINGLE = frozenset(
    {
        "from",
        "sender",
        "reply-to",
        "to",
        "cc",
        "date",
        "subject",
        "message-id",
        "in-reply-to",
        "references",
        "mime-version",
        "content-type",
        "content-transfer-encoding",
    }
)


_SIGNATURE = re.compile(
    rb"^dkim-signature[ \t]*:([^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*)", re.IGNORECASE | re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A signature field, what it says, and why it cannot pass if it cannot."""

    field: HeaderField
    signature: DkimSignature | None
    result: str = ""

    @property
    def domain(self) -> str:
        return self.signature.domain if self.signature is not None else ""


class SignedMail:
    """A mail cut once, whose signatures are to be verified."""

    def __init__(self, raw: bytes, author_domain: str, now: float) -> None:
        self._raw = raw
        self._now = now
        header, self._body = split_mail(raw)
        plain = plain_fields(header)
        self._plain = plain is not None
        self._fields = by_name(plain if plain is not None else _any_fields(header))
        # what a list or a flood of forged ones puts on top keeps none of the author's away
        own = author_domain.encode("utf-8")
        signatures = sorted(self._fields.get(FIELD, ()), key=lambda one: own not in one.raw.lower())
        found = [self._candidate(one) for one in signatures[:MAX_PARSED]]
        found.sort(key=lambda one: one.domain != author_domain)
        self._candidates = found[:MAX_SIGNATURES]
        self._digests: dict[tuple[bool, int | None], tuple[bytes, int]] = {}

    async def verify(self, resolver: Resolver, seconds: float) -> tuple[DkimCheck, ...]:
        """The result of each signature; each waits for the DNS for `seconds` at most."""
        return tuple(
            await asyncio.gather(*(self._check(one, resolver, seconds) for one in self._candidates))
        )

    async def _check(self, one: _Candidate, resolver: Resolver, seconds: float) -> DkimCheck:
        result = one.result
        if one.signature is not None and not result:
            try:
                result = await self._verified(one.field, one.signature, resolver, seconds)
            except (NoAnswer, TimeoutError):
                result = "temperror"
            except BadKey as error:
                result = error.result
        return DkimCheck(result=result, domain=one.domain)

    def _candidate(self, field: HeaderField) -> _Candidate:
        try:
            signature = parse_signature(field.value)
        except BadSignature:
            return _Candidate(field, None, "permerror")
        if signature.algorithm == "rsa-sha1":  # RFC 8301 3.1
            return _Candidate(field, signature, "policy")
        if signature.algorithm not in ALGORITHMS:
            return _Candidate(field, signature, "permerror")
        if signature.expires is not None and signature.expires < self._now:
            return _Candidate(field, signature, "fail")
        if signature.created is not None and signature.created > self._now + MAX_SKEW:
            return _Candidate(field, signature, "policy")
        if not self._plain:
            return _Candidate(field, signature, "policy")
        return _Candidate(field, signature)

    async def _verified(
        self, field: HeaderField, signature: DkimSignature, resolver: Resolver, seconds: float
    ) -> str:
        async with asyncio.timeout(seconds):
            records = await resolver.txt(f"{signature.selector}._domainkey.{signature.domain}")
        key = find_key(records, signature.algorithm)
        if key.exact and signature.identity != signature.domain:  # RFC 6376 3.6.1, t=s
            return "permerror"
        if key.testing:  # RFC 6376 3.6.1, t=y: no better and no worse than without
            return "neutral"
        digest, length = await self._body_digest(signature.relaxed_body, signature.length)
        if signature.length is not None and signature.length > length:
            return "permerror"
        if digest != signature.body_hash:
            return "fail"
        signed = signed_fields(self._fields, signature.fields)
        data = header_octets(signed, field, relaxed=signature.relaxed_header)
        if not key.verifies(signature.signature, data, hashlib.sha256(data).digest()):
            return "fail"
        if signature.length is not None and signature.length < length:
            return "policy"
        return "pass" if self._covers_all(signature) else "policy"

    def _covers_all(self, signature: DkimSignature) -> bool:
        """Whether no field was added beside a signed one that should stand alone (RFC 6376 8.15)."""
        return all(
            signature.covers(name, len(self._fields.get(name, ())))
            for name in SINGLE & set(signature.fields)
        )

    async def _body_digest(self, relaxed: bool, length: int | None) -> tuple[bytes, int]:
        known = self._digests.get((relaxed, length))
        if known is not None:
            return known
        if len(self._raw) <= INLINE:
            made = body_digest(self._raw, self._body, relaxed=relaxed, length=length)
        else:
            made = await asyncio.to_thread(
                body_digest, self._raw, self._body, relaxed=relaxed, length=length
            )
        self._digests[relaxed, length] = made
        return made


def _any_fields(header: bytes) -> list[HeaderField]:
    """The signature fields of a header that is not plain, so that it can be told that there were some."""
    return [
        HeaderField(FIELD, found[0], found[1])
        for found in islice(_SIGNATURE.finditer(header), MAX_SIGNATURES)
    ]
