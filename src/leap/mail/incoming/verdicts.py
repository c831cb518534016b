"""The signatures of one layer judged against the one From a person sees beside it. Pure.

Invariants:
* A signature counts as "good" only when its key is the one the key ring has for the one address of the one From a
  person sees, and nothing in that From could be taken for another address.
* A key that came with the mail makes no signature on it "good": that it signed is told apart (`attached_signer`).
* Whom nobody looked up yet is asked for once, for all layers together (`Judge.asked`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from leap.keymanager.openpgp import (
    OpenPGPError,
    RawSignature,
    Verdict,
    read_signatures,
    verify_signatures,
)
from leap.mail.contract import SignatureVerdict
from leap.mail.incoming.attached_keys import attached_keys, attached_signer
from leap.mail.incoming.security_fields import MAX_SIGNATURES
from leap.mail.incoming.senders import Senders, SendersWanted
from leap.mail.incoming.shown_sender import ShownSender

MAX_JUDGED = 16  # layers of one mail whose signatures are judged: each may cost a look-up
_TOO_MANY = "the mail has more signed parts than are looked at"


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdicts of a layer; `attached_signer` as in `opening.Opened`."""

    verdicts: tuple[SignatureVerdict, ...] = ()
    attached_signer: bytes | None = field(repr=False, default=None)

    @property
    def good(self) -> bool:
        return any(one.state == "good" for one in self.verdicts)


class Judge:
    """Judges the layers of one mail; what must be looked up first is remembered in `asked`."""

    def __init__(self, senders: Senders, readers: Sequence[str], now: float) -> None:
        """`readers` are fingerprints of the reader's own keys."""
        self._senders = senders
        self._readers = readers
        self._now = now
        self._judged = 0
        self.asked: list[SendersWanted] = []

    def detached(self, data: bytes, signature: bytes, sender: ShownSender) -> Judged:
        """A signature as `application/pgp-signature` has it, over a MIME entity."""
        try:
            found = read_signatures(signature)
        except OpenPGPError as error:
            return Judged((SignatureVerdict(state="bad", reason=sentence(error)),))
        judged = self.signatures(data, found, sender, entity=data)
        if b"\n" in data.replace(b"\r\n", b"") and not judged.good:
            # RFC 3156 5: CRLF is what was signed, also where decryption gave lines another end
            as_sent = data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
            again = self.signatures(as_sent, found, sender, entity=data)
            if again.good or all(one.state == "bad" for one in judged.verdicts):
                return again
        return judged

    def signatures(
        self,
        data: bytes,
        signatures: Sequence[RawSignature],
        sender: ShownSender,
        *,
        entity: bytes | None,
        encrypted: bool = False,
    ) -> Judged:
        """One verdict for each signature over `data`; `entity` is the MIME entity that `data` is, if it is one."""
        signatures = signatures[:MAX_SIGNATURES]
        if not signatures:
            return Judged()
        self._judged += 1
        if self._judged > MAX_JUDGED:
            return Judged((SignatureVerdict(state="unknown-key", reason=_TOO_MANY),))
        issuers = {issuer for one in signatures for issuer in one.issuers}
        try:
            bound, certificates = self._senders.of(sender.address, issuers)
        except SendersWanted as wanted:
            self.asked.append(wanted)
            return Judged()
        # An address nobody has: without one From beyond doubt, no key can belong to it.
        address = (sender.address or "").lower()
        readers = self._readers if encrypted else ()
        found = verify_signatures(
            data,
            signatures,
            certificates,
            now=lambda: self._now,
            from_address=address,
            owners={address: frozenset(one.fingerprint for one in bound)},
            intended_for=readers,
        )
        level = self._senders.levels.get(sender.address or "", "")
        judged = tuple(_verdict(one, sender, level) for one in found)
        if entity is None or sender.address is None or any(one.state == "good" for one in judged):
            return Judged(judged)
        # a key that is known as another address's may be this one's as well
        strange = [
            raw
            for raw, one in zip(signatures, found, strict=True)
            if one.state in ("unknown-key", "not-from")
        ]
        attached = attached_keys(entity) if strange else ()
        signer = None
        if attached:
            signer = attached_signer(
                attached, data, strange, address, intended_for=readers, now=self._now
            )
        return Judged(judged, signer)


def _verdict(found: Verdict, sender: ShownSender, level: str) -> SignatureVerdict:
    state, reason = found.state, found.reason
    if state == "good" and sender.doubt:
        state, reason = "not-from", sender.doubt
    return SignatureVerdict(
        state=state,
        fingerprint=found.fingerprint,
        signer=_address_in(found.signer),
        created=found.created,
        reason=reason,
        level=level if state == "good" else "",
    )


def _address_in(user_id: str) -> str:
    """The address of a user id "Name <address>"."""
    return user_id[user_id.rfind("<") + 1 :].rstrip(">") if user_id.endswith(">") else user_id


def sentence(error: OpenPGPError) -> str:
    text = str(error) or "it could not be opened"
    return text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")
