"""Turning passphrases into keys (RFC 9580 3.7): all that secret keys in the wild use; Argon2 and iterated for ours."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import suppress

from cryptography.exceptions import UnsupportedAlgorithm

from leap.keymanager.openpgp.algorithms import SHA256, hash_algorithm
from leap.keymanager.openpgp.errors import Malformed, TooLarge, Unsupported, WrongPassphrase
from leap.keymanager.openpgp.packets import Cursor
from leap.soledad.argon2 import argon2id

# RFC 9580's own first recommendation is 2^21 KiB (2 GiB); a key file asking for more means harm.
MAX_ARGON2_MEMORY = 21
MAX_ARGON2_PASSES = 16
MAX_ARGON2_LANES = 64
# KiB times passes: twice the most expensive of RFC 9106's own choices, a few seconds
MAX_ARGON2_WORK = 1 << 22
GNU_STUB = 101  # GnuPG's private number: the secret part is not in this file


def octets_of(passphrase: str | bytes) -> bytes:
    """A passphrase as it is hashed; raises WrongPassphrase for a text that cannot be written."""
    if isinstance(passphrase, bytes):
        return passphrase
    with suppress(UnicodeEncodeError):  # which would carry the passphrase with it
        return passphrase.encode("utf-8", "surrogateescape")  # octets of a terminal, as they were
    raise WrongPassphrase("the passphrase has characters that cannot be written")


def read_specifier(cursor: Cursor) -> bytes:
    """A string-to-key specifier, validated only in form."""
    kind = cursor.number(1)
    sizes = {0: 1, 1: 9, 3: 10, 4: 19, GNU_STUB: 5}
    if kind not in sizes:
        raise Unsupported(f"string-to-key method {kind} is not supported")
    return bytes([kind]) + cursor.take(sizes[kind])


def iterated(random: Callable[[int], bytes]) -> bytes:
    """A new specifier: iterated and salted SHA-256 at its highest count (RFC 9580 3.7.1.3), which all programs read."""
    return bytes([3, SHA256]) + random(8) + b"\xff"


def argon2_work(specifier: bytes) -> int:
    """KiB times passes that a derivation asks for; 0 for those without Argon2, which are cheap."""
    return specifier[17] << specifier[19] if specifier[0] == 4 else 0


def derive(
    passphrase: bytes, specifier: bytes, size: int, *, max_memory: int = MAX_ARGON2_MEMORY
) -> bytes:
    """A key of `size` octets; raises Unsupported, TooLarge, Malformed.

    May take a few seconds and much memory: not on the loop.
    """
    kind = specifier[0]
    if kind == 4:
        return _argon2(passphrase, specifier, size, max_memory)
    if kind not in (0, 1, 3):
        raise Unsupported(f"string-to-key method {kind} is not supported")
    name = hash_algorithm(specifier[1]).name
    salt = specifier[2:10] if kind else b""
    material = salt + passphrase
    count = len(material)
    if kind == 3:  # RFC 9580 3.7.1.3
        coded = specifier[10]
        count = max(count, (16 + (coded & 15)) << ((coded >> 4) + 6))
    whole, part = divmod(count, len(material)) if material else (0, 0)
    block = material * max(1, 65_536 // max(1, len(material)))
    per_block = len(block) // len(material) if material else 1
    key = b""
    preload = 0
    while len(key) < size:
        digest = hashlib.new(name, bytes(preload), usedforsecurity=False)
        for _ in range(whole // per_block):
            digest.update(block)
        digest.update(material * (whole % per_block) + material[:part])
        key += digest.digest()
        preload += 1
    return key[:size]


def _argon2(passphrase: bytes, specifier: bytes, size: int, max_memory: int) -> bytes:
    salt, (passes, lanes, exponent) = specifier[1:17], specifier[17:20]
    if exponent > max_memory or passes > MAX_ARGON2_PASSES or lanes > MAX_ARGON2_LANES:
        raise Unsupported("the passphrase hashing asks for too much memory or time")
    if argon2_work(specifier) > MAX_ARGON2_WORK:
        raise Unsupported("the passphrase hashing asks for too much memory or time")
    try:
        return argon2id(
            passphrase, salt=salt, length=size, passes=passes, lanes=lanes, memory_kib=1 << exponent
        )
    except MemoryError:
        raise TooLarge("the passphrase hashing needs more memory than there is") from None
    except (ValueError, UnsupportedAlgorithm):
        raise Malformed("the passphrase hashing has impossible parameters") from None
