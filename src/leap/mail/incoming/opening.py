"""One arrived mail opened: decrypted, its signatures judged, and put together as it will be served. Pure.

Invariants:
* A mail is never lost here: what cannot be decrypted or understood is served as it came, and says so.
* A signature counts as "good" only when its key is the one the key ring has for the one address of the one From a
  person sees; what addresses the key itself claims says nothing.
* A protected From that differs from the outer one is believed only with a good signature (RFC 9788 4.4).
* What only the provider sealed is called "provider", whatever it claims.
* A key that came with the mail makes no signature on it "good": that it signed is told apart (`attached_signer`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from leap.keymanager.openpgp import (
    OpenPGPError,
    RawSignature,
    SecretKey,
    Verdict,
    decrypt,
    read_signatures,
    verify_signatures,
)
from leap.mail.contract import SecurityStatus, SignatureVerdict
from leap.mail.incoming.assembly import Assembled, assemble, assemble_unprotected, from_address_of
from leap.mail.incoming.attached_keys import attached_keys, attached_signer
from leap.mail.incoming.security_fields import MAX_SIGNATURES, with_security_fields, without_forged
from leap.mail.incoming.senders import Senders
from leap.mail.incoming.signed import find_signed
from leap.mail.message.header_lines import empty_line
from leap.mail.outgoing.pgp_mime import (
    find_ciphertext,
    find_inline_ciphertext,
    is_smime_encrypted,
)

MAX_INNER_HEADER = 256 * 1024  # octets looked through; one with 64 keys of gossip has some 70 kB
MAX_PLAINTEXT = 64 * 1024 * 1024  # octets a mail may unpack to; 50 MiB travel


@dataclass(frozen=True, slots=True)
class Opened:
    """What is stored: the octets served, what to believe, and the mail as it came when it was encrypted.

    Of mail encrypted end to end, `inner_header` is that of the payload, and `from_address` whom the served From names.
    `attached_signer` is the certificate attached to the mail, within what is signed, which signed it and carries its
    From; only where no signature is good.
    """

    served: bytes = field(repr=False)
    security: SecurityStatus
    original: bytes | None = field(repr=False)
    inner_header: bytes | None = field(repr=False, default=None)
    from_address: str | None = field(repr=False, default=None)
    attached_signer: bytes | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class _Judged:
    verdicts: tuple[SignatureVerdict, ...] = ()
    attached_signer: bytes | None = field(repr=False, default=None)

    @property
    def good(self) -> bool:
        return any(one.state == "good" for one in self.verdicts)


@dataclass(frozen=True, slots=True)
class _Layer:
    """The outermost layer of a mail."""

    ciphertext: bytes | None = field(default=None, repr=False)
    inline: bool = False
    signed: bytes | None = field(default=None, repr=False)
    signature: bytes = field(default=b"", repr=False)
    smime: bool = False


def open_mail(
    raw: bytes, own_keys: Sequence[SecretKey], senders: Senders, *, own_domain: str, now: float
) -> Opened:
    """Opens a mail that came out of its inbox seal; `now` is in seconds since 1970.

    Raises SendersWanted when `senders` does not say whose key may have signed it, and nothing else. CPU: 1 ms,
    and 20 ms a megabyte, in steps of a few milliseconds.
    """
    layer = _outermost(raw, own_domain)
    reader = _Reader(own_keys, senders, own_domain, now)
    if layer.ciphertext is not None:
        return reader.encrypted(raw, layer.ciphertext, inline=layer.inline)
    if layer.smime:
        note = "S/MIME encrypted; it is kept as it came."
        return reader.as_it_came(raw, SecurityStatus(encryption="undecryptable", note=note))
    judged = _Judged()
    if layer.signed is not None:
        judged = reader.detached(raw, layer.signed, layer.signature)
    status = SecurityStatus(encryption="provider", signatures=judged.verdicts)
    return reader.as_it_came(raw, status, judged.attached_signer)


def unopened(raw: bytes, own_domain: str) -> Opened:
    """The mail as it came, for one that this version fails at."""
    note = "This version could not open it; it is kept as it came."
    status = SecurityStatus(encryption="undecryptable", note=note)
    return Opened(with_security_fields(status, without_forged(raw, own_domain)), status, None)


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
    def __init__(
        self, own_keys: Sequence[SecretKey], senders: Senders, own_domain: str, now: float
    ) -> None:
        self._own_keys = own_keys
        self._senders = senders
        self._own_domain = own_domain
        self._now = now

    def as_it_came(
        self, raw: bytes, status: SecurityStatus, attached_signer: bytes | None = None
    ) -> Opened:
        message = without_forged(raw, self._own_domain)
        served = with_security_fields(status, message)
        return Opened(served, status, None, attached_signer=attached_signer)

    def encrypted(self, raw: bytes, ciphertext: bytes, *, inline: bool) -> Opened:
        own = self._own_keys
        try:
            opened = decrypt(ciphertext, own, max_size=MAX_PLAINTEXT)
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
        assembled = assemble(raw, payload, self._own_domain)
        readers = [fingerprint for key in own for fingerprint in key.certificate.fingerprints]
        judged = self._judge(
            payload, opened.signatures, assembled.from_address, readers, assembled.message
        )
        note, signer = "", judged.attached_signer
        if _from_differs(assembled) and not judged.good:
            # a key that came along must not be learnt for a From which is not served
            signer = None
            # The verdicts stay those about the From inside: it is what was signed, or was not.
            assembled = assemble_unprotected(raw, payload, self._own_domain)
            note = "The protected From differs from the outer one and no signature backs it."
        status = SecurityStatus(encryption="end-to-end", signatures=judged.verdicts, note=note)
        served = with_security_fields(status, assembled.message)
        inner = payload[:MAX_INNER_HEADER]
        header = inner[: empty_line(inner)]
        return Opened(served, status, raw, header, assembled.from_address, signer)

    def detached(self, raw: bytes, signed: bytes, signature: bytes) -> _Judged:
        try:
            found = read_signatures(signature)
        except OpenPGPError as error:
            return _Judged((SignatureVerdict(state="bad", reason=_sentence(error)),))
        message = without_forged(raw, self._own_domain)
        return self._judge(signed, found, from_address_of(message), (), signed)

    def _judge(
        self,
        data: bytes,
        signatures: Sequence[RawSignature],
        from_address: str | None,
        readers: Sequence[str],
        entity: bytes,
    ) -> _Judged:
        """`entity`: the MIME entity that `data` is, with what it attaches."""
        signatures = signatures[:MAX_SIGNATURES]
        if not signatures:
            return _Judged()
        issuers = {issuer for one in signatures for issuer in one.issuers}
        bound, certificates = self._senders.of(from_address, issuers)
        # An address nobody has: without one From beyond doubt, no key can belong to it.
        sender = (from_address or "").lower()
        verdicts = verify_signatures(
            data,
            signatures,
            certificates,
            now=lambda: self._now,
            from_address=sender,
            owners={sender: frozenset(one.fingerprint for one in bound)},
            intended_for=readers,
        )
        judged = tuple(_verdict(one, from_address) for one in verdicts)
        if from_address is None or any(one.state == "good" for one in judged):
            return _Judged(judged)
        # a key that is known as another address's may be this one's as well
        strange = [
            raw
            for raw, one in zip(signatures, verdicts, strict=True)
            if one.state in ("unknown-key", "not-from")
        ]
        attached = attached_keys(entity) if strange else ()
        signer = None
        if attached:
            signer = attached_signer(
                attached, data, strange, sender, intended_for=readers, now=self._now
            )
        return _Judged(judged, signer)


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
