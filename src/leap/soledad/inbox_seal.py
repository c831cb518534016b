"""Sealing mail from outside to an account's inbox key: the MX seals in memory, only a device of the account opens.

    0      suite    0x01: HPKE base mode (RFC 9180) with ML-KEM-768 + X25519, HKDF-SHA256, AES-256-GCM
    1..16  key id   first 16 octets of SHA-256 over the public key
    17..   the encapsulated key and the ciphertext, as HPKE's single-shot seal gives them

The hybrid KEM is still a draft, so the suite octet versions it: another draft becomes another suite, both can be
open at once.

Invariants:
* `info` binds label, suite, account and key id: mail sealed to one account never opens in another, even with equal
  keys.
* Each seal encapsulates a fresh key, so nothing here has a nonce to reuse.
* Anybody can seal. What opens is mail from outside and proves nothing about its sender.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from leap.soledad.envelope import RandomBytes, with_lengths
from leap.soledad.errors import BadKeyset, ForgedEnvelope, UnknownSuite

SUITE_MLKEM768_X25519 = 1
MLKEM_PUBLIC_SIZE = 1184  # FIPS 203, ML-KEM-768
MLKEM_SEED_SIZE = 64
X25519_SIZE = 32
PUBLIC_SIZE = MLKEM_PUBLIC_SIZE + X25519_SIZE
SEED_SIZE = MLKEM_SEED_SIZE + X25519_SIZE
KEY_ID_SIZE = 16
PREFIX_SIZE = 1 + KEY_ID_SIZE

KeyId = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$")]
Moment = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]  # seconds since 1970, UTC

HPKE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class InboxKey(msgspec.Struct, frozen=True):
    """The public half, listed in the keyset.

    A retired key is not sealed to any more, but still opens what came before.
    """

    key_id: KeyId
    suite: int
    public: bytes
    created: Moment
    retired: Moment | None = None


class InboxPrivateKey(msgspec.Struct, frozen=True):
    """The private half: the seeds of ML-KEM (64 octets) and X25519 (32 octets)."""

    key_id: KeyId
    suite: int
    seed: Annotated[bytes, msgspec.Meta(min_length=SEED_SIZE, max_length=SEED_SIZE)]
    created: Moment

    def __repr__(self) -> str:
        return f"InboxPrivateKey(key_id={self.key_id!r}, suite={self.suite})"

    @property
    def public(self) -> InboxKey:
        return InboxKey(self.key_id, self.suite, public_of(self.seed), self.created)


def generate_inbox_key(now: float, random_bytes: RandomBytes = os.urandom) -> InboxPrivateKey:
    """A new inbox key, created at `now` (seconds since 1970)."""
    seed = random_bytes(SEED_SIZE)
    return InboxPrivateKey(key_id_of(public_of(seed)), SUITE_MLKEM768_X25519, seed, int(now))


def seal_to_inbox(data: bytes, key: InboxKey, account: str) -> bytes:
    """Seal `data` so that only `account` opens it; 1,153 octets longer. CPU: 1 ms a megabyte, so large mail leaves
    the loop.

    Raises UnknownSuite or BadKeyset when the key cannot be sealed to; nothing is ever passed on unsealed.
    """
    if key.suite != SUITE_MLKEM768_X25519:
        raise UnknownSuite(
            f"the inbox key is of suite {key.suite}, which this version does not know"
        )
    public, prefix = load_public(key.public), _prefix(key.key_id)
    try:
        return prefix + HPKE.encrypt(data, public, info=_info(account, key.key_id))
    except ValueError:  # an X25519 point of low order
        raise BadKeyset("the inbox key is not a key one can seal to") from None


def open_from_inbox(sealed: bytes, private_keys: Sequence[InboxPrivateKey], account: str) -> bytes:
    """The mail inside; raises UnknownSuite, or ForgedEnvelope when no key of ours opens it."""
    return open_sealed(sealed, {key.key_id: key.seed for key in private_keys}, account)


def open_sealed(sealed: bytes, seeds: dict[str, bytes], account: str) -> bytes:
    """As `open_from_inbox`, with the seeds by key id."""
    if not sealed:
        raise ForgedEnvelope("a sealed mail is empty")
    if sealed[0] != SUITE_MLKEM768_X25519:
        raise UnknownSuite(
            f"a mail is sealed by suite {sealed[0]}, which this version does not know"
        )
    key_id = bytes(sealed[1:PREFIX_SIZE]).hex()
    seed = seeds.get(key_id)
    if seed is None:
        raise ForgedEnvelope("a mail is sealed to a key this account does not hold")
    try:
        return HPKE.decrypt(
            memoryview(sealed)[PREFIX_SIZE:], private_of(seed), info=_info(account, key_id)
        )
    except (InvalidTag, ValueError):
        raise ForgedEnvelope("a sealed mail was altered, or belongs to another account") from None


def key_id_of(public: bytes) -> str:
    """The id of a public key: hex of 16 octets."""
    return hashlib.sha256(public).digest()[:KEY_ID_SIZE].hex()


@lru_cache(maxsize=16)  # expanding the seeds takes as long as opening a small mail
def private_of(seed: bytes) -> MLKEM768X25519PrivateKey:
    """The HPKE private key made from both seeds."""
    return MLKEM768X25519PrivateKey(
        MLKEM768PrivateKey.from_seed_bytes(seed[:MLKEM_SEED_SIZE]),
        X25519PrivateKey.from_private_bytes(seed[MLKEM_SEED_SIZE:]),
    )


def public_of(seed: bytes) -> bytes:
    """The public half: ML-KEM-768 encapsulation key, then X25519 public key."""
    return (
        MLKEM768PrivateKey.from_seed_bytes(seed[:MLKEM_SEED_SIZE]).public_key().public_bytes_raw()
        + X25519PrivateKey.from_private_bytes(seed[MLKEM_SEED_SIZE:])
        .public_key()
        .public_bytes_raw()
    )


def load_public(public: bytes) -> MLKEM768X25519PublicKey:
    """The HPKE public key; raises BadKeyset when the octets are none."""
    if len(public) != PUBLIC_SIZE:
        raise BadKeyset("the inbox key has the wrong size")
    try:
        return MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public[:MLKEM_PUBLIC_SIZE]),
            X25519PublicKey.from_public_bytes(public[MLKEM_PUBLIC_SIZE:]),
        )
    except ValueError:
        raise BadKeyset("the inbox key is not a valid key") from None


def _prefix(key_id: str) -> bytes:
    raw = bytes.fromhex(key_id)
    if len(raw) != KEY_ID_SIZE:
        raise BadKeyset("the inbox key's id has the wrong size")
    return bytes([SUITE_MLKEM768_X25519]) + raw


def _info(account: str, key_id: str) -> bytes:
    return with_lengths(
        b"leap.soledad inbox",
        bytes([SUITE_MLKEM768_X25519]),
        account.encode(),
        bytes.fromhex(key_id),
    )
