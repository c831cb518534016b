"""Makes the test vectors of docs/formats/vectors, with fixed randomness: `tools/make_vectors.py` writes them.

Each file is {"format", "cases", "refused"}. Octets are hex. A refused case says what a reader must answer (`error`,
the class in leap.soledad.errors) and why.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.formats import (
    making_account,
    making_log,
    making_login,
    making_sealed,
    making_wire,
)

FOLDER = Path(__file__).parents[2] / "docs" / "formats" / "vectors"

MAKERS: dict[str, Callable[[], dict[str, Any]]] = {
    "envelope": making_sealed.envelope,
    "blob": making_sealed.blob,
    "sizes": making_sealed.sizes,
    "inbox": lambda: making_account.inbox(FOLDER / "inbox.json"),
    "keyset": making_account.keyset,
    "secrets": making_account.secrets,
    "vault": making_account.vault,
    "head": making_log.head,
    "digest": making_log.digest,
    "ids": making_log.ids,
    "items": making_log.items,
    "login": making_login.login,
    "wire": making_wire.wire,
    "export": making_wire.export,
}
