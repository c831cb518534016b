"""What each source answered when it was asked, for people: where a key is from, and why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from leap.keymanager.discovery import Found, Source
from leap.keymanager.errors import LookupFailed


class Answer(NamedTuple):
    """One source's answer; `words` says what it said, or why it said nothing."""

    source: str
    outcome: Literal["found", "none", "failed", "not-asked"]
    words: str = ""
    fingerprint: str = ""
    level: str = ""


@runtime_checkable
class AskedNow(Protocol):
    """A source that remembers what it said, and can be asked again before its time."""

    async def ask(self, address: str) -> Found | None: ...


class Noted:
    """A source that is asked now, whatever it remembers, and whose answer is noted on the way."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.name = source.name
        self.answer = Answer(source.name, "not-asked", "a better source had a key already")

    async def find(self, address: str) -> Found | None:
        self.answer = Answer(self.name, "failed", "it took too long to answer")
        try:
            source = self._source
            again = source.ask if isinstance(source, AskedNow) else source.find
            found = await again(address)
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
