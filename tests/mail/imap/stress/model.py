"""One client's model of the mailbox it selected, built from what the server says and nothing else.

Whatever the server may not say at this moment, or what contradicts the model, is an AssertionError.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from tests.mail.imap.stress.answers import Item, flags_of, items_of, number_of, numbers_in
from tests.mail.imap.stress.truth import RECENT, Truth


@dataclass
class Message:
    """What the client knows of one message; None: not asked yet."""

    uid: int | None = None
    flags: frozenset[str] | None = None
    modseq: int | None = None


@dataclass
class Moment:
    """What goes on while a response is read."""

    expunges: bool = False  # may be told now (RFC 3501 7.4.1)
    idle: bool = False
    select: bool = False
    answered: set[int] = field(default_factory=set)  # uids of which FETCH spoke
    flagged: dict[int, frozenset[str]] = field(default_factory=dict)  # and with which flags
    searched: list[int] | None = None


class Model:
    def __init__(self, truth: Truth, session: int, condstore: bool, qresync: bool) -> None:
        self.truth = truth
        self.session = session
        self.condstore = condstore
        self.qresync = qresync
        self.validity = 0
        self.mailbox_id = ""
        self.read_only = False
        self.uid_next = 0
        self.highest = 0  # HIGHESTMODSEQ as last told
        self.messages: list[Message] = []
        self.earlier: set[int] = set()  # uids told gone by VANISHED (EARLIER)

    # -- asking the model

    def known(self) -> list[int]:
        return [one.uid for one in self.messages if one.uid is not None]

    def complete(self) -> bool:
        return all(one.uid is not None and one.flags is not None for one in self.messages)

    def find(self, uid: int) -> Message | None:
        return next((one for one in self.messages if one.uid == uid), None)

    def shown(self) -> list[tuple[int | None, frozenset[str] | None]]:
        return [
            (one.uid, None if one.flags is None else one.flags - {RECENT}) for one in self.messages
        ]

    # -- being told

    def exists(self, count: int, moment: Moment) -> None:
        if moment.select:
            self.messages += [Message() for _ in range(count - len(self.messages))]
            return
        assert count > len(self.messages), f"EXISTS {count}, but there are {len(self.messages)}"
        self.messages += [Message() for _ in range(count - len(self.messages))]

    def recent(self, count: int) -> None:
        assert count <= len(self.messages), f"{count} RECENT of {len(self.messages)}"

    def expunge(self, number: int, moment: Moment) -> None:
        assert not self.qresync, "EXPUNGE to a client of QRESYNC"
        assert moment.expunges, "EXPUNGE at a moment at which it may not be"
        assert 1 <= number <= len(self.messages), f"EXPUNGE {number} of {len(self.messages)}"
        del self.messages[number - 1]

    def vanished(self, text: bytes, earlier: bool, moment: Moment) -> None:
        assert self.qresync, "VANISHED to a client which knows nothing of it"
        uids = numbers_in(text)
        assert uids == sorted(set(uids)), "VANISHED does not ascend"
        if earlier:
            self.earlier.update(uids)
            assert moment.select or not set(uids) & set(self.known()), "shown, and vanished earlier"
            return
        assert moment.expunges, "VANISHED at a moment at which it may not be"
        for uid in uids:
            self._vanish(uid)

    def _vanish(self, uid: int) -> None:
        for place, one in enumerate(self.messages):
            if one.uid == uid:
                del self.messages[place]
                return
        # one whose uid was not told yet: of those between its neighbours any may go
        for place, one in enumerate(self.messages):
            if one.uid is None and self._fits(place, uid):
                del self.messages[place]
                return
        raise AssertionError(f"VANISHED {uid}, which was not there")

    def _fits(self, place: int, uid: int) -> bool:
        before = next((m.uid for m in reversed(self.messages[:place]) if m.uid is not None), 0)
        after = next((m.uid for m in self.messages[place + 1 :] if m.uid is not None), uid + 1)
        return before < uid < after

    def fetch(self, number: int, text: bytes, moment: Moment) -> None:
        assert text.startswith(b"(UID "), "UID does not stand first"
        items = items_of(text)
        assert 1 <= number <= len(self.messages), f"FETCH {number} of {len(self.messages)}"
        uid = number_of(items.pop("UID"))
        one = self.messages[number - 1]
        if one.uid is None:
            assert self._fits(number - 1, uid), f"uid {uid} stands at {number} among {self.known()}"
            one.uid = uid
            self.truth.told(self.validity, uid)
        assert one.uid == uid, f"number {number} stood for uid {one.uid}, now for {uid}"
        moment.answered.add(uid)
        if "MODSEQ" in items:
            modseq = number_of(items["MODSEQ"])
            assert one.modseq is None or modseq >= one.modseq, f"the modseq of uid {uid} fell"
            one.modseq = modseq
        if "FLAGS" in items:
            self._flags(one, uid, items, moment)
        if "RFC822.SIZE" in items:
            self.truth.saw_size(self.validity, uid, number_of(items["RFC822.SIZE"]))
        if isinstance(body := items.get("BODY[]"), bytes):
            self.truth.saw_content(self.validity, uid, body)

    def _flags(self, one: Message, uid: int, items: dict[str, Item], moment: Moment) -> None:
        flags = flags_of(items["FLAGS"])
        one.flags = flags
        moment.flagged[uid] = flags - {RECENT}
        if RECENT in flags and not self.read_only:  # EXAMINE takes it from nobody (RFC 3501 2.3.2)
            self.truth.saw_recent(self.validity, uid, self.session)
        if "MODSEQ" in items:
            modseq = number_of(items["MODSEQ"])
            self.truth.saw_state(self.validity, uid, modseq, flags, self.session)

    def check_order(self) -> None:
        known = self.known()
        assert all(low < high for low, high in pairwise(known)), f"uids do not ascend: {known}"

    def told_highest(self, modseq: int) -> None:
        assert modseq >= self.highest, f"HIGHESTMODSEQ fell from {self.highest} to {modseq}"
        self.highest = modseq
