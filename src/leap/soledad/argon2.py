"""Argon2id (RFC 9106), one derivation at a time in a process.

OpenSSL 3 computes the lanes in threads of a pool of its own. Two derivations that overlap can take each other's
threads and then both wait for ever; so here each waits for the one before it. It takes a fraction of a second.
"""

from __future__ import annotations

import threading

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

_lock = threading.Lock()


def argon2id(
    secret: bytes, *, salt: bytes, length: int, passes: int, lanes: int, memory_kib: int
) -> bytes:
    """`length` octets derived from a secret. Slow by design: call it outside the event loop.

    Raises ValueError for parameters that Argon2 does not have, MemoryError.
    """
    kdf = Argon2id(salt=salt, length=length, iterations=passes, lanes=lanes, memory_cost=memory_kib)
    with _lock:
        return kdf.derive(secret)
