"""Keys attached to a mail (application/pgp-keys, RFC 3156 7), and the one that signed that very mail. Pure.

A mail signed by a key which it brings along shows that whoever wrote it has that key and that nobody changed the mail
or the key on the way. It does not show that From is true.

Invariants:
* Little is looked at, however much a mail attaches: `MAX_ATTACHED` parts, `MAX_CANDIDATES` certificates.
* Nothing here raises for what a mail holds, so that no attached key can keep a mail from being opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leap.keymanager.mail_material import MAX_ATTACHED, MAX_ATTACHED_OCTETS
from leap.keymanager.openpgp import (
    Certificate,
    OpenPGPError,
    RawSignature,
    read_certificates,
    verify_signatures,
)
from leap.mail.message.decoding import decode_body
from leap.mail.message.scanner import Part, scan

CONTENT_TYPE = b"application/pgp-keys"  # RFC 3156 7
MAX_CERTIFICATES = 8  # read of one part; `discovery.choosing` looks at as many
MAX_CANDIDATES = (
    2  # that carry From and may have signed: the same one may come twice, as of two days
)


def attached_keys(message: bytes) -> tuple[bytes, ...]:
    """The keys attached to a message or MIME entity, decoded, none over `MAX_ATTACHED_OCTETS`."""
    if CONTENT_TYPE not in message:
        return ()
    found = []
    for part in _own_parts(scan(message)):
        if part.content_type.encode() == CONTENT_TYPE and part.size <= 2 * MAX_ATTACHED_OCTETS:
            octets = decode_body(message, part)
            if len(octets) <= MAX_ATTACHED_OCTETS:
                found.append(octets)
            if len(found) == MAX_ATTACHED:
                break
    return tuple(found)


def attached_signer(
    attached: Sequence[bytes],
    data: bytes,
    signatures: Sequence[RawSignature],
    from_address: str,
    *,
    intended_for: Sequence[str],
    now: float,
) -> bytes | None:
    """That of the attached certificates which made one of the signatures over `data`, and may stand for the From.

    It carries the From, is neither revoked nor expired at `now`, and its signature is good. CPU: as much again as the
    verdicts took, and reading the certificates.
    """
    try:
        candidates = _candidates(attached, signatures, from_address, now)
        if not candidates:
            return None
        verdicts = verify_signatures(
            data,
            signatures,
            candidates,
            now=lambda: now,
            from_address=from_address,
            owners={from_address: frozenset(one.fingerprint for one in candidates)},
            intended_for=intended_for,
        )
        good = {one.fingerprint for one in verdicts if one.state == "good"}
        return next((one.binary for one in candidates if one.fingerprint in good), None)
    except (MemoryError, OSError):
        raise
    except Exception:  # a fault of ours that this key brings out must not keep the mail back
        return None


def _candidates(
    attached: Sequence[bytes], signatures: Sequence[RawSignature], from_address: str, now: float
) -> list[Certificate]:
    issuers = {issuer for one in signatures for issuer in one.issuers}
    found: list[Certificate] = []
    for octets in attached:
        try:
            certificates = read_certificates(octets)[:MAX_CERTIFICATES]
            found += (one for one in certificates if _may_be(one, issuers, from_address, now))
        except OpenPGPError:
            continue
    return found[:MAX_CANDIDATES]


def _may_be(certificate: Certificate, issuers: set[str], from_address: str, now: float) -> bool:
    return (
        not issuers.isdisjoint((*certificate.fingerprints, *certificate.key_ids))
        and from_address in certificate.addresses_at(now)
        and not certificate.revoked
        and (certificate.expires is None or now < certificate.expires)
    )


def _own_parts(root: Part) -> Iterator[Part]:
    """The parts of a mail, but not those of mails in it: what somebody else sent them is not their key."""
    stack = [root]
    while stack:
        part = stack.pop()
        yield part
        if not part.is_message:
            stack.extend(reversed(part.children))
