"""Which messages are one thread: a pure function of the messages there are, whatever order they came in.

Two messages belong together
* when they name a message in common, be it one of them or one that is not here: Message-ID, References, In-Reply-To;
* when one is a reply by its subject that does not say to what (an orphan), and the other is the last one of the same
  base subject (RFC 5256 2.1) sent before it, at most `NEAR` seconds;
and whatever belongs together with something of a thread belongs to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

NEAR = (
    60 * 86_400
)  # two months: people answer that late; a monthly "Re: minutes" still is not one endless thread
_NO_DATE = 1 << 61


class Member(NamedTuple):
    """A message, as grouping sees it; see `Facts`. `key` is the same on all devices."""

    key: str
    ids: tuple[int, ...]
    date: int | None
    subject: int
    orphan: bool

    @property
    def may_follow(self) -> bool:
        """Whether it takes part in what subjects say."""
        return self.subject != 0 and self.date is not None


def near(earlier: int, later: int) -> bool:
    return later - earlier <= NEAR


def age(member: Member) -> tuple[int, str]:
    """The smallest is the oldest message of a thread."""
    return (_NO_DATE if member.date is None else member.date), member.key


def root_number(ids: Sequence[int]) -> int:
    """What a thread is named by, given the ids of its oldest message: what that one refers to first, else itself."""
    return ids[1] if len(ids) > 1 else ids[0]


def subject_links(members: Iterable[Member]) -> list[tuple[Member, Member]]:
    """Orphans, and what each follows."""
    by_subject: dict[int, list[Member]] = {}
    for member in members:
        if member.may_follow:
            by_subject.setdefault(member.subject, []).append(member)
    out = []
    for alike in by_subject.values():
        alike.sort(key=age)
        for earlier, later in pairwise(alike):
            if later.orphan and near(age(earlier)[0], age(later)[0]):
                out.append((earlier, later))
    return out


def group(members: Sequence[Member], links: Iterable[tuple[Member, Member]]) -> list[list[Member]]:
    """The threads of these messages, each from its oldest on; `links` are those that subjects make."""
    parent = list(range(len(members)))

    def find(one: int) -> int:
        while parent[one] != one:
            parent[one] = one = parent[parent[one]]
        return one

    place = {member.key: number for number, member in enumerate(members)}
    holder: dict[int, int] = {}
    for number, member in enumerate(members):
        for named in member.ids:
            other = find(holder.setdefault(named, number))
            parent[other] = find(number)
    for earlier, later in links:
        parent[find(place[earlier.key])] = find(place[later.key])
    threads: dict[int, list[Member]] = {}
    for number, member in enumerate(members):
        threads.setdefault(find(number), []).append(member)
    return [sorted(thread, key=age) for thread in threads.values()]
