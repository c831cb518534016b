"""The order of asking, and when an answer is good enough to stop.

Invariants:
* A usable key that is more than a weak chain ends the search, unless it is time to ask about it again.
* A weak or unusable one is used only when every better source answered *none*; when one could not answer, the
  search fails, and the mail waits instead of going out to a key somebody slipped in.
* Asking again takes nothing away: sources that cannot answer, or not soon, leave a usable key as it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from leap.keymanager.discovery.contract import Found, Source
from leap.keymanager.errors import LookupFailed
from leap.keymanager.openpgp import Certificate
from leap.keymanager.trust import Level

REFRESH_SECONDS = 5.0  # waited in all for news of a key which can be used as it is


async def search(
    address: str,
    sources: Sequence[Source],
    *,
    at: float,
    learn: Callable[[Found], Awaitable[Found]],
    refresh: bool = False,
    asked: Callable[[Source, bool], None] = lambda source, answered: None,
) -> Found | None:
    """The best key for an address; None when every source is sure that there is none.

    `learn` takes in what a source found and answers what stands for the address after that (the rule of replacement
    may have kept an older key); it raises LookupFailed for an answer that cannot be true. `refresh`: what the first
    source (the ring) has does not end the search; what the next one has that knows more than a weak chain does. `asked`
    hears of each source whether it answered. Raises LookupFailed.
    """
    best: Found | None = None
    failed: LookupFailed | None = None
    deadline: float | None = None
    for source in sources:
        answered = False
        found = None
        try:
            async with asyncio.timeout_at(deadline):
                found = await source.find(address)
            if found is not None:
                best = await learn(found)
            answered = True
        except LookupFailed as error:
            failed = failed or error
        except TimeoutError:
            failed = failed or LookupFailed("a source of keys took too long to answer")
        asked(source, answered)
        if _is_good(best, at):
            knows = found is not None and found.level > Level.WEAK_CHAIN
            if not refresh or (knows and source is not sources[0]):
                return best
            if deadline is None:
                deadline = asyncio.get_running_loop().time() + REFRESH_SECONDS
    if failed is not None and not _is_good(best, at):
        raise failed
    return best


def _is_good(found: Found | None, at: float) -> bool:
    """Whether the search may end with it."""
    return (
        found is not None and found.level > Level.WEAK_CHAIN and found.certificate.can_encrypt(at)
    )


async def find_offered(
    address: str, fingerprint: str, sources: Sequence[Source]
) -> Certificate | None:
    """The key of an address with this fingerprint, if a source has it; one that fails is passed over."""
    for source in sources:
        try:
            found = await source.find(address)
        except LookupFailed:
            continue
        for one in () if found is None else (found.certificate, *found.others):
            if one.fingerprint == fingerprint:
                return one
    return None
