"""What all clients together know to be true for ever: contents, states, and who was given what once."""

from __future__ import annotations

import hashlib
from collections import defaultdict

RECENT = "\\Recent"


class Truth:
    """Facts that no later answer to any client may contradict; a mailbox is known by its UIDVALIDITY."""

    def __init__(self) -> None:
        self.contents: dict[tuple[int, int], tuple[int, bytes]] = {}  # size and hash
        self.states: dict[tuple[int, int, int], frozenset[str]] = {}  # of a uid at a modseq
        self.recent: dict[tuple[int, int], int] = {}  # which session
        self.highest: defaultdict[int, int] = defaultdict(int)  # uids that were told
        self.placed: set[tuple[int, int]] = set()  # by APPENDUID and COPYUID
        self.facts = 0

    def saw_state(
        self, validity: int, uid: int, modseq: int, flags: frozenset[str], session: int
    ) -> None:
        """Flags of a message at a modseq are the same for everyone (RFC 7162 3.1)."""
        self.facts += 1
        flags -= {RECENT}
        known = self.states.setdefault((validity, uid, modseq), flags)
        assert known == flags, f"uid {uid} at modseq {modseq}: {sorted(known)} and {sorted(flags)}"

    def saw_recent(self, validity: int, uid: int, session: int) -> None:
        """One session alone is told that a message is recent (RFC 3501 2.3.2)."""
        self.facts += 1
        first = self.recent.setdefault((validity, uid), session)
        assert first == session, f"uid {uid} is recent to two sessions"

    def saw_size(self, validity: int, uid: int, size: int) -> None:
        self.facts += 1
        known = self.contents.get((validity, uid))
        assert known is None or known[0] == size, f"uid {uid}: RFC822.SIZE {size}, octets {known}"

    def saw_content(self, validity: int, uid: int, octets: bytes) -> None:
        self.facts += 1
        here = (len(octets), hashlib.sha256(octets).digest())
        known = self.contents.setdefault((validity, uid), here)
        assert known == here, f"uid {uid} has other octets than before"

    def was_placed(self, validity: int, uid: int, above: int) -> None:
        """A uid was given: never before, and above all that were told before the command was sent."""
        self.facts += 1
        assert (validity, uid) not in self.placed, f"uid {uid} was given twice"
        assert uid > above, f"uid {uid} was given after {above} had been told"
        self.placed.add((validity, uid))
        self.told(validity, uid)

    def was_copied(self, source: tuple[int, int], target: tuple[int, int]) -> None:
        known = self.contents.get(source)
        if known is not None:
            there = self.contents.setdefault(target, known)
            assert there == known, "a copy has other octets"

    def told(self, validity: int, uid: int) -> None:
        self.highest[validity] = max(self.highest[validity], uid)
