"""A backup of the own keys in one file: every secret key, locked by a passphrase, and every kept revocation.

    text for people
    -----BEGIN PGP PRIVATE KEY BLOCK-----      one for each key, the one in use first; `gpg --import` reads them
    :-----BEGIN PGP PUBLIC KEY BLOCK-----      the revocation of the key before it, disarmed by the colons

A revocation is not locked: whoever reads the file can revoke the keys, not use them. The colon is GnuPG's own way of
keeping a revocation in a file without its being imported by mistake.

The other kind of backup is an Autocrypt Setup Message (`autocrypt.setup_message`): the key in use alone, in a mail.
"""

from __future__ import annotations

from collections.abc import Sequence

from leap.keymanager.autocrypt.setup_message import read_setup_message
from leap.keymanager.errors import KeyRefused
from leap.keymanager.offered_key import read_offered
from leap.keymanager.openpgp import Certificate, OpenPGPError, WrongPassphrase
from leap.keymanager.openpgp.editing import apply_revocation
from leap.keymanager.own_keys import Kept

MAX_REVOCATIONS = 64  # read from one file; each is tried on each key
_SAFE, _ARMED = b":-----", b"-----"
_MESSAGE, _KEY = b"-----BEGIN PGP MESSAGE-----", b"-----BEGIN PGP PRIVATE KEY BLOCK-----"
_TEXT = """\
Backup of the OpenPGP keys of {address}.
`bitmask keys restore` takes it back, `gpg --import` reads it; both ask for its passphrase.
To revoke a key by this file without its passphrase, take the colons before the dashes
of the block after it away, and import that block alone.

"""


def write_backup(kept: Sequence[Kept], address: str, passphrase: str) -> bytes:
    """The file. Takes a quarter of a second for each part of a key: not on the loop."""
    parts = [_TEXT.format(address=address).encode()]
    for key, revocation in kept:
        parts.append(key.armored(passphrase))
        if revocation:
            parts.append(revocation.encode("ascii").replace(_ARMED + b"BEGIN", _SAFE + b"BEGIN"))
            parts[-1] = parts[-1].replace(b"\n" + _ARMED + b"END", b"\n" + _SAFE + b"END")
    return b"\n".join(parts)


def read_backup(data: bytes, passphrase: str | None) -> list[Kept]:
    """The keys in such a file, in any file of secret keys, or in a Setup Message, with the revocations that are theirs.

    `passphrase`: of a Setup Message its code. Raises KeyRefused, and the engine's errors: WrongPassphrase. Takes
    seconds: not on the loop.
    """
    if is_setup_file(data):
        if passphrase is None:
            raise WrongPassphrase("a Setup Message opens with its Setup Code")
        return [Kept(read_setup_message(data, passphrase), "")]
    keys = read_offered(data, passphrase)
    if not keys:
        raise KeyRefused("there is no secret key in this file")
    revocations = _revocations_in(data)
    return [Kept(key, _revocation_of(key.certificate, revocations)) for key in keys]


def is_setup_file(data: bytes) -> bool:
    """Whether a file is meant to be a Setup Message, whole or the armored part of it."""
    return _MESSAGE in data and _KEY not in data


def _revocations_in(data: bytes) -> list[bytes]:
    """The disarmed blocks, armed again."""
    found = []
    at = 0
    while (start := data.find(_SAFE + b"BEGIN PGP PUBLIC", at)) >= 0:
        end = data.find(_SAFE + b"END", start)
        line_end = data.find(b"\n", end)
        if end < 0:
            break
        at = line_end + 1 if line_end >= 0 else len(data)
        found.append(data[start:at].replace(_SAFE, _ARMED))
    return found[:MAX_REVOCATIONS]


def _revocation_of(certificate: Certificate, revocations: Sequence[bytes]) -> str:
    """The one that revokes this certificate, armored; "" when none does."""
    if certificate.revoked:
        return ""
    for revocation in revocations:
        try:
            if apply_revocation(certificate, revocation).revoked:
                return revocation.decode("ascii")
        except (OpenPGPError, UnicodeDecodeError):
            continue
    return ""
