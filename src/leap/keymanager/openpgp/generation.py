"""Making a new key: primary Ed25519 for certifying and signing, Curve25519 for encryption, both with an end.

Version 4 in the number scheme GnuPG knows, and without announcing SEIPD version 2: whatever is sent to such a key
can be read by any OpenPGP program its owner moves to. Version 6 has RFC 9580's own algorithms and AEAD. Ends are
written on the primary key's own statement, on the user ids and on the subkeys, because programs differ in which they
read.

With `post_quantum` there is a subkey for ML-KEM-768+X25519 (RFC 9980) *beside* the one for X25519, in version 4, which
RFC 9980 3.5 allows for this one algorithm, as in version 6. Nobody is locked out: who does not know ML-KEM writes to
the other subkey. Who does, as this program, writes to it alone; a program that writes to every subkey gives its
message no more than X25519, until the owner revokes that subkey.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from leap.keymanager.openpgp.certificate import Certificate
from leap.keymanager.openpgp.component import Component
from leap.keymanager.openpgp.editing import add_user_id, check_user_id
from leap.keymanager.openpgp.errors import Malformed, Unsupported
from leap.keymanager.openpgp.key_material import (
    make_encryption_key,
    make_post_quantum_key,
    make_signing_key,
)
from leap.keymanager.openpgp.key_state import CERTIFY, ENCRYPT, SIGN
from leap.keymanager.openpgp.packets import Tag
from leap.keymanager.openpgp.revocation import revocation_certificate
from leap.keymanager.openpgp.secret_key import SecretKey
from leap.keymanager.openpgp.self_signing import Owner, Random, end_of
from leap.keymanager.openpgp.signature import SignatureType, Subpacket, subpacket

LIFETIME = 2 * 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key and what revokes it, armored: to be kept, since it cannot be made when the key is lost."""

    key: SecretKey
    revocation: bytes = field(repr=False)


def generate_with_revocation(
    address: str,
    *,
    name: str = "",
    more_user_ids: Sequence[str] = (),
    now: Callable[[], float] = time.time,
    lifetime: int = LIFETIME,
    version: int = 4,
    post_quantum: bool = False,
    random: Random = os.urandom,
) -> NewKey:
    """As `generate`, and the revocation certificate, made at the key's birth."""
    key = generate(
        address,
        name=name,
        more_user_ids=more_user_ids,
        now=now,
        lifetime=lifetime,
        version=version,
        post_quantum=post_quantum,
        random=random,
    )
    born = key.certificate.created
    return NewKey(key, revocation_certificate(key, now=born, random=random))


def generate(
    address: str,
    *,
    name: str = "",
    more_user_ids: Sequence[str] = (),
    now: Callable[[], float] = time.time,
    lifetime: int = LIFETIME,
    version: int = 4,
    post_quantum: bool = False,
    random: Random = os.urandom,
) -> SecretKey:
    """A new key for an address, which its first user id has; `lifetime` in seconds.

    `more_user_ids`: whole texts, as "Alice <alice@example.test>". Raises Malformed for an address or text no user id
    can hold, or a lifetime of nothing; Unsupported for another version than 4 and 6.
    """
    if not _is_plain(address) or any(c in "<>\r\n\0" for c in name) or address.count("@") != 1:
        raise Malformed("this is no mail address one can make a key for")
    if version not in (4, 6):
        raise Unsupported(f"keys of version {version} are not made")
    user_ids = dict.fromkeys((f"{name} <{address}>" if name else address, *more_user_ids))
    for user_id in user_ids:
        check_user_id(user_id)
    first, *others = user_ids
    created = int(now())
    primary = make_signing_key(created, version, random)
    subkeys = [make_encryption_key(created, version, random)]
    if post_quantum:  # first: of two of one age, programs take the first they can
        subkeys.insert(0, make_post_quantum_key(created, version, random))
    end = end_of(primary.public, created + lifetime)
    about_key = _about_key(version, end)

    head = Component(Tag.PUBLIC_KEY, primary.public.body, ())
    owner = Owner(Certificate([head]), primary, created, random)
    if version == 6:
        head = head._replace(signatures=(owner.sign_on(head, SignatureType.DIRECT_KEY, about_key),))
    uid = Component(Tag.USER_ID, first.encode(), ())
    primary_uid = subpacket(Subpacket.PRIMARY_USER_ID, b"\x01")
    uid_says = [*about_key, primary_uid] if version == 4 else [primary_uid]
    uid = uid._replace(signatures=(owner.sign_on(uid, SignatureType.CERTIFY_POSITIVE, uid_says),))
    bound = [
        owner.bind(subkey, ENCRYPT, end_of(subkey.public, created + lifetime)) for subkey in subkeys
    ]
    secrets = {secret.public.fingerprint: secret for secret in (primary, *subkeys)}
    key = SecretKey(Certificate([head, uid, *bound]), secrets)
    for user_id in others:
        key = add_user_id(key, user_id, now=created, random=random)
    return key


def _is_plain(address: str) -> bool:
    return bool(address) and not any(c.isspace() or c in "<>\0" for c in address)


def _about_key(version: int, end: bytes) -> list[bytes]:
    """What the newest self-signature says of the key and of what its owner's programs can read."""
    statements = [
        subpacket(Subpacket.KEY_FLAGS, bytes([CERTIFY | SIGN]), critical=True),
        end,
        subpacket(Subpacket.SYMMETRIC, b"\x09\x08\x07"),
        subpacket(Subpacket.HASHES, b"\x0a\x09\x08"),
        subpacket(Subpacket.COMPRESSION, b"\x00"),
        subpacket(Subpacket.FEATURES, b"\x01" if version == 4 else b"\x09"),
    ]
    if version == 6:
        statements.append(subpacket(Subpacket.AEAD_SUITES, b"\x09\x02\x07\x02"))
    return statements
