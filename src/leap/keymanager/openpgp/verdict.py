"""What to believe of each signature on a message: one verdict per signature, with the reason in words.

    state        | means
    good         | by this key, which was alive and allowed to sign then, and is bound to the From address
    bad          | by nobody: the data or the signature was changed, or the key may not sign
    unknown-key  | we do not have the key, or cannot compute with its kind; nothing can be said
    expired      | true, but the key or the signature had ended
    revoked      | true, but the key was revoked
    weak         | by a hash or key that can be forged today
    not-from     | true, but the key is not the one bound to the From address

Invariants:
* A state is never better than its evidence; whatever cannot be computed is not good.
* Whose key it is, the caller says (`owners`), who has a key ring. The user ids of a certificate are claims of
  whoever made it: anybody can write any address there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from leap.keymanager.canonical import canonical
from leap.keymanager.openpgp import algorithms
from leap.keymanager.openpgp.armor import dearmor
from leap.keymanager.openpgp.certificate import Certificate
from leap.keymanager.openpgp.component import address_of
from leap.keymanager.openpgp.contents import MAX_SIGNATURES
from leap.keymanager.openpgp.errors import Malformed, OpenPGPError, TooLarge, Unsupported
from leap.keymanager.openpgp.key_state import SIGN, KeyState
from leap.keymanager.openpgp.packets import Tag, read_packets
from leap.keymanager.openpgp.signature import Signature, SignatureType, text_form

State = Literal["good", "bad", "unknown-key", "expired", "revoked", "weak", "not-from"]
CLOCK_SKEW = (
    24 * 3600
)  # mail from a machine whose clock is ahead by less than a day is not called forged
MAX_CANDIDATES = 8  # keys tried for one signature; two with one 64-bit id are an attack already
_BEST_FIRST: tuple[State, ...] = ("good", "not-from", "expired", "revoked", "weak", "bad")
Owners = Mapping[str, Collection[str]]  # address -> fingerprints of the certificates bound to it

_NOBODY: Owners = MappingProxyType({})
_DAMAGED = "the signature itself is damaged"
_CHANGED = "the message was changed after it was signed, or the signature is not by this key"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The same fields as `SignatureVerdict` of the mail contract, and the name of the hash."""

    state: State
    fingerprint: str = ""  # of the certificate, upper hex; what was claimed when the key is unknown
    signer: str = ""
    created: int = 0
    reason: str = ""
    hash_name: str = ""


class RawSignature:
    """A signature packet as it came with a message, not yet judged."""

    __slots__ = ("_parsed", "_unsupported", "body")

    def __init__(self, body: bytes) -> None:
        self.body = body
        self._parsed: Signature | None = None
        self._unsupported = ""
        try:
            self._parsed = Signature(body)
        except Unsupported as error:
            self._unsupported = str(error)
        except OpenPGPError:
            pass

    def __repr__(self) -> str:
        return f"<RawSignature by {self.issuer or 'nobody named'}>"

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return RawSignature, (self.body,)

    @property
    def parsed(self) -> Signature | None:
        """None when it cannot be read."""
        return self._parsed

    @property
    def unsupported(self) -> str:
        """Why it cannot be read although nothing seems wrong with it, or an empty string."""
        return self._unsupported

    @property
    def issuer(self) -> str:
        """Fingerprint, else key id, of who says to have signed, in upper hex; empty when not said."""
        return self._parsed.issuer if self._parsed else ""

    @property
    def issuers(self) -> tuple[str, ...]:
        """Every fingerprint and key id it names, upper hex: what to look for in the keyring."""
        if self._parsed is None:
            return ()
        named = (*self._parsed.issuer_fingerprints, *self._parsed.issuer_key_ids)
        return tuple(dict.fromkeys(value.hex().upper() for value in named))

    @property
    def created(self) -> int:
        return self._parsed.created if self._parsed else 0


def read_signatures(data: bytes) -> tuple[RawSignature, ...]:
    """The signatures of a detached signature, armored or not; raises Malformed, TooLarge."""
    found = []
    for tag, body in read_packets(dearmor(data)):
        if tag in (Tag.MARKER, Tag.PADDING):
            continue
        if tag != Tag.SIGNATURE:
            raise Malformed("this is no detached signature")
        found.append(RawSignature(body))
        if len(found) > MAX_SIGNATURES:
            raise TooLarge(f"more than {MAX_SIGNATURES} signatures on one message")
    if not found:
        raise Malformed("there is no signature here")
    return tuple(found)


def verify_signatures(
    plaintext: bytes,
    signatures: Sequence[RawSignature],
    certificates: Iterable[Certificate],
    *,
    now: Callable[[], float] = time.time,
    from_address: str | None = None,
    owners: Owners = _NOBODY,
    intended_for: Collection[str] = (),
) -> tuple[Verdict, ...]:
    """One verdict per signature over `plaintext`, in their order.

    `from_address`: true signatures by a certificate which `owners` does not give for it get "not-from".
    `intended_for`: fingerprints of the reader's own keys (primary and subkeys); a signature that names recipients
    and none of them is bad: someone passes on what was said to somebody else. Leave it out when recipients are
    hidden.
    """
    known = list(certificates)
    judge = _Judge(plaintext, known, now(), from_address, owners, intended_for)
    return tuple(judge.judge(signature) for signature in signatures)


def verify_detached(
    data: bytes,
    signature: bytes,
    certificates: Iterable[Certificate],
    *,
    now: Callable[[], float] = time.time,
    from_address: str | None = None,
    owners: Owners = _NOBODY,
) -> tuple[Verdict, ...]:
    """One verdict per signature in a detached signature (armored or not) over `data`, whose line ends count.

    Raises Malformed, TooLarge when `signature` is none.
    """
    found = read_signatures(signature)
    return verify_signatures(
        data, found, certificates, now=now, from_address=from_address, owners=owners
    )


class _Judge:
    def __init__(
        self,
        data: bytes,
        certificates: list[Certificate],
        now: float,
        from_address: str | None,
        owners: Owners,
        intended_for: Collection[str],
    ) -> None:
        self._data = data
        self._text: bytes | None = None
        self._certificates = [(known, known.keys_at(now)) for known in certificates]
        self._now = now
        self._from = canonical(from_address) if from_address is not None else None
        self._bound: frozenset[str] | None = (
            None  # fingerprints; None: whose key it is does not matter
        )
        if self._from is not None:
            bound = (fps for address, fps in owners.items() if canonical(address) == self._from)
            self._bound = frozenset(fingerprint.upper() for fps in bound for fingerprint in fps)
        self._intended_for = {fingerprint.upper() for fingerprint in intended_for}

    def judge(self, raw: RawSignature) -> Verdict:
        signature = raw.parsed
        if signature is None:
            if raw.unsupported:
                return Verdict(state="unknown-key", reason=raw.unsupported)
            return Verdict(state="bad", reason=_DAMAGED)
        if signature.kind not in (SignatureType.BINARY, SignatureType.TEXT):
            return self._say(signature, "bad", "it is a signature on a key, not on a message")
        candidates = self._candidates(signature)
        if not candidates:
            return self._say(signature, "unknown-key", "the signer's key is not known here")
        failed: State = "bad"
        reason = _CHANGED
        verdicts = []
        for certificate, state in candidates:
            try:
                if signature.is_over((self._content(signature),), state.key):
                    verdicts.append(self._judge_true(signature, certificate, state))
            except OpenPGPError as error:
                # what nobody here can compute is no reason to call the mail forged
                failed = "unknown-key" if isinstance(error, Unsupported) else "bad"
                reason = str(error)
        if not verdicts:
            return self._say(signature, failed, reason, candidates[0][0])
        # what the From's own certificate says of its key counts before what others say who carry it, too
        return min(verdicts, key=lambda v: (not self._is_bound(v), _BEST_FIRST.index(v.state)))

    def _candidates(self, signature: Signature) -> list[tuple[Certificate, KeyState]]:
        """Keys that may have made it, those of the From first.

        One that may not sign counts only when there is no other: a certificate can carry anybody's key as its
        encryption subkey, and must not spoil its owner's signatures by that.
        """
        found = [
            (certificate, state)
            for certificate, states in self._certificates
            for state in states
            if signature.may_be_by(state.key)
        ]
        fit = [pair for pair in found if pair[1].flags & SIGN] or found
        fit.sort(key=lambda pair: pair[0].fingerprint not in (self._bound or ()))
        return fit[:MAX_CANDIDATES]

    def _is_bound(self, verdict: Verdict) -> bool:
        return self._bound is not None and verdict.fingerprint in self._bound

    def _content(self, signature: Signature) -> bytes:
        if signature.kind == SignatureType.BINARY:
            return self._data
        if self._text is None:
            self._text = text_form(self._data)
        return self._text

    def _judge_true(
        self, signature: Signature, certificate: Certificate, state: KeyState
    ) -> Verdict:
        """The mathematics is right; may this key say so, and then?"""
        head = certificate.keys_at(self._now)[0]
        made, now = signature.created, self._now
        verdict: tuple[State, str] = ("good", "")
        if signature.unusable:
            verdict = "bad", signature.unusable
        elif signature.version == 3:
            verdict = "weak", "it is in a form that programs have not written for many years"
        elif algorithms.hash_algorithm(signature.hash_number).weak:
            verdict = "weak", f"{signature.hash_name} signatures can be forged today"
        elif algorithms.is_too_short(signature.hash_number, state.key.algorithm):
            verdict = "weak", f"{signature.hash_name} is too short for this kind of key"
        elif state.key.too_weak or head.key.too_weak:
            verdict = "weak", state.key.too_weak or head.key.too_weak
        elif made > now + CLOCK_SKEW:
            verdict = "bad", "it is dated in the future"
        elif not state.flags & SIGN:
            verdict = "bad", "this key is not meant for signing"
        elif made < max(state.key.created, head.key.created):
            verdict = "bad", "it is dated before its key was made"
        elif state.is_revoked(made) or head.is_revoked(made):
            verdict = "revoked", "the key is revoked"
        elif state.has_expired(made) or head.has_expired(made):
            verdict = "expired", "the key had expired when this was signed"
        elif signature.expires is not None and now >= signature.expires:
            verdict = "expired", "the signature was only good for a time, which is over"
        elif self._is_for_another(signature):
            verdict = "bad", "it was made for another recipient"
        elif self._bound is not None and certificate.fingerprint not in self._bound:
            verdict = "not-from", f"the key does not belong to {self._from}"
        return self._say(signature, *verdict, certificate)

    def _is_for_another(self, signature: Signature) -> bool:
        named = {value.hex().upper() for value in signature.intended_recipients}
        return bool(named and self._intended_for) and not named & self._intended_for

    def _say(
        self,
        signature: Signature,
        state: State,
        reason: str,
        certificate: Certificate | None = None,
    ) -> Verdict:
        return Verdict(
            state=state,
            fingerprint=certificate.fingerprint if certificate else signature.issuer,
            signer=self._signer(certificate) if certificate else "",
            created=signature.created,
            reason=reason,
            hash_name=signature.hash_name,
        )

    def _signer(self, certificate: Certificate) -> str:
        """Who it is by: for a key bound to the From that address, whatever else stands on the key."""
        if self._from and self._bound and certificate.fingerprint in self._bound:
            own = (text for text in certificate.user_ids if address_of(text) == self._from)
            return next(own, self._from)
        return certificate.user_ids[0] if certificate.user_ids else ""
