"""One arrived mail opened: decrypted, its signatures judged, and put together as it will be served.

Invariants:
* A mail is never lost here: what cannot be decrypted or understood is served as it came, and says so.
* A signature counts as "good" only when its key is the one the key ring has for the one address of the one From a
  person sees; what addresses the key itself claims says nothing.
* A protected From that differs from the outer one is believed only with a good signature (RFC 9788 4.4).
* What only the provider sealed is called "provider", whatever it claims.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import ParamSpec, Protocol, TypeVar

from leap.keymanager.openpgp import (
    Certificate,
    OpenPGPError,
    RawSignature,
    SecretKey,
    Verdict,
    read_signatures,
)
from leap.keymanager.openpgp import offload as openpgp
from leap.mail.contract import SecurityStatus, SignatureVerdict
from leap.mail.incoming.assembly import Assembled, assemble, assemble_unprotected, from_address_of
from leap.mail.incoming.security_fields import MAX_SIGNATURES, with_security_fields, without_forged
from leap.mail.incoming.signed import find_signed
from leap.mail.outgoing.addresses import domain_of, without_tag
from leap.mail.outgoing.pgp_mime import (
    find_ciphertext,
    find_inline_ciphertext,
    is_smime_encrypted,
)

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

MAX_PLAINTEXT = 64 * 1024 * 1024  # octets a mail may unpack to; 50 MiB travel
LOOKUP_SECONDS = 10.0  # for the key of a signer who is not in the ring yet
_OFF_LOOP = 64 * 1024  # octets from which looking through a mail leaves the event loop


class SignerKeys(Protocol):
    """What receiving needs of `leap.keymanager.keys.KeyManager`."""

    async def own_keys(self) -> Sequence[SecretKey]: ...

    async def find_signers(self, issuers: Iterable[str]) -> Sequence[Certificate]:
        """Certificates in the ring with any of these fingerprints or key ids."""
        ...

    async def find_bound(self, address: str, *, seconds: float) -> Sequence[Certificate]:
        """Those that stand for an address; looked up for at most `seconds` when there is none."""
        ...


@dataclass(frozen=True, slots=True)
class Opened:
    """What is stored: the octets served, what to believe, and the mail as it came when it was encrypted."""

    served: bytes = field(repr=False)
    security: SecurityStatus
    original: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Layer:
    """The outermost layer of a mail."""

    ciphertext: bytes | None = field(default=None, repr=False)
    inline: bool = False
    signed: bytes | None = field(default=None, repr=False)
    signature: bytes = field(default=b"", repr=False)
    smime: bool = False


async def open_mail(
    raw: bytes, keys: SignerKeys, *, own_domain: str, now: Callable[[], float] = time.time
) -> Opened:
    """Opens a mail that came out of its inbox seal. Raises only what the key manager's store raises."""
    layer = await _off_loop(len(raw), _outermost, raw, own_domain)
    reader = _Reader(keys, own_domain, now)
    if layer.ciphertext is not None:
        return await reader.encrypted(raw, layer.ciphertext, inline=layer.inline)
    if layer.smime:
        note = "S/MIME encrypted; it is kept as it came."
        return reader.as_it_came(raw, SecurityStatus(encryption="undecryptable", note=note))
    signatures: tuple[SignatureVerdict, ...] = ()
    if layer.signed is not None:
        signatures = await reader.detached(raw, layer.signed, layer.signature)
    return reader.as_it_came(raw, SecurityStatus(encryption="provider", signatures=signatures))


def _outermost(raw: bytes, own_domain: str) -> _Layer:
    ciphertext = find_ciphertext(raw)
    if ciphertext is not None:
        return _Layer(ciphertext=ciphertext)
    inline = find_inline_ciphertext(raw)
    if inline is not None:
        return _Layer(ciphertext=inline, inline=True)
    parts = find_signed(without_forged(raw, own_domain))  # the bytes that will be served
    if parts is not None:
        return _Layer(signed=parts.signed, signature=parts.signature)
    return _Layer(smime=is_smime_encrypted(raw))


class _Reader:
    def __init__(self, keys: SignerKeys, own_domain: str, now: Callable[[], float]) -> None:
        self._keys = keys
        self._own_domain = own_domain
        self._now = now

    def as_it_came(self, raw: bytes, status: SecurityStatus) -> Opened:
        message = without_forged(raw, self._own_domain)
        return Opened(with_security_fields(status, message), status, None)

    async def encrypted(self, raw: bytes, ciphertext: bytes, *, inline: bool) -> Opened:
        own = await self._keys.own_keys()
        try:
            opened = await openpgp.decrypt(ciphertext, own, max_size=MAX_PLAINTEXT)
        except OpenPGPError as error:
            return self.as_it_came(
                raw, SecurityStatus(encryption="undecryptable", note=_sentence(error))
            )
        if inline:
            # The text stays as it came until inline layers are shown apart: what stands around one, and
            # its charset, are nobody's word (docs/rfcs.md, inline PGP).
            note = "Inline PGP; it is kept as it came."
            return self.as_it_came(raw, SecurityStatus(encryption="undecryptable", note=note))
        payload = opened.plaintext
        assembled = await _off_loop(len(payload), assemble, raw, payload, self._own_domain)
        readers = [fingerprint for key in own for fingerprint in key.certificate.fingerprints]
        verdicts = await self._judge(payload, opened.signatures, assembled.from_address, readers)
        note = ""
        if _from_differs(assembled) and not any(one.state == "good" for one in verdicts):
            # The verdicts stay those about the From inside: it is what was signed, or was not.
            assembled = await _off_loop(
                len(payload), assemble_unprotected, raw, payload, self._own_domain
            )
            note = "The protected From differs from the outer one and no signature backs it."
        status = SecurityStatus(encryption="end-to-end", signatures=verdicts, note=note)
        return Opened(with_security_fields(status, assembled.message), status, raw)

    async def detached(
        self, raw: bytes, signed: bytes, signature: bytes
    ) -> tuple[SignatureVerdict, ...]:
        try:
            found = read_signatures(signature)
        except OpenPGPError as error:
            return (SignatureVerdict(state="bad", reason=_sentence(error)),)
        message = without_forged(raw, self._own_domain)
        return await self._judge(signed, found, from_address_of(message), ())

    async def _judge(
        self,
        data: bytes,
        signatures: Sequence[RawSignature],
        from_address: str | None,
        readers: Sequence[str],
    ) -> tuple[SignatureVerdict, ...]:
        signatures = signatures[:MAX_SIGNATURES]
        if not signatures:
            return ()
        issuers = {issuer for one in signatures for issuer in one.issuers}
        bound = await self._bound(from_address)
        known = {one.fingerprint: one for one in await self._keys.find_signers(issuers)}
        known.update((one.fingerprint, one) for one in bound)
        # An address nobody has: without one From beyond doubt, no key can belong to it.
        sender = (from_address or "").lower()
        verdicts = await openpgp.verify_signatures(
            data,
            signatures,
            list(known.values()),
            now=self._now(),
            from_address=sender,
            owners={sender: frozenset(one.fingerprint for one in bound)},
            intended_for=readers,
        )
        return tuple(_verdict(one, from_address) for one in verdicts)

    async def _bound(self, from_address: str | None) -> Sequence[Certificate]:
        """The certificates whose signatures may count as the From's own."""
        if from_address is None:
            return ()
        own = domain_of(from_address) == self._own_domain
        # Our provider gives alice+tag@ to alice@ and to nobody else.
        name = without_tag(from_address) if own else from_address
        try:
            return await self._keys.find_bound(name, seconds=LOOKUP_SECONDS)
        except Exception as error:
            # Then the verdict is "unknown-key" or "not-from": nobody said that it is the sender's key.
            logger.info("a sender's key could not be looked up: %s", type(error).__name__)
            return ()


def _from_differs(assembled: Assembled) -> bool:
    return assembled.headers_protected and (
        assembled.from_address is None or assembled.from_address != assembled.outer_from
    )


def _verdict(found: Verdict, from_address: str | None) -> SignatureVerdict:
    state, reason = found.state, found.reason
    if state == "good" and from_address is None:
        state, reason = "not-from", "the mail does not say beyond doubt who it is from"
    return SignatureVerdict(
        state=state,
        fingerprint=found.fingerprint,
        signer=_address_in(found.signer),
        created=found.created,
        reason=reason,
    )


def _address_in(user_id: str) -> str:
    """The address of a user id "Name <address>"."""
    return user_id[user_id.rfind("<") + 1 :].rstrip(">") if user_id.endswith(">") else user_id


def _sentence(error: OpenPGPError) -> str:
    text = str(error) or "it could not be opened"
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


async def _off_loop(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    if size < _OFF_LOOP:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
