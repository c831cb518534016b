"""What SORT and THREAD may ask for (RFC 5256, 5267, 5957), and how their answers are written.

sort          = "SORT" [SP "RETURN" SP "(" [option *(SP option)] ")"] SP sort-criteria SP charset 1*(SP search-key)
sort-criteria = "(" sort-criterion *(SP sort-criterion) ")"
sort-criterion = ["REVERSE" SP] ("ARRIVAL" / "CC" / "DATE" / "DISPLAYFROM" / "DISPLAYTO" / "FROM" / "SIZE" / "SUBJECT"
               / "TO")
thread        = "THREAD" SP thread-alg SP charset 1*(SP search-key)
thread-list   = "(" (thread-members / thread-nested) ")"
thread-members = nz-number *(SP nz-number) [SP thread-nested]
thread-nested = 2*thread-list
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from leap.mail.imap.wire.errors import ImapSyntaxError
from leap.mail.imap.wire.scanner import Scanner
from leap.mail.imap.wire.searching import SearchProgram, parse_returns, parse_search_in
from leap.mail.sorting.model import SortField, SortKey, ThreadAlgorithm

_FIELDS: dict[str, SortField] = {name.upper(): name for name in get_args(SortField)}
_ALGORITHMS: dict[str, ThreadAlgorithm] = {name.upper(): name for name in get_args(ThreadAlgorithm)}
MAX_KEYS = 20  # all fields, and each once more in reverse


@dataclass(frozen=True, slots=True)
class Sort:
    keys: tuple[SortKey, ...]
    program: SearchProgram
    by_uid: bool


@dataclass(frozen=True, slots=True)
class Thread:
    algorithm: ThreadAlgorithm
    program: SearchProgram
    by_uid: bool


def parse_sort(scanner: Scanner, by_uid: bool) -> Sort:
    """Everything after the name of the command. Raises ImapSyntaxError."""
    returns, partial = parse_returns(scanner)
    if partial is not None:  # that is CONTEXT=SORT (RFC 5267 4.4)
        raise ImapSyntaxError("Pages are there for SEARCH, not for SORT.")
    keys = _keys(scanner)
    scanner.space()
    return Sort(keys, parse_search_in(scanner, returns), by_uid)


def parse_thread(scanner: Scanner, by_uid: bool) -> Thread:
    """Everything after the name of the command. Raises ImapSyntaxError."""
    algorithm = _ALGORITHMS.get(scanner.keyword())
    if algorithm is None:
        raise ImapSyntaxError("Threads are made by REFERENCES or ORDEREDSUBJECT.")
    scanner.space()
    return Thread(algorithm, parse_search_in(scanner, None), by_uid)


def _keys(scanner: Scanner) -> tuple[SortKey, ...]:
    scanner.expect(b"(")
    keys: list[SortKey] = []
    while True:
        word = scanner.keyword()
        descending = word == "REVERSE"
        if descending:
            scanner.space()
            word = scanner.keyword()
        field = _FIELDS.get(word)
        if field is None:
            raise ImapSyntaxError("There is no such sort key.")
        keys.append(SortKey(field, descending))
        if len(keys) > MAX_KEYS:
            raise ImapSyntaxError("Too many sort keys.")
        if scanner.skip(b")"):
            return tuple(keys)
        scanner.space()


def format_threads(lines: Sequence[tuple[int, int]]) -> bytes:
    """The thread-lists of (depth, number), each message before those that follow it; 0 where one is missing."""
    parents: list[int] = []
    children = [0] * len(lines)
    above: list[int] = []  # the place of the last message of each depth
    for place, (depth, _) in enumerate(lines):
        del above[depth:]
        parents.append(above[-1] if above else -1)
        if above:
            children[above[-1]] += 1
        above.append(place)
    out: list[bytes] = [b""]
    opened: list[int] = []  # depths of the messages whose list is open
    for (depth, number), parent in zip(lines, parents, strict=True):
        while opened and opened[-1] >= depth:
            opened.pop()
            out.append(b")")
        if out[-1][-1:].isdigit():
            out.append(b" ")
        if parent < 0 or children[parent] > 1:  # one that follows alone stands beside its parent
            opened.append(depth)
            out.append(b"(")
        if number:
            out.append(b"%d" % number)
    out.append(b")" * len(opened))
    return b"".join(out)
