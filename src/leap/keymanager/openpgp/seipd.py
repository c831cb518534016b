"""The encrypted container (SEIPD, RFC 9580 5.13): version 1 with its modification detection code, version 2 with AEAD.

    v1:  1 | CFB( random block | its last two octets again | packets | D3 14 | SHA-1 of all before )
    v2:  2 | cipher | mode | chunk size | salt 32 | chunks: AEAD(packets) + tag ... | final tag
         key and nonce prefix = HKDF-SHA256(session key, salt, header); nonce = prefix + chunk number

Invariants:
* Nothing is given out before all of it was authenticated: MDC compared, or every chunk and the final tag opened.
* The two repeated octets of version 1 are not looked at: checking them is an oracle (RFC 9580 13.4).
* Nonce rule of v2: the salt is fresh for each message, so key and nonce prefix are; the counter never repeats.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESOCB3
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from leap.keymanager.openpgp import aead as modes
from leap.keymanager.openpgp import algorithms
from leap.keymanager.openpgp.errors import IntegrityError, Malformed, NoSecretKey, Unsupported
from leap.keymanager.openpgp.packets import Cursor, Tag, packet_head
from leap.keymanager.openpgp.session_key import SessionKey

_MDC_HEADER = b"\xd3\x14"
_STEP = 1 << 20  # octets deciphered in one call, during which no other thread runs: 5 ms
_CHUNK = 10  # 2^(10+6) = 64 KiB: one chunk for most mail
_CHANGED = "the encrypted message was changed on its way; nothing of it is shown"


def open_container(body: bytes, session: SessionKey) -> bytes:
    """The packets inside a SEIPD packet's body.

    Raises IntegrityError when it was changed, Unsupported, Malformed; NoSecretKey when the session key cannot be
    of this message.
    """
    if body[:1] == b"\x01":
        return _open_v1(body, session)
    if body[:1] == b"\x02":
        return _open_v2(body, session)
    raise Unsupported("an encrypted container of an unknown version")


def seal_v1(
    packets: bytes | Sequence[bytes],
    session: SessionKey,
    *,
    lead: bytes = b"",
    random: Callable[[int], bytes] = os.urandom,
) -> bytearray:
    """A whole SEIPD packet of version 1 with `packets`, which may come in pieces, after the octets `lead`."""
    pieces = (packets,) if isinstance(packets, bytes) else packets
    cipher = session.cipher or 0
    size = algorithms.block_size(cipher)
    block = random(size)
    prefix = block + block[-2:]
    digest = hashlib.sha1(prefix, usedforsecurity=False)
    for piece in pieces:
        digest.update(piece)
    digest.update(_MDC_HEADER)
    length = 1 + len(prefix) + sum(map(len, pieces)) + 22
    head = b"".join((lead, packet_head(Tag.SEIPD, length), b"\x01"))
    # The system clears every new page of memory, which takes longer than anything but the cipher: so it all goes
    # into one place. The cipher wants room for a block more than it writes.
    sealed = bytearray(len(head) + length - 1 + size)
    sealed[: len(head)] = head
    encryptor = algorithms.cfb(cipher, session.key, bytes(size)).encryptor()
    at = len(head)
    with memoryview(sealed) as room:
        for piece in (prefix, *pieces, _MDC_HEADER + digest.digest()):
            clear = memoryview(piece)
            for start in range(0, len(piece), _STEP):
                at += encryptor.update_into(clear[start : start + _STEP], room[at:])
    encryptor.finalize()  # a stream mode: nothing is left
    del sealed[at:]
    return sealed


def _open_v1(body: bytes, session: SessionKey) -> bytes:
    if session.cipher is None:
        raise NoSecretKey("the session key does not say its cipher")
    size = algorithms.block_size(session.cipher)
    if len(session.key) != algorithms.key_size(session.cipher):
        raise NoSecretKey("the session key does not fit the message")
    if len(body) < 1 + size + 2 + 22:
        raise Malformed("an encrypted message is too short")
    decryptor = algorithms.cfb(session.cipher, session.key, bytes(size)).decryptor()
    clear = bytearray(len(body) - 1 + size)
    written, sealed = 0, memoryview(body)[1:]
    for at in range(0, len(sealed), _STEP):
        written += decryptor.update_into(sealed[at : at + _STEP], memoryview(clear)[written:])
    decryptor.finalize()  # a stream mode: nothing is left
    view = memoryview(clear)[:written]
    digest = hashlib.sha1(view[:-20], usedforsecurity=False).digest()
    intact = hmac.compare_digest(digest, view[-20:])
    framed = hmac.compare_digest(_MDC_HEADER, view[-22:-20])
    if not (intact and framed):
        raise IntegrityError(_CHANGED)
    return bytes(view[size + 2 : -22])


def seal_v2(
    packets: bytes | Sequence[bytes],
    session: SessionKey,
    *,
    lead: bytes = b"",
    random: Callable[[int], bytes] = os.urandom,
) -> bytearray:
    """The same of version 2: AES-256 in OCB mode."""
    pieces = (packets,) if isinstance(packets, bytes) else packets
    header, salt = bytes([0xC0 | Tag.SEIPD, 2, 9, modes.OCB, _CHUNK]), random(32)
    key, prefix = _derive(session.key, header, salt)
    aead = AESOCB3(key)
    step, size = 1 << (_CHUNK + 6), sum(map(len, pieces))
    count = -(-size // step)
    length = len(header) - 1 + len(salt) + size + 16 * (count + 1)
    head = b"".join((lead, packet_head(Tag.SEIPD, length), header[1:], salt))
    sealed = bytearray(len(head) + size + 16 * (count + 1))
    sealed[: len(head)] = head
    at = len(head)
    with memoryview(sealed) as room:
        for index, chunk in enumerate(_chunks(pieces, step)):
            end = at + len(chunk) + 16
            aead.encrypt_into(prefix + index.to_bytes(8, "big"), chunk, header, room[at:end])
            at = end
        total = header + size.to_bytes(8, "big")
        aead.encrypt_into(prefix + count.to_bytes(8, "big"), b"", total, room[at:])
    return sealed


def _chunks(pieces: Sequence[bytes], step: int) -> Iterator[bytes | memoryview]:
    """`pieces`, one after the other, in chunks of `step` octets and a last shorter one."""
    rest = b""
    for piece in pieces:
        view = memoryview(piece)
        if rest:
            missing = step - len(rest)
            rest, view = rest + view[:missing], view[missing:]
            if len(rest) < step:
                continue
            yield rest
        whole = len(view) // step * step
        for at in range(0, whole, step):
            yield view[at : at + step]
        rest = bytes(view[whole:])
    if rest:
        yield rest


def _open_v2(body: bytes, session: SessionKey) -> bytes:
    cursor = Cursor(body)
    header = bytes([0xC0 | Tag.SEIPD]) + cursor.take(4)
    salt = cursor.take(32)
    _, _, cipher, mode, chunk = header
    if cipher not in algorithms.AES_KEY_SIZES or mode not in modes.NONCE_SIZES:
        raise Unsupported("an encrypted container with an unsupported cipher")
    if chunk > 16:
        raise Malformed("an encrypted container with too large chunks")  # RFC 9580 5.13.2
    if len(session.key) != algorithms.AES_KEY_SIZES[cipher]:
        raise NoSecretKey("the session key does not fit the message")
    key, prefix = _derive(session.key, header, salt)
    aead = modes.opener(mode, key)
    rest = cursor.rest()
    if len(rest) < 16:
        raise Malformed("an encrypted message is too short")
    end, step = len(rest) - 16, (1 << (chunk + 6)) + 16
    clear = BytesIO()
    index = 0
    try:
        for at in range(0, end, step):
            piece = rest[at : min(at + step, end)]
            clear.write(aead.decrypt(prefix + index.to_bytes(8, "big"), piece, header))
            index += 1
        total = header + clear.tell().to_bytes(8, "big")
        aead.decrypt(prefix + index.to_bytes(8, "big"), rest[end:], total)
    except (InvalidTag, ValueError):
        raise IntegrityError(_CHANGED) from None
    return clear.getvalue()


def _derive(key: bytes, header: bytes, salt: bytes) -> tuple[bytes, bytes]:
    """The key, and the octets all nonces begin with."""
    size = algorithms.AES_KEY_SIZES[header[2]]
    nonce = modes.NONCE_SIZES[header[3]] - 8
    derived = HKDF(hashes.SHA256(), size + nonce, salt, header).derive(key)
    return derived[:size], derived[size:]
