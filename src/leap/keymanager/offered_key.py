"""A secret key somebody brings along: reading it, and whether it can be the key of an account.

Invariant: a key is taken into use only if its owner could be found by the address, its end lies ahead, and its
secrets are those of its public parts.
"""

from __future__ import annotations

from leap.keymanager.canonical import canonical
from leap.keymanager.errors import KeyRefused
from leap.keymanager.openpgp import (
    OpenPGPError,
    SecretKey,
    decrypt,
    encrypt,
    read_secret_keys,
    verify_signatures,
)
from leap.keymanager.openpgp.editing import add_user_id
from leap.keymanager.own_changes import extended
from leap.keymanager.own_keys import unusable_because

MAX_KEY_FILE = 1024 * 1024  # octets; keys of many years with all signatures have some hundred kB
_PROBE = b"to be opened by the same key"


class OtherAddress(KeyRefused):
    """The key does not carry the address of the account."""


class HasEnded(KeyRefused):
    """The key has expired."""


def read_offered(data: bytes, passphrase: str | None = None) -> list[SecretKey]:
    """The secret keys in a file. Takes seconds for locked ones: not on the loop.

    Raises KeyRefused, and the engine's errors: WrongPassphrase when a key is locked and `passphrase` does not open it.
    """
    if len(data) > MAX_KEY_FILE:
        raise KeyRefused(f"a file of secret keys has at most {MAX_KEY_FILE} bytes")
    return read_secret_keys(data, passphrase)


def fit_for_use(
    key: SecretKey,
    address: str,
    *,
    now: float,
    with_user_id: bool = False,
    with_extension: bool = False,
) -> SecretKey:
    """The key as it can be the one in use for an address: with the address on it and an end that lies ahead.

    What it lacks is added if that is allowed. Raises OtherAddress, HasEnded, KeyRefused.
    """
    name = key.fingerprint
    if key.certificate.revoked:
        raise KeyRefused(f"the key {name} is revoked; it can open old mail, but nobody may use it")
    try:
        if key.certificate.expires is not None and key.certificate.expires <= now:
            if not with_extension:
                raise HasEnded(
                    f"the key {name} has expired: give --extend to extend it by a year from now"
                )
            key = extended(key, now)
        if canonical(address) not in key.certificate.addresses:
            if not with_user_id:
                carried = ", ".join(key.certificate.addresses) or "none"
                raise OtherAddress(
                    f"the key {name} does not carry {address} (but {carried}): give --add-user-id to add it"
                )
            key = add_user_id(key, address, now=now)
        if problem := unusable_because(key.certificate, address, now):
            raise KeyRefused(f"the key {name} cannot be used: {problem}")
        _try_out(key, now)
    except OpenPGPError as error:
        raise KeyRefused(f"the key {name} cannot be used: {error}") from error
    return key


def _try_out(key: SecretKey, now: float) -> None:
    """Raises KeyRefused when the secrets are not those of the public parts, as in a file somebody tampered with."""
    message = encrypt(_PROBE, [key.certificate], key, now=lambda: now)
    opened = decrypt(message, [key])
    verdicts = verify_signatures(
        opened.plaintext, opened.signatures, [key.certificate], now=lambda: now
    )
    if opened.plaintext != _PROBE or [one.state for one in verdicts] != ["good"]:
        raise KeyRefused(f"the secrets of the key {key.fingerprint} do not fit its public parts")
