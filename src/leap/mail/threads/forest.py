"""IMAP's threads of one mailbox (RFC 5256 3): REFERENCES and ORDEREDSUBJECT. Pure, and without recursion.

Both take messages in the order of their numbers, and answer a forest: roots and children in the order they are sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from leap.mail.threads.subject import BaseSubject, subject_key

K = TypeVar("K")


class Sent(NamedTuple, Generic[K]):
    """A message as threading sees it: `references` oldest first, those of In-Reply-To behind them or alone;
    `date` in seconds, when it was sent (RFC 5256 2.2), else its internal date."""

    key: K
    message_id: str
    references: Sequence[str]
    subject: BaseSubject
    date: int


@dataclass(eq=False, slots=True)
class Node(Generic[K]):
    """A message and those that follow it; `key` is None where a message is missing."""

    key: K | None
    children: list[Node[K]] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class _Container(Generic[K]):
    """A message, or the place of one that is known by its id alone."""

    message: Sent[K] | None = None
    number: int = 0
    parent: _Container[K] | None = None
    children: list[_Container[K]] = field(default_factory=list)

    def hang_under(self, parent: _Container[K] | None) -> None:
        if parent is self.parent:
            return
        if self.parent is not None:
            self.parent.children.remove(self)
        self.parent = parent
        if parent is not None:
            parent.children.append(self)

    def is_above(self, other: _Container[K]) -> bool:
        """Whether `other` is this one, or below it."""
        if not self.children:
            return other is self
        one: _Container[K] | None = other
        while one is not None:
            if one is self:
                return True
            one = one.parent
        return False


def thread_by_references(messages: Iterable[Sent[K]]) -> list[Node[K]]:
    """RFC 5256 3, REFERENCES."""
    roots = _pruned(_linked(messages))
    _sort_all(roots)
    roots.sort(key=_order)
    roots = _merged_by_subject(roots)
    _sort_all(roots)
    roots.sort(key=_order)
    return _nodes(roots)


def thread_by_ordered_subject(messages: Iterable[Sent[K]]) -> list[Node[K]]:
    """RFC 5256 3, ORDEREDSUBJECT: of each base subject the first message, and all others as its children."""
    threads: dict[str, list[Sent[K]]] = {}
    for message in sorted(messages, key=lambda one: one.date):  # stable: then by number
        threads.setdefault(subject_key(message.subject.text), []).append(message)
    return [Node(first.key, [Node(one.key) for one in rest]) for first, *rest in threads.values()]


def _linked(messages: Iterable[Sent[K]]) -> list[_Container[K]]:
    """Step 1: parents and children as the references say; answers all containers."""
    by_id: dict[str, _Container[K]] = {}
    out: list[_Container[K]] = []

    def named(message_id: str) -> _Container[K]:
        container = by_id.get(message_id)
        if container is None:
            container = by_id[message_id] = _Container()
            out.append(container)
        return container

    listed = list(messages)
    holders: list[_Container[K]] = []
    for number, message in enumerate(listed):
        own = by_id.get(message.message_id) if message.message_id else None
        if not message.message_id or (own is not None and own.message is not None):
            own = _Container()  # without an id, or with one that another has: a unique one
            out.append(own)
        elif own is None:
            own = named(message.message_id)
        own.message, own.number = message, number
        holders.append(own)
    for own, message in zip(holders, listed, strict=True):
        before: _Container[K] | None = None
        for reference in message.references:
            container = named(reference)
            if before and container.parent is None and not container.is_above(before):
                container.hang_under(before)
            before = container
        if own.parent is before and before is not None:
            continue
        own.hang_under(None)  # what others said of its parent yields: their lists may be cut
        if before is not None and not own.is_above(before):
            own.hang_under(before)
    return out


def _pruned(containers: Sequence[_Container[K]]) -> list[_Container[K]]:
    """Steps 2 and 3: places without a message go where they hold nothing together."""
    roots = [one for one in containers if one.parent is None]
    below: list[_Container[K]] = list(roots)
    for one in below:  # grows while it is walked: every container, parents first
        below.extend(one.children)
    for one in reversed(below):  # children first
        if one.message is not None:
            continue
        parent = one.parent
        if not one.children:
            one.hang_under(None)
        elif parent is not None or len(one.children) == 1:
            for child in list(one.children):
                child.hang_under(parent)
            one.hang_under(None)
    return [one for one in below if one.parent is None and (one.message or one.children)]


def _order(container: _Container[K]) -> tuple[int, int]:
    """Step 4: a missing message counts as its first child."""
    while container.message is None:
        container = container.children[0]
    return container.message.date, container.number


def _sort_all(roots: Sequence[_Container[K]]) -> None:
    below: list[_Container[K]] = list(roots)
    for one in below:
        below.extend(one.children)
    for one in reversed(below):
        one.children.sort(key=_order)


def _subject(container: _Container[K]) -> BaseSubject:
    while container.message is None:
        container = container.children[0]
    return container.message.subject


def _merged_by_subject(roots: Sequence[_Container[K]]) -> list[_Container[K]]:
    """Step 5: roots with one base subject become one thread."""
    table: dict[str, _Container[K]] = {}
    for root in roots:
        subject = _subject(root)
        key = subject_key(subject.text)
        if not key:
            continue
        first = table.setdefault(key, root)
        if first.message is not None and (
            root.message is None or (first.message.subject.reply and not subject.reply)
        ):
            table[key] = root
    out: list[_Container[K]] = []
    for root in roots:
        subject = _subject(root)
        key = subject_key(subject.text)
        first = table.get(key, root) if key else root
        if first is root:
            out.append(root)
        elif first.message is None and root.message is None:
            for child in list(root.children):
                child.hang_under(first)
        elif first.message is None or (subject.reply and not first.message.subject.reply):
            root.hang_under(first)
        else:
            both: _Container[K] = _Container()
            table[key] = both
            out.append(both)
            first.hang_under(both)
            root.hang_under(both)
    return [one for one in out if one.parent is None]


def _nodes(roots: Sequence[_Container[K]]) -> list[Node[K]]:
    made: dict[int, Node[K]] = {}
    below: list[_Container[K]] = list(roots)
    for one in below:
        below.extend(one.children)
        made[id(one)] = Node(one.message.key if one.message else None)
    for one in below:
        made[id(one)].children = [made[id(child)] for child in one.children]
    return [made[id(root)] for root in roots]
