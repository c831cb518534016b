"""What each source answered when it was asked, for people: where a key is from, and why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from leap.keymanager.discovery import Found, Source
from leap.keymanager.errors import LookupFailed


class Answer(NamedTuple):
    """One source's answer; `words` says what it said, or why it said nothing."""

    source: str
    outcome: Literal["found", "none", "failed", "not-asked"]
    words: str = ""
    fingerprint: str = ""
    level: str = ""


class Noted:
    """A source whose answer is noted on the way."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name = source.name
        self.answer = Answer(source.name, "not-asked", "a better source had a key already")

    async def find(self, address: str) -> Found | None:
        self.answer = Answer(self.name, "failed", "it took too long to answer")
        try:
            found = await self._source.find(address)
        except LookupFailed as error:
            self.answer = Answer(self.name, "failed", str(error))
            raise
        if found is None:
            self.answer = Answer(self.name, "none")
        else:
            self.answer = Answer(
                self.name,
                "found",
                found.evidence,
                found.certificate.fingerprint,
                found.level.word,
            )
        return found


class Asked(NamedTuple):
    """The outcome of a search: every source's answer, and what stands for the address now, or why nothing is known."""

    answers: Sequence[Answer]
    found: Found | None
    failure: str = ""
