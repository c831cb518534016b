"""What `bitmask sync contents` decides and shows: which contents of mail are kept on this device.

Header records are always kept, so that lists of mail work without the provider.
"""

from __future__ import annotations

from typing import Any, Literal

from leap.bitmask.local_api import CommandRefused
from leap.mail.model import HEADERS
from leap.soledad.blobs.holdings import count_holdings
from leap.soledad.blobs.policy import ContentsPolicy
from leap.soledad.store import Soledad

MOST_KEPT = 2**62  # octets


def contents_policy(arguments: dict[str, Any]) -> ContentsPolicy | None:
    """What a request decides; None when it only asks. Raises CommandRefused."""
    contents, keep = arguments.get("contents"), arguments.get("keep_bytes")
    if contents is None and keep is None:
        return None
    mode: Literal["all", "on-demand"]
    if contents in (None, "all"):
        mode = "all"
    elif contents == "on-demand":
        mode = "on-demand"
    else:
        raise CommandRefused("bad-request", "Contents are kept `all` or `on-demand`.")
    if keep is not None and not (type(keep) is int and 0 <= keep <= MOST_KEPT):
        raise CommandRefused("bad-request", "The size to keep is not a number of bytes.")
    return ContentsPolicy(contents=mode, keep_bytes=keep, always=HEADERS)


async def contents_held(store: Soledad) -> dict[str, Any]:
    """What was decided, and how much is here (header records too), went to save room, or never was here."""
    held = await store.read(count_holdings)
    return {
        "contents": store.policy.contents,
        "keep_bytes": store.policy.keep_bytes,
        **{name: amount._asdict() for name, amount in held._asdict().items()},
    }
