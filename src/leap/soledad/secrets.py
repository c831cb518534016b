"""The account's secrets, and the keys derived from a passphrase or recovery code under which they are wrapped.

    passphrase ─ Argon2id ─┬─ HKDF "auth" ─> auth key, for SRP      recovery code ─┬─ HKDF "auth"
                           └─ HKDF "wrap" ─> wrapping key           (256 bits)     ├─ HKDF "wrap"
                                                                                   └─ HKDF "sealing" ─> HPKE key

Invariants:
* Secrets are made in exactly one place, at sign-up. A log-in that finds none is an error (MissingSecrets).
* The root seed is wrapped only under passphrase and recovery code; no device stores it.
* The authentication key and the wrapping key are never the same, and neither tells the other.
* Argon2id parameters come from the provider at log-in, so floors keep a lying provider from weakening them and
  ceilings from exhausting the machine. A recovery code has full entropy and needs no stretching; its parameters are
  zero.
"""

from __future__ import annotations

import os
import unicodedata
from typing import Annotated, NamedTuple

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from mnemonic import Mnemonic

from leap.soledad.argon2 import argon2id
from leap.soledad.envelope import Epoch, RandomBytes, derive_key, open_envelope, seal
from leap.soledad.errors import CostlyKdf, ForgedEnvelope, WeakKdf, WrongKey
from leap.soledad.inbox_seal import (
    SEED_SIZE,
    InboxPrivateKey,
    generate_inbox_key,
    public_of,
)
from leap.soledad.keyset import Device, DeviceId, Keyset, account_id_of
from leap.soledad.login import identity_of, srp_verifier
from leap.soledad.wire import KdfParams, Verifier, Wraps

TIME_COST = 3  # with 64 MiB the second recommended choice of RFC 9106 section 4
MEMORY_KIB = 64 * 1024
LANES = 4
FLOOR_TIME_COST, FLOOR_MEMORY_KIB = 2, 19 * 1024  # OWASP's least; below it guessing gets cheap
CEILING_TIME_COST, CEILING_MEMORY_KIB, CEILING_LANES = (
    16,
    512 * 1024,
    16,
)  # a few seconds, a small machine's memory
KDF_SALT_SIZE = 16
RECOVERY_WORDS = 24
RECOVERY_KDF = KdfParams(salt=bytes(16), time_cost=0, memory_kib=0, lanes=0)

Seed = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]

_WRAP_EPOCH = 0  # the envelope's epoch field, not used by any real epoch (they begin at 1)


class PassphraseKeys(NamedTuple):
    """What a passphrase or a recovery code gives; the wrapping key never leaves the device."""

    auth_key: bytes
    wrap_key: bytes

    def __repr__(self) -> str:
        return "PassphraseKeys()"


class AccountSecrets(msgspec.Struct, frozen=True):
    """Everything that is wrapped.

    `recovery_entropy` is the recovery code's, to show its words again: it is in the wrap under the passphrase only.
    """

    account_id: str
    address: str
    root_seed: Seed
    id_key: Seed
    epochs: list[Epoch]
    inbox_keys: list[InboxPrivateKey]
    recovery_entropy: Annotated[bytes, msgspec.Meta(max_length=32)] = b""

    def __repr__(self) -> str:
        return f"AccountSecrets(account_id={self.account_id!r})"

    @property
    def root_key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.root_seed)

    @property
    def recovery_code(self) -> str | None:
        """The 24 words; None for an account made before they were kept."""
        if len(self.recovery_entropy) != 32:
            return None
        return _words().to_mnemonic(self.recovery_entropy)

    @property
    def root_public(self) -> bytes:
        return self.root_key.public_key().public_bytes_raw()


class DeviceKeys(msgspec.Struct, frozen=True):
    """One device's private keys: an Ed25519 seed to sign heads, HPKE seeds to receive new epochs."""

    device_id: DeviceId
    name: str
    signing_seed: Seed
    sealing_seed: Annotated[bytes, msgspec.Meta(min_length=SEED_SIZE, max_length=SEED_SIZE)]

    def __repr__(self) -> str:
        return f"DeviceKeys(device_id={self.device_id!r}, name={self.name!r})"

    @property
    def signing_key(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.signing_seed)

    def public(self, added: float) -> Device:
        """The device's entry in the keyset, added at `added` (seconds since 1970)."""
        return Device(
            device_id=self.device_id,
            name=self.name,
            signing_public=self.signing_key.public_key().public_bytes_raw(),
            sealing_public=public_of(self.sealing_seed),
            added=int(added),
        )


def create_account_secrets(
    address: str, now: float, random_bytes: RandomBytes = os.urandom
) -> AccountSecrets:
    """New secrets for a new account. Only sign-up calls this."""
    root_seed = random_bytes(32)
    root_public = Ed25519PrivateKey.from_private_bytes(root_seed).public_key().public_bytes_raw()
    return AccountSecrets(
        account_id=account_id_of(root_public),
        address=address.lower(),
        root_seed=root_seed,
        id_key=random_bytes(32),
        epochs=[Epoch(1, random_bytes(32))],
        inbox_keys=[generate_inbox_key(now, random_bytes)],
    )


def new_device_keys(name: str, random_bytes: RandomBytes = os.urandom) -> DeviceKeys:
    """Keys for a new device called `name`."""
    return DeviceKeys(random_bytes(16).hex(), name, random_bytes(32), random_bytes(SEED_SIZE))


def new_kdf_params(random_bytes: RandomBytes = os.urandom) -> KdfParams:
    """What a new passphrase is stretched with: a quarter of a second of CPU."""
    return KdfParams(
        salt=random_bytes(KDF_SALT_SIZE), time_cost=TIME_COST, memory_kib=MEMORY_KIB, lanes=LANES
    )


def floor_kdf_params(random_bytes: RandomBytes = os.urandom) -> KdfParams:
    """The least that `derive_passphrase` accepts: for tests and for very small machines."""
    return KdfParams(
        salt=random_bytes(KDF_SALT_SIZE),
        time_cost=FLOOR_TIME_COST,
        memory_kib=FLOOR_MEMORY_KIB,
        lanes=1,
    )


def check_kdf_params(params: KdfParams) -> None:
    """Raise WeakKdf unless the parameters lie between floor and ceiling; above the ceiling it is CostlyKdf."""
    asked = (
        f"the provider asks to stretch the passphrase with {params.memory_kib} KiB and "
        f"{params.time_cost} passes, which is "
    )
    if (
        params.time_cost > CEILING_TIME_COST
        or params.memory_kib > CEILING_MEMORY_KIB
        or params.lanes > CEILING_LANES
    ):
        raise CostlyKdf(asked + "more than a log-in may cost")
    if (
        params.time_cost < FLOOR_TIME_COST
        or params.memory_kib < FLOOR_MEMORY_KIB
        or params.lanes < 1
        or len(params.salt) < KDF_SALT_SIZE
    ):
        raise WeakKdf(asked + "so little that it could guess the passphrase")


def derive_passphrase(passphrase: str, params: KdfParams) -> PassphraseKeys:
    """The two keys of a passphrase. Slow by design: call it outside the event loop.

    Raises WeakKdf for parameters out of range, WrongKey for an empty passphrase.
    """
    if not passphrase:
        raise WrongKey("the passphrase is empty")
    check_kdf_params(params)
    try:
        # Two keyboards may write one letter as one code point or two (RFC 8265 section 4.2.2 asks for NFC).
        typed = unicodedata.normalize("NFC", passphrase).encode()
    except UnicodeEncodeError:
        raise WrongKey("the passphrase is not valid text") from None
    stretched = argon2id(
        typed,
        salt=params.salt,
        length=32,
        passes=params.time_cost,
        lanes=params.lanes,
        memory_kib=params.memory_kib,
    )
    return _split(stretched, "passphrase")


def make_verifier(address: str, keys: PassphraseKeys, kdf: KdfParams) -> Verifier:
    """What the provider checks the passphrase's log-ins with. A few ms of CPU."""
    salt, verifier = srp_verifier(identity_of(address), keys.auth_key)
    return Verifier(kdf=kdf, srp_salt=salt, srp_verifier=verifier)


def make_recovery_verifier(address: str, keys: PassphraseKeys) -> Verifier:
    """What the provider checks the recovery code's log-ins with."""
    salt, verifier = srp_verifier(identity_of(address, with_recovery=True), keys.auth_key)
    return Verifier(kdf=RECOVERY_KDF, srp_salt=salt, srp_verifier=verifier)


def new_recovery_code(random_bytes: RandomBytes = os.urandom) -> str:
    """24 words (BIP 39, English) for 256 random bits; to be kept on paper."""
    return _words().to_mnemonic(random_bytes(32))


def derive_recovery(code: str) -> PassphraseKeys:
    """The two keys of a recovery code; raises WrongKey when its words or checksum are wrong."""
    return _split(recovery_entropy(code), "recovery")


def recovery_sealing_seed(code: str) -> bytes:
    """Seeds of the HPKE key to which new epochs are sealed for the recovery code."""
    return derive_key(recovery_entropy(code), b"", b"leap.soledad recovery sealing 1", SEED_SIZE)


def wrap(
    secrets: AccountSecrets, wrap_key: bytes, context: str, random_bytes: RandomBytes = os.urandom
) -> bytes:
    """The secrets sealed under a wrapping key; `context` is that of `wrap_context`."""
    return seal(
        msgspec.msgpack.encode(secrets),
        kind="secrets",
        account=context,
        item_id=b"",
        version=0,
        epoch=Epoch(_WRAP_EPOCH, wrap_key),
        compress=False,
        random_bytes=random_bytes,
    )


def wrap_both(
    secrets: AccountSecrets,
    passphrase: PassphraseKeys,
    recovery: PassphraseKeys,
    random_bytes: RandomBytes = os.urandom,
) -> Wraps:
    """The secrets under passphrase and recovery code; the latter's wrap does not hold the code itself."""
    address, bare = secrets.address, msgspec.structs.replace(secrets, recovery_entropy=b"")
    return Wraps(
        passphrase=wrap(secrets, passphrase.wrap_key, wrap_context(address), random_bytes),
        recovery=wrap(
            bare, recovery.wrap_key, wrap_context(address, with_recovery=True), random_bytes
        ),
    )


def unwrap(wrapped: bytes, wrap_key: bytes, context: str) -> AccountSecrets:
    """The secrets again; raises ForgedEnvelope or UnknownSuite when they do not open or contradict themselves."""
    opened = open_envelope(
        wrapped,
        kind="secrets",
        account=context,
        item_id=b"",
        version=0,
        epochs={_WRAP_EPOCH: Epoch(_WRAP_EPOCH, wrap_key)},
    )
    try:
        secrets = msgspec.msgpack.decode(opened, type=AccountSecrets)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise ForgedEnvelope("the account's wrapped secrets are malformed") from None
    if secrets.account_id != account_id_of(secrets.root_public) or not secrets.epochs:
        raise ForgedEnvelope("the account's wrapped secrets contradict themselves")
    return secrets


def wrap_context(address: str, *, with_recovery: bool = False) -> str:
    """The context under which an address's secrets are wrapped."""
    return ("recovery " if with_recovery else "passphrase ") + address.lower()


def check_belongs(secrets: AccountSecrets, keyset: Keyset, address: str) -> None:
    """Raise ForgedEnvelope unless secrets and keyset are of one account and of this address."""
    if secrets.address != address.lower() or keyset.address != secrets.address:
        raise ForgedEnvelope("the provider gave the secrets of another address")
    if keyset.account_id != secrets.account_id or keyset.root_public != secrets.root_public:
        raise ForgedEnvelope("the provider gave the keyset of another account")
    if not {epoch.number for epoch in keyset.epochs} <= {epoch.number for epoch in secrets.epochs}:
        raise ForgedEnvelope("the wrapped secrets lack an epoch of the keyset")


def _split(secret: bytes, source: str) -> PassphraseKeys:
    label = f"leap.soledad {source} ".encode()
    return PassphraseKeys(
        derive_key(secret, b"", label + b"auth 1"), derive_key(secret, b"", label + b"wrap 1")
    )


def _words() -> Mnemonic:
    return Mnemonic("english")


def recovery_entropy(code: str) -> bytes:
    """The 256 bits of 24 words; raises WrongKey when a word or the checksum is wrong."""
    words = code.lower().split()
    if len(words) != RECOVERY_WORDS:
        raise WrongKey(f"a recovery code has {RECOVERY_WORDS} words, this one has {len(words)}")
    try:
        return bytes(_words().to_entropy(words))
    except (LookupError, ValueError):
        raise WrongKey("the recovery code has a mistyped word") from None
