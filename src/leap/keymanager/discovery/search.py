"""The order of asking, and when an answer is good enough to stop.

Invariants:
* A usable key that is more than a weak chain ends the search.
* A weak or unusable one is used only when every better source answered *none*; when one could not answer, the
  search fails, and the mail waits instead of going out to a key somebody slipped in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from leap.keymanager.discovery.contract import Found, Source
from leap.keymanager.errors import LookupFailed
from leap.keymanager.trust import Level


async def search(
    address: str,
    sources: Sequence[Source],
    *,
    at: float,
    learn: Callable[[Found], Awaitable[Found]],
) -> Found | None:
    """The best key for an address; None when every source is sure that there is none.

    `learn` takes in what a source found and answers what stands after that (the rule of replacement may have
    kept an older key). Raises LookupFailed.
    """
    best: Found | None = None
    failed: LookupFailed | None = None
    for source in sources:
        try:
            found = await source.find(address)
        except LookupFailed as error:
            failed = failed or error
            continue
        if found is None:
            continue
        stands = await learn(found)
        if best is None or _rank(stands, at) > _rank(best, at):
            best = stands
        if best.level > Level.WEAK_CHAIN and best.certificate.can_encrypt(at):
            return best
    if failed is not None:
        raise failed
    return best


def _rank(found: Found, at: float) -> tuple[bool, Level]:
    return found.certificate.can_encrypt(at), found.level
