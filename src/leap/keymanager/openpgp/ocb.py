"""GnuPG's own AEAD container (LibrePGP 5.16, packet type 20), which GnuPG 2.3 and later write, and OpenPGP.js 5:
read, never written.

    1 | cipher | mode | chunk size | IV | chunks: AEAD(packets) + tag ... | final tag
    nonce = IV with its last eight octets xor chunk number; associated data = header | chunk number [| octets in all]

Invariant: nothing is given out before every chunk and the final tag, which counts them, were opened.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag

from leap.keymanager.openpgp import aead, algorithms
from leap.keymanager.openpgp.errors import IntegrityError, Malformed, NoSecretKey, Unsupported
from leap.keymanager.openpgp.packets import Cursor, Tag
from leap.keymanager.openpgp.session_key import SessionKey

_MAX_CHUNK = 16  # 2^(16+6) = 4 MiB: what GnuPG writes, and the most the draft allows


def open_ocb(body: bytes, session: SessionKey) -> bytes:
    """The packets inside the body of an OCB encrypted data packet.

    Raises IntegrityError when it was changed, Unsupported, Malformed; NoSecretKey when the session key cannot be
    of this message.
    """
    cursor = Cursor(body)
    header = bytes([0xC0 | Tag.OCB]) + cursor.take(4)
    _, version, cipher, mode, chunk = header
    if version != 1 or cipher not in algorithms.AES_KEY_SIZES or mode not in (aead.EAX, aead.OCB):
        raise Unsupported("an encrypted container of GnuPG's with an unsupported cipher")
    if chunk > _MAX_CHUNK:
        raise Malformed("an encrypted container with too large chunks")
    if len(session.key) != algorithms.AES_KEY_SIZES[cipher]:
        raise NoSecretKey("the session key does not fit the message")
    initial = cursor.take(aead.NONCE_SIZES[mode])
    sealed = cursor.rest()
    end, step = len(sealed) - aead.TAG_SIZE, (1 << (chunk + 6)) + aead.TAG_SIZE
    if end < 0:
        raise Malformed("an encrypted message is too short")
    opener = aead.opener(mode, session.key)
    clear = bytearray()
    count = 0
    try:
        for at in range(0, end, step):
            piece = sealed[at : min(at + step, end)]
            clear += _open(opener, initial, count, piece, header, b"")
            count += 1
        _open(opener, initial, count, sealed[end:], header, len(clear).to_bytes(8, "big"))
    except (InvalidTag, ValueError):
        raise IntegrityError(
            "the encrypted message was changed on its way; nothing of it is shown"
        ) from None
    return bytes(clear)


def _open(
    opener: aead.Opener, initial: bytes, count: int, sealed: bytes, header: bytes, total: bytes
) -> bytes:
    nonce = (int.from_bytes(initial, "big") ^ count).to_bytes(len(initial), "big")
    return opener.decrypt(nonce, sealed, header + count.to_bytes(8, "big") + total)
