"""What LIST and STATUS may ask for (RFC 3501 6.3.8, 6.3.10; RFC 5258; RFC 5819; RFC 6154; RFC 8438).

list            = "LIST" [SP list-select-opts] SP mailbox SP mbox-or-pat [SP list-return-opts]
mbox-or-pat     = list-mailbox / "(" list-mailbox *(SP list-mailbox) ")"
list-return-opts = "RETURN" SP "(" [return-option *(SP return-option)] ")"
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from leap.mail.imap.wire.errors import ImapSyntaxError
from leap.mail.imap.wire.metadata import parse_entries
from leap.mail.imap.wire.scanner import Scanner

StatusItem = Literal[
    "MESSAGES",
    "RECENT",
    "UIDNEXT",
    "UIDVALIDITY",
    "UNSEEN",
    "SIZE",
    "HIGHESTMODSEQ",
    "MAILBOXID",
    "DELETED",
    "DELETED-STORAGE",
    "APPENDLIMIT",
]
_STATUS_ITEMS: tuple[StatusItem, ...] = (
    "MESSAGES",
    "RECENT",
    "UIDNEXT",
    "UIDVALIDITY",
    "UNSEEN",
    "SIZE",  # RFC 8438
    "HIGHESTMODSEQ",  # RFC 7162 3.1.7
    "MAILBOXID",  # RFC 8474 4.3
    "DELETED",  # RFC 9208 4.1.4
    "DELETED-STORAGE",
    "APPENDLIMIT",  # RFC 7889 3.1
)
_SELECT = frozenset({"SUBSCRIBED", "REMOTE", "RECURSIVEMATCH", "SPECIAL-USE"})
_RETURN = frozenset({"SUBSCRIBED", "CHILDREN", "SPECIAL-USE"})


@dataclass(frozen=True, slots=True)
class ListRequest:
    """`extended` when the syntax of RFC 5258 was used in any part; `metadata` are entries to tell (RFC 9590)."""

    reference: str
    patterns: tuple[str, ...]
    select: frozenset[str] = frozenset()
    returns: frozenset[str] = frozenset()
    status: tuple[StatusItem, ...] = ()
    extended: bool = False
    metadata: tuple[str, ...] = ()


def parse_list(scanner: Scanner) -> ListRequest:
    """Everything after "LIST ". Raises ImapSyntaxError."""
    select: frozenset[str] = frozenset()
    extended = False
    if scanner.skip(b"("):
        extended = True
        select = _options(scanner, _SELECT)
        if select - {"REMOTE"} == {"RECURSIVEMATCH"}:  # RFC 5258 3.1
            raise ImapSyntaxError("RECURSIVEMATCH needs another selection option.")
        scanner.space()
    reference = scanner.list_mailbox()
    scanner.space()
    patterns: tuple[str, ...]
    if scanner.skip(b"("):
        extended = True
        found = [scanner.list_mailbox()]
        while not scanner.skip(b")"):
            scanner.space()
            found.append(scanner.list_mailbox())
            if len(found) > scanner.limits.list_patterns:
                raise ImapSyntaxError("Too many patterns.")
        patterns = tuple(found)
    else:
        patterns = (scanner.list_mailbox(),)
    returns: frozenset[str] = frozenset()
    status: tuple[StatusItem, ...] = ()
    metadata: tuple[str, ...] = ()
    if not scanner.at_end():
        scanner.space()
    if not scanner.at_end():
        if scanner.keyword() != "RETURN":
            raise ImapSyntaxError("Too many arguments.")
        scanner.space()
        scanner.expect(b"(")
        extended = True
        returns, status, metadata = _returns(scanner)
    return ListRequest(reference, patterns, select, returns, status, extended, metadata)


def _options(scanner: Scanner, known: frozenset[str]) -> frozenset[str]:
    found: set[str] = set()
    first = True
    while not scanner.skip(b")"):
        if not first:
            scanner.space()
        first = False
        word = scanner.keyword()
        if word not in known:
            raise ImapSyntaxError("There is no such LIST option.")
        found.add(word)
    return frozenset(found)


def _returns(
    scanner: Scanner,
) -> tuple[frozenset[str], tuple[StatusItem, ...], tuple[str, ...]]:
    found: set[str] = set()
    status: tuple[StatusItem, ...] = ()
    metadata: tuple[str, ...] = ()
    first = True
    while not scanner.skip(b")"):
        if not first:
            scanner.space()
        first = False
        word = scanner.keyword()
        if word == "STATUS":  # RFC 5819
            scanner.space()
            status = parse_status_items(scanner)
        elif word == "METADATA":  # RFC 9590
            scanner.space()
            if not scanner.at(b"("):
                raise ImapSyntaxError("Here should be entries in brackets.")
            metadata = parse_entries(scanner)
        elif word in _RETURN:
            found.add(word)
        else:
            raise ImapSyntaxError("There is no such LIST option.")
    return frozenset(found), status, metadata


def parse_status_items(scanner: Scanner) -> tuple[StatusItem, ...]:
    """A bracketed list of status items, each once. Raises ImapSyntaxError."""
    scanner.expect(b"(")
    found: list[StatusItem] = []
    while not scanner.skip(b")"):
        if found:
            scanner.space()
        word = scanner.keyword()
        if word not in _STATUS_ITEMS:
            raise ImapSyntaxError("There is no such status item.")
        found.append(word)
        if len(found) > 20:
            raise ImapSyntaxError("Too many status items.")
    if not found:
        raise ImapSyntaxError("Arguments are missing.")
    return tuple(dict.fromkeys(found))
