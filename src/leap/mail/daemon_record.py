"""What a running daemon wrote about itself in its home: where its sockets are, and the token they want.

Invariant: a record counts only while the home's own lock is held. A home that was copied brings the record
along, but nobody holds the copy's lock: without the passphrase the copy opens nothing, not even through the
daemon it was copied from.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

RECORD = "daemon.json"
LOCK = "daemon.lock"


def find_daemon(home: Path) -> dict[str, Any] | None:
    """The record of the daemon that runs on this home, or None."""
    if not _is_held(home / LOCK):
        return None
    try:
        record = json.loads((home / RECORD).read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict):
        return None
    texts = all(isinstance(record.get(name), str) for name in ("control", "accounts", "token"))
    return record if texts else None


def _is_held(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
