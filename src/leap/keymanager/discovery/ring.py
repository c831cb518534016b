"""Looking into one's own keyring: no network, and whatever was believed best so far."""

from __future__ import annotations

from leap.keymanager.discovery.contract import Found
from leap.keymanager.explanation import barred, best_evidence, source_words
from leap.keymanager.keyring import Keyring

NAME = "ring"


class RingSource:
    """The account's own keyring as a source; never fails."""

    name = NAME

    def __init__(self, ring: Keyring) -> None:
        self._ring = ring

    async def find(self, address: str) -> Found | None:
        bound = await self._ring.find(address)
        if bound is None:
            return None
        best = best_evidence(bound.binding.evidence)
        reason = "" if best is None else best.detail or source_words(best.source)
        since = f", because of this: {reason}" if reason else ""
        word = barred(bound)
        return Found(
            certificate=bound.certificate,
            level=bound.level,
            source=NAME,
            evidence=f"in the keyring{since}",
            barred=word.reason if word else "",
            remedy=word.remedy if word else "",
        )
