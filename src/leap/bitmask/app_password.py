"""The password a mail program uses for one account's local IMAP and SMTP servers.

It opens nothing by itself: the account must be unlocked by its passphrase in the running daemon.
It is derived from a random seed that lies in the encrypted store, so that `bitmask mail settings`
can show it again; a new seed revokes the old password.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

SEED_BYTES = 32
_GROUPS, _GROUP = 6, 4  # 24 characters of base32 are 120 bits


def new_seed() -> bytes:
    return secrets.token_bytes(SEED_BYTES)


def app_password(seed: bytes, address: str) -> str:
    """Six groups of four letters and digits, joined by hyphens."""
    digest = hmac.digest(seed, b"leap.mail app password\0" + address.encode(), hashlib.sha256)
    text = base64.b32encode(digest).decode().lower()
    return "-".join(text[i * _GROUP : (i + 1) * _GROUP] for i in range(_GROUPS))


def matches(seed: bytes, address: str, given: str) -> bool:
    """Whether `given` is the password, in time that does not depend on where it differs."""
    expected = hashlib.sha256(app_password(seed, address).encode()).digest()
    return hmac.compare_digest(hashlib.sha256(given.encode("utf-8", "replace")).digest(), expected)
