"""Session keys locked with a passphrase (SKESK, RFC 9580 5.3; version 5 of LibrePGP, which GnuPG 2.3 writes).

v4:  4 | cipher | specifier | [ CFB( cipher | session key ) ]       without it the derived key is the session key
v5:  5 | cipher | mode | specifier | nonce | AEAD( session key )
v6:  6 | length | cipher | mode | length | specifier | nonce | AEAD( session key )
     the key of v6 is HKDF-SHA256(derived key, info = header); associated data of both = C3 | version | cipher | mode
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from leap.keymanager.openpgp import aead, algorithms, s2k
from leap.keymanager.openpgp.errors import Malformed, Unsupported, WrongPassphrase
from leap.keymanager.openpgp.packets import Cursor, Tag, packet
from leap.keymanager.openpgp.session_key import SessionKey

_WRONG = "the passphrase of the message is wrong"


class PassphraseKey(NamedTuple):
    """A SKESK packet. Its key derivation may take seconds: `unlock` belongs off the event loop."""

    version: int
    cipher: int
    mode: int  # 0 for version 4
    specifier: bytes
    nonce: bytes
    sealed: bytes

    def unlock(self, passphrase: bytes) -> SessionKey:
        """The session key.

        Raises WrongPassphrase where the packet itself can tell, Unsupported, TooLarge, Malformed. Of version 4 most
        wrong passphrases show only when the container does not open.
        """
        key = s2k.derive(passphrase, self.specifier, algorithms.key_size(self.cipher))
        if self.version == 4:
            return self._unlock_v4(key)
        header = bytes([0xC0 | Tag.SKESK, self.version, self.cipher, self.mode])
        if self.version == 6:
            key = HKDF(hashes.SHA256(), len(key), None, header).derive(key)
        try:
            session = aead.opener(self.mode, key).decrypt(self.nonce, self.sealed, header)
        except (InvalidTag, ValueError):
            raise WrongPassphrase(_WRONG) from None
        return SessionKey(self.cipher if self.version == 5 else None, session)

    def _unlock_v4(self, key: bytes) -> SessionKey:
        if not self.sealed:
            return SessionKey(self.cipher, key)
        size = algorithms.block_size(self.cipher)
        decryptor = algorithms.cfb(self.cipher, key, bytes(size)).decryptor()
        clear = decryptor.update(self.sealed) + decryptor.finalize()
        try:
            fits = algorithms.key_size(clear[0]) == len(clear) - 1
        except Unsupported:
            fits = False
        if not fits:
            raise WrongPassphrase(_WRONG)
        return SessionKey(clear[0], clear[1:])


def read_passphrase_key(body: bytes) -> PassphraseKey:
    """A SKESK packet's body, parsed; raises Malformed, Unsupported."""
    cursor = Cursor(body)
    version = cursor.number(1)
    if version == 4:
        cipher = cursor.number(1)
        algorithms.key_size(cipher)
        return PassphraseKey(version, cipher, 0, s2k.read_specifier(cursor), b"", cursor.rest())
    if version not in (5, 6):
        raise Unsupported(f"passphrase-protected session keys of version {version}")
    if version == 6:
        cursor.number(1)
    cipher, mode = cursor.number(1), cursor.number(1)
    if cipher not in algorithms.AES_KEY_SIZES or mode not in aead.NONCE_SIZES:
        raise Unsupported("a passphrase-protected session key with an unsupported cipher")
    if version == 6 and cursor.number(1) not in _SPECIFIER_SIZES:
        raise Malformed("a passphrase-protected session key with impossible lengths")
    specifier = s2k.read_specifier(cursor)
    nonce = cursor.take(aead.NONCE_SIZES[mode])
    return PassphraseKey(version, cipher, mode, specifier, nonce, cursor.rest())


_SPECIFIER_SIZES = frozenset({2, 10, 11, 20})


def lock_session_key(
    passphrase: bytes, cipher: int, *, random: Callable[[int], bytes] = os.urandom
) -> tuple[bytes, SessionKey]:
    """A new SKESK packet of version 4 and the session key that is derived by it, as GnuPG writes them."""
    specifier = s2k.iterated(random)
    key = s2k.derive(passphrase, specifier, algorithms.key_size(cipher))
    return packet(Tag.SKESK, bytes([4, cipher]), specifier), SessionKey(cipher, key)
