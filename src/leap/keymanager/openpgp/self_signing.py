"""What the owner of a key signs about it: the key's uses and end, user ids, subkeys. Renewing keeps all else they said.

Invariants:
* A new self-signature is newer than every one it takes the place of, whatever the clock says: the newest decides.
* Every end is written in the signature that speaks of the key (RFC 9580 5.2.3.13) and is never left out by accident.
* What a renewed signature said besides (preferences, notations, flags) stands in the new one, octet for octet.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from leap.keymanager.openpgp.certificate import Certificate
from leap.keymanager.openpgp.component import Component
from leap.keymanager.openpgp.errors import Malformed
from leap.keymanager.openpgp.key_state import CERTIFY, SIGN
from leap.keymanager.openpgp.packets import Tag
from leap.keymanager.openpgp.public_key import PublicKey
from leap.keymanager.openpgp.secret_material import SecretMaterial
from leap.keymanager.openpgp.self_signatures import pieces_of
from leap.keymanager.openpgp.signature import (
    CERTIFICATIONS,
    Signature,
    SignatureType,
    Subpacket,
    make_signature,
    subpacket,
)

Random = Callable[[int], bytes]

# written anew with every signature, or by whoever renews it
_OWN_TO_A_SIGNATURE = frozenset(
    {
        Subpacket.CREATED,
        Subpacket.EXPIRES,
        Subpacket.ISSUER,
        Subpacket.ISSUER_FINGERPRINT,
        Subpacket.EMBEDDED,
    }
)
_ABOUT_THE_KEY = frozenset({Subpacket.KEY_EXPIRES, Subpacket.KEY_FLAGS})


@dataclass(frozen=True, slots=True)
class Owner:
    """Who signs, and when: the secret primary key of `certificate`, at a time in seconds since 1970."""

    certificate: Certificate
    secret: SecretMaterial
    at: int
    random: Random = os.urandom

    def sign_on(
        self, component: Component, kind: SignatureType, statements: Sequence[bytes]
    ) -> bytes:
        """The body of a signature of `kind` on a component, newer than those there."""
        earlier = (
            signature.created
            for signature in self.certificate.self_signatures(component, _instead_of(kind))
        )
        born = PublicKey(component.body).created if component.tag == Tag.PUBLIC_SUBKEY else 0
        return make_signature(
            self.secret,
            kind,
            pieces_of(self.certificate.primary, component),
            created=max(self._not_before(born), *(created + 1 for created in earlier), 0),
            statements=statements,
            random=self.random,
        )

    def _not_before(self, born: int) -> int:
        """Now; a signature older than the keys it is about would count for nothing."""
        return max(self.at, born, self.certificate.created)

    def renew_on_key(self, end: bytes) -> bytes:
        """A new signature directly on the primary key; like the one before, with another end."""
        head = self.certificate.components[0]
        before = self._newest(head, {SignatureType.DIRECT_KEY}) or self.certificate.statement()
        says = _kept(before) if before else []
        return self.sign_on(head, SignatureType.DIRECT_KEY, [*self._flags(), end, *says])

    def renew_on_name(
        self, component: Component, end: bytes, more: Sequence[bytes] = (), without: int = -1
    ) -> bytes:
        """A new signature on a user id or attribute, the same as before or as on the primary one."""
        before = self._newest(component, CERTIFICATIONS)
        model = before or self._model()
        says = _kept(model, without={without, *(() if before else _OF_ONE_NAME)}) if model else []
        if self.certificate.primary.version == 4 or (before and before.is_about_key):
            says = [*self._flags(), end, *says]
        kind = SignatureType(before.kind) if before else SignatureType.CERTIFY_POSITIVE
        return self.sign_on(component, kind, [*says, *more])

    def _model(self) -> Signature | None:
        """What a new user id says: as the newest one does."""
        if self.certificate.primary.version == 6:
            return None
        return self.certificate.statement()

    def _flags(self) -> list[bytes]:
        said = self.certificate.statement()
        return said.statements(lambda kind: kind == Subpacket.KEY_FLAGS) if said else []

    def _newest(self, component: Component, kinds: Iterable[int]) -> Signature | None:
        return next(self.certificate.self_signatures(component, kinds), None)

    def bind(self, subkey: SecretMaterial, flags: int, end: bytes) -> Component:
        """A new subkey with its binding and, when it may sign, its own signature back."""
        bare = Component(Tag.PUBLIC_SUBKEY, subkey.public.body, ())
        says = [subpacket(Subpacket.KEY_FLAGS, bytes([flags]), critical=True), end]
        return bare._replace(signatures=(self._bind(bare, says, flags, subkey, None),))

    def rebind(self, component: Component, end: bytes, secret: SecretMaterial | None) -> bytes:
        """A new binding of a subkey with another end; `secret` is its own, when it is here."""
        before = self._newest(component, {SignatureType.SUBKEY_BINDING})
        assert before is not None, "only bound subkeys are bound again"
        flags = before.statements(lambda kind: kind == Subpacket.KEY_FLAGS)
        return self._bind(
            component, [*flags, end, *_kept(before)], before.key_flags or 0, secret, before
        )

    def _bind(
        self,
        component: Component,
        says: list[bytes],
        flags: int,
        secret: SecretMaterial | None,
        before: Signature | None,
    ) -> bytes:
        if flags & (CERTIFY | SIGN):  # RFC 9580 5.2.1.9
            back = self._back(component, secret) if secret else None
            backs = [back] if back else (before.embedded if before else [])
            says = [*says, *(subpacket(Subpacket.EMBEDDED, body) for body in backs[:1])]
        return self.sign_on(component, SignatureType.SUBKEY_BINDING, says)

    def _back(self, component: Component, secret: SecretMaterial) -> bytes:
        return make_signature(
            secret,
            SignatureType.PRIMARY_BINDING,
            pieces_of(self.certificate.primary, component),
            created=self._not_before(secret.public.created),
            random=self.random,
        )


# what is said of one user id and does not go for another
_OF_ONE_NAME = frozenset({Subpacket.PRIMARY_USER_ID, Subpacket.NOTATION, Subpacket.POLICY})


def _kept(signature: Signature, without: Iterable[int] = ()) -> list[bytes]:
    dropped = _OWN_TO_A_SIGNATURE | _ABOUT_THE_KEY | frozenset(without)
    return signature.statements(lambda kind: kind not in dropped)


def _instead_of(kind: int) -> frozenset[int]:
    """The kinds of signatures which one of `kind` overrules when it is newer."""
    if kind in CERTIFICATIONS or kind == SignatureType.REVOKE_CERTIFICATION:
        return CERTIFICATIONS | {SignatureType.REVOKE_CERTIFICATION}
    return frozenset({kind})


def end_of(key: PublicKey, expires: float | None) -> bytes:
    """The statement that a key ends at a time (seconds since 1970); None: never.

    Raises Malformed for a time before its birth or 136 years after it.
    """
    span = 0 if expires is None else int(expires) - key.created
    if expires is not None and not 0 < span < 1 << 32:
        raise Malformed("a key cannot end before it is made, nor 136 years later")
    return subpacket(Subpacket.KEY_EXPIRES, span.to_bytes(4, "big"), critical=True)
