"""Looking into one's own keyring: no network, and whatever was believed best so far."""

from __future__ import annotations

from leap.keymanager.discovery.contract import Found
from leap.keymanager.documents import decisive
from leap.keymanager.explanation import barred, source_words
from leap.keymanager.keyring import Bound, Keyring

NAME = "ring"


class RingSource:
    """The account's own keyring as a source; never fails."""

    name = NAME

    def __init__(self, ring: Keyring, known: Bound | None = None) -> None:
        """`known` is what was just read for the address that will be asked about."""
        self._ring = ring
        self._known = known

    async def find(self, address: str) -> Found | None:
        bound = self._known or await self._ring.find(address)
        if bound is None:
            return None
        why = decisive(bound.binding.evidence, bound.binding.level)
        reason = "" if why is None else why.detail or source_words(why.source)
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
