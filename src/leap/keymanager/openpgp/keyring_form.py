"""Files of keys: many certificates or secret keys in one armored block, and changing the passphrase of such a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from leap.keymanager.openpgp.armor import PUBLIC_KEY, SECRET_KEY, armor
from leap.keymanager.openpgp.certificate import Certificate
from leap.keymanager.openpgp.errors import WrongPassphrase
from leap.keymanager.openpgp.secret_key import SecretKey, read_secret_keys

Passphrase = str | bytes


def armored_certificates(certificates: Iterable[Certificate]) -> bytes:
    """All of them for others, as `read_certificates` and `gpg --import` take it."""
    ring = list(certificates)
    octets = b"".join(certificate.binary for certificate in ring)
    return armor(octets, PUBLIC_KEY, checksum=_is_for_all(ring))


def armored_secret_keys(
    keys: Iterable[SecretKey], passphrase: Passphrase | None, *, argon2: bool | None = None
) -> bytes:
    """All of them, each locked with the passphrase (see `SecretKey.to_bytes`); None leaves them in clear.

    What is locked with another passphrase stays so, and what is kept elsewhere is marked so.
    """
    ring = list(keys)
    octets = b"".join(key.to_bytes(passphrase, argon2=argon2) for key in ring)
    return armor(octets, SECRET_KEY, checksum=_is_for_all(key.certificate for key in ring))


def _is_for_all(certificates: Iterable[Certificate]) -> bool:
    return all(certificate.primary.version == 4 for certificate in certificates)


def change_passphrase(
    data: bytes,
    old: Passphrase,
    new: Passphrase,
    *,
    others: Sequence[Passphrase] = (),
    argon2: bool | None = None,
) -> bytes:
    """The secret keys of a file, armored, with another passphrase on every part of them; no part is lost.

    `others`: passphrases of parts which `old` does not open. Raises WrongPassphrase, naming the part, when one stays
    locked, so that nobody thinks to have changed what was not; otherwise as `read_secret_keys`. Takes a quarter of a
    second and more for each part: not on the loop.
    """
    changed = []
    for key in read_secret_keys(data, old):
        opened = key
        for passphrase in others:
            if opened.locked:
                opened = _opened(opened, passphrase)
        if opened.locked:
            names = ", ".join(opened.locked)
            raise WrongPassphrase(f"locked with another passphrase, which is needed too: {names}")
        changed.append(opened)
    return armored_secret_keys(changed, new, argon2=argon2)


def _opened(key: SecretKey, passphrase: Passphrase) -> SecretKey:
    try:
        return key.unlocked(passphrase)
    except WrongPassphrase:
        return key
