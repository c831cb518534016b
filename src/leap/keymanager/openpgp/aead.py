"""The AEAD modes by their numbers (RFC 9580 9.6): how long their nonces are, and a cipher of each."""

from __future__ import annotations

from typing import Final, Protocol

from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESOCB3

from leap.keymanager.openpgp.eax import AESEAX

EAX: Final = 1
OCB: Final = 2
GCM: Final = 3
NONCE_SIZES: Final = {EAX: 16, OCB: 15, GCM: 12}
TAG_SIZE: Final = 16


class Opener(Protocol):
    """What opens sealed data in one of the modes."""

    def decrypt(self, nonce: bytes, data: bytes, associated_data: bytes | None, /) -> bytes:
        """The plaintext; raises InvalidTag of the primitives library."""
        ...


def opener(mode: int, key: bytes) -> Opener:
    """The cipher of a mode for an AES key."""
    if mode == EAX:
        return AESEAX(key)
    return AESOCB3(key) if mode == OCB else AESGCM(key)
