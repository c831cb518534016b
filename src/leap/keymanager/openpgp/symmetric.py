"""Messages that a passphrase opens, such as Autocrypt Setup Messages: written so that every program reads them.

Written: iterated salted SHA-256, AES, SEIPD version 1 (Autocrypt 1.1, "Setup Message"). Read besides: Argon2,
version 6, and what GnuPG 2.3 writes.

Invariants:
* Nothing is given out before the integrity of all of it was proven.
* One message costs a bounded number of derivations, each of bounded cost (`s2k`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from leap.keymanager.openpgp import s2k
from leap.keymanager.openpgp.armor import MESSAGE
from leap.keymanager.openpgp.armor import armor as armored
from leap.keymanager.openpgp.armor_headers import header_lines
from leap.keymanager.openpgp.contents import literal, read_contents
from leap.keymanager.openpgp.envelope import Envelope, read_envelope
from leap.keymanager.openpgp.errors import (
    IntegrityError,
    Malformed,
    NoSecretKey,
    OpenPGPError,
    Unsupported,
    WrongPassphrase,
)
from leap.keymanager.openpgp.message import MAX_SIZE, Decrypted
from leap.keymanager.openpgp.passphrase_key import lock_session_key, read_passphrase_key
from leap.keymanager.openpgp.seipd import seal_v1
from leap.keymanager.openpgp.session_key import SessionKey
from leap.keymanager.openpgp.verdict import RawSignature

MAX_PASSPHRASES: Final = 8  # tried for one message; several at all are rare
_CIPHERS: Final = {128: 7, 192: 8, 256: 9}
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


def encrypt_with_passphrase(
    data: bytes,
    passphrase: str | bytes,
    *,
    armor: bool = True,
    armor_headers: Mapping[str, str] = _NO_HEADERS,
    key_bits: int = 128,
    random: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """`data` encrypted with AES of `key_bits` (128, which Autocrypt asks for, 192 or 256) under a passphrase.

    Raises Malformed for impossible headers, Unsupported for other `key_bits`. Takes about 0.1 s: off the event loop.
    """
    if key_bits not in _CIPHERS:
        raise Unsupported(f"there is no AES with keys of {key_bits} bits")
    headers = header_lines(armor_headers)
    locked, session = lock_session_key(s2k.octets_of(passphrase), _CIPHERS[key_bits], random=random)
    message = locked + seal_v1(literal(data), session, random=random)
    if not armor:
        return message
    # GnuPG 2.2 wants a checksum where the base64 has no padding; a marker packet, which would do as well, is more
    # than some programs expect in a setup message
    text = armored(message, MESSAGE, checksum=len(message) % 3 == 0)
    first, end, rest = text.partition(b"\n")
    return b"".join((first, end, headers, rest))


def decrypt_with_passphrase(
    data: bytes, passphrase: str | bytes, *, max_size: int = MAX_SIZE
) -> Decrypted:
    """Opens a message, armored or not, with a passphrase.

    Raises WrongPassphrase (or the message was changed: most kinds cannot tell one from the other), NoSecretKey when
    no passphrase opens it at all, NotEncrypted, IntegrityError, TooLarge, Unsupported, Malformed. The derivation of
    the key may take a few seconds and 2 GiB, as far as the message asks for it: off the event loop.
    """
    envelope = read_envelope(data)
    session, packets = _open(envelope, s2k.octets_of(passphrase))
    contents = read_contents(packets, max_size=max_size)
    return Decrypted(
        contents.data,
        tuple(RawSignature(body) for body in contents.signatures),
        envelope.recipients,
        session.stored,
    )


def _open(envelope: Envelope, passphrase: bytes) -> tuple[SessionKey, bytes]:
    if not envelope.locked:
        raise NoSecretKey("the message is not encrypted with a passphrase")
    refused: OpenPGPError | None = None
    work = 0
    for body in envelope.locked[:MAX_PASSPHRASES]:
        try:
            locked = read_passphrase_key(body)
            work += s2k.argon2_work(locked.specifier)
            if work > s2k.MAX_ARGON2_WORK:  # one message costs no more than one passphrase may
                raise Unsupported("the passphrase hashing asks for too much memory or time")
            session = locked.unlock(passphrase)
        except OpenPGPError as error:
            refused = _worse(refused, error)
            continue
        try:
            return session, envelope.open(session)
        except (IntegrityError, NoSecretKey, Malformed) as error:
            if locked.version != 4:  # its passphrase was proven right
                raise
            wrong = WrongPassphrase(
                "the passphrase is wrong, or the message was changed on its way"
            )
            refused = _worse(refused, wrong if not isinstance(error, Malformed) else error)
    assert refused is not None
    raise refused


def _worse(first: OpenPGPError | None, second: OpenPGPError) -> OpenPGPError:
    """What to say of several failures: that the passphrase is wrong, which the person can do something about."""
    return first if isinstance(first, WrongPassphrase) else second
