"""What a mail costs at least: the primitives it needs, one after the other, without a packet around them.

The same mathematics on as many octets as `leap.keymanager.openpgp` does it for one recipient: no way of
writing the packets could be faster on these libraries.
"""

from __future__ import annotations

import hashlib
import os

import pybase64
from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESOCB3
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap, aes_key_wrap

_CHUNK = 65_536
_KEY, _NONCE = bytes(range(32)), bytes(15)


class BarePrimitives:
    """`version_2`: AES-256 in OCB mode instead of CFB and SHA-1."""

    def __init__(self, data: bytes, *, version_2: bool) -> None:
        self._data = data
        self._version_2 = version_2
        self._opener, self._signer = X25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        self._recipient, self._verifier = self._opener.public_key(), self._signer.public_key()
        self._ephemeral = X25519PrivateKey.generate().public_key()
        self._wrapped = aes_key_wrap(_KEY, bytes(40))
        self._signature = self._signer.sign(hashlib.sha256(data).digest())
        self._armored = self.close()

    def close(self) -> bytes:
        """Encrypt, sign, armor."""
        ephemeral = X25519PrivateKey.from_private_bytes(os.urandom(32))
        ephemeral.public_key().public_bytes_raw()
        hashlib.sha256(ephemeral.exchange(self._recipient)).digest()
        aes_key_wrap(_KEY, bytes(40))
        self._signer.sign(hashlib.sha256(self._data).digest())
        return pybase64.encodebytes(self._encrypt())

    def open(self) -> None:
        """Remove the armor, decrypt, verify."""
        sealed = pybase64.b64decode(self._armored.replace(b"\n", b""), validate=True)
        hashlib.sha256(self._opener.exchange(self._ephemeral)).digest()
        aes_key_unwrap(_KEY, self._wrapped)
        self._decrypt(sealed)
        self._verifier.verify(self._signature, hashlib.sha256(self._data).digest())

    def _encrypt(self) -> bytes:
        if self._version_2:
            cipher, data = AESOCB3(_KEY), memoryview(self._data)
            pieces = range(0, len(data), _CHUNK)
            return b"".join(cipher.encrypt(_NONCE, data[at : at + _CHUNK], None) for at in pieces)
        hashlib.sha1(self._data, usedforsecurity=False).digest()
        return Cipher(AES(_KEY), CFB(bytes(16))).encryptor().update(self._data)

    def _decrypt(self, sealed: bytes) -> None:
        if self._version_2:
            cipher, step, view = AESOCB3(_KEY), _CHUNK + 16, memoryview(sealed)
            for at in range(0, len(view), step):
                cipher.decrypt(_NONCE, view[at : at + step], None)
        else:
            clear = Cipher(AES(_KEY), CFB(bytes(16))).decryptor().update(sealed)
            hashlib.sha1(clear, usedforsecurity=False).digest()
