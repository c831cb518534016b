"""AES in EAX mode (RFC 9580 5.13.3), built of the CMAC and CTR of the primitives library: read, never written.

    OMAC_t(x) = CMAC( t as a block | x )        N = OMAC_0(nonce)   H = OMAC_1(associated data)   C = OMAC_2(sealed)
    tag = N xor H xor C                         clear = CTR(sealed) beginning at N

OpenPGP.js wrote this mode before there was a standard, where a person asked for AEAD. Invariant: the tag is
compared before anything is deciphered.
"""

from __future__ import annotations

import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.cmac import CMAC

_BLOCK = 16


class AESEAX:
    """The decrypting half of the interface of AESGCM and AESOCB3."""

    def __init__(self, key: bytes) -> None:
        """Raises ValueError for keys that AES does not have."""
        self._cipher = AES(key)

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None) -> bytes:
        """The plaintext; raises InvalidTag."""
        if len(data) < _BLOCK:
            raise InvalidTag
        sealed, tag = data[:-_BLOCK], data[-_BLOCK:]
        start = self._omac(0, nonce)
        parts = (start, self._omac(1, associated_data or b""), self._omac(2, sealed))
        expected = 0
        for part in parts:
            expected ^= int.from_bytes(part, "big")
        if not hmac.compare_digest(expected.to_bytes(_BLOCK, "big"), tag):
            raise InvalidTag
        decryptor = Cipher(self._cipher, CTR(start)).decryptor()
        return decryptor.update(sealed) + decryptor.finalize()

    def _omac(self, number: int, data: bytes) -> bytes:
        mac = CMAC(self._cipher)
        mac.update(number.to_bytes(_BLOCK, "big"))
        mac.update(data)
        return mac.finalize()
