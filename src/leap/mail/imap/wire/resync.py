"""What CONDSTORE and QRESYNC add to SELECT, FETCH and STORE (RFC 7162 7).

select-param   = "CONDSTORE" / "QRESYNC" SP "(" uidvalidity SP mod-sequence-value
                 [SP known-uids] [SP seq-match-data] ")"
seq-match-data = "(" known-sequence-set SP known-uid-set ")"
fetch-modifier = "CHANGEDSINCE" SP mod-sequence-value / "VANISHED" / "PARTIAL" SP partial-range   (RFC 9394)
store-modifier = "UNCHANGEDSINCE" SP mod-sequence-valzer
"""

from __future__ import annotations

from dataclasses import dataclass

from leap.mail.imap.wire.errors import ImapSyntaxError
from leap.mail.imap.wire.numbers import STAR, NumberSet
from leap.mail.imap.wire.partial import PartialRange, parse_partial
from leap.mail.imap.wire.scanner import Scanner

MAX_MODSEQ = 2**63 - 1  # RFC 7162 7: mod-sequence-value has 63 bits


@dataclass(frozen=True, slots=True)
class Resync:
    """What a client remembers of a mailbox; `match` pairs sequence numbers with uids it had, both ascending."""

    uid_validity: int
    modseq: int
    known: NumberSet | None = None
    match: tuple[NumberSet, NumberSet] | None = None


def parse_select_parameters(scanner: Scanner) -> tuple[bool, Resync | None]:
    """Whether CONDSTORE is asked for, and what QRESYNC says. Raises ImapSyntaxError."""
    condstore, resync = False, None
    if not _list_follows(scanner):
        return condstore, resync
    while True:
        word = scanner.keyword()
        if word == "CONDSTORE":
            condstore = True
        elif word == "QRESYNC" and resync is None:
            scanner.space()
            resync = _resync(scanner)
        else:
            raise ImapSyntaxError("There is no such parameter of SELECT.")
        if scanner.skip(b")"):
            return condstore, resync
        scanner.space()


def _resync(scanner: Scanner) -> Resync:
    scanner.expect(b"(")
    uid_validity = scanner.number()
    scanner.space()
    modseq = modseq_value(scanner)
    known, match = None, None
    if not scanner.skip(b")"):
        scanner.space()
        if not scanner.at(b"("):
            known = _known_set(scanner)
            if scanner.skip(b")"):
                return Resync(uid_validity, modseq, known)
            scanner.space()
        scanner.expect(b"(")
        numbers = _known_set(scanner)
        scanner.space()
        uids = _known_set(scanner)
        scanner.expect(b")")
        scanner.expect(b")")
        if numbers.count() != uids.count():  # RFC 7162 3.2.5.2
            raise ImapSyntaxError("There is a uid to each sequence number.")
        match = (numbers, uids)
    return Resync(uid_validity, modseq, known, match)


def _known_set(scanner: Scanner) -> NumberSet:
    """A set of what the client had: it knows its greatest number, so "*" and "$" say nothing (RFC 7162 7)."""
    found = scanner.number_set()
    if found.saved or any(STAR in span for span in found.ranges):
        raise ImapSyntaxError("Here numbers are written out.")
    return found


def parse_fetch_modifiers(scanner: Scanner) -> tuple[int | None, bool, PartialRange | None]:
    """CHANGEDSINCE, whether VANISHED stands beside it, and PARTIAL. Raises ImapSyntaxError."""
    changed_since, vanished = None, False
    partial: PartialRange | None = None
    if not _list_follows(scanner):
        return changed_since, vanished, partial
    while True:
        word = scanner.keyword()
        if word == "CHANGEDSINCE" and changed_since is None:
            scanner.space()
            changed_since = modseq_value(scanner)
        elif word == "VANISHED":
            vanished = True
        elif word == "PARTIAL" and partial is None:
            scanner.space()
            partial = parse_partial(scanner)
        else:
            raise ImapSyntaxError("There is no such modifier of FETCH.")
        if scanner.skip(b")"):
            break
        scanner.space()
    if vanished and changed_since is None:  # RFC 7162 3.2.6
        raise ImapSyntaxError("VANISHED goes with CHANGEDSINCE.")
    return changed_since, vanished, partial


def parse_unchanged_since(scanner: Scanner) -> int | None:
    """The modifier of STORE, which stands before what is stored. Raises ImapSyntaxError."""
    if not scanner.skip(b"("):
        return None
    if scanner.keyword() != "UNCHANGEDSINCE":
        raise ImapSyntaxError("There is no such modifier of STORE.")
    scanner.space()
    value = modseq_or_zero(scanner)
    scanner.expect(b")")
    scanner.space()
    return value


def modseq_value(scanner: Scanner) -> int:
    """mod-sequence-value: never 0."""
    value = modseq_or_zero(scanner)
    if value == 0:
        raise ImapSyntaxError("Here a modification sequence is at least 1.")
    return value


def modseq_or_zero(scanner: Scanner) -> int:
    return scanner.number(MAX_MODSEQ)


def _list_follows(scanner: Scanner) -> bool:
    """Takes the space and the bracket before parameters; spaces at the end of a line are let pass."""
    if scanner.at_end():
        return False
    scanner.space()
    if scanner.at_end():
        return False
    scanner.expect(b"(")
    return True
