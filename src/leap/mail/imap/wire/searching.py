"""What SEARCH may ask for (RFC 3501 6.4.4; RFC 4731, 5032, 5182; RFC 7162 3.1.5), as a tree of values.

search     = "SEARCH" [SP "RETURN" SP "(" [option *(SP option)] ")"] [SP "CHARSET" SP astring] 1*(SP search-key)
search-key = "ALL" / "ANSWERED" / ... / "OR" SP search-key SP search-key / "NOT" SP search-key
             / "MODSEQ" [SP entry-name SP entry-type-req] SP mod-sequence-valzer
             / ("SAVEDBEFORE" / "SAVEDON" / "SAVEDSINCE") SP date / "SAVEDATESUPPORTED"
             / "EMAILID" SP objectid / "THREADID" SP objectid
             / sequence-set / "$" / "(" search-key *(SP search-key) ")"
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Literal

from leap.mail.imap.wire.dates import parse_date
from leap.mail.imap.wire.errors import ImapSyntaxError
from leap.mail.imap.wire.numbers import NumberSet
from leap.mail.imap.wire.partial import PartialRange, parse_partial
from leap.mail.imap.wire.resync import modseq_or_zero
from leap.mail.imap.wire.scanner import Scanner

CHARSETS = {"US-ASCII": "ascii", "ASCII": "ascii", "UTF-8": "utf-8", "UTF8": "utf-8"}


@dataclass(frozen=True, slots=True)
class All:
    """Every message."""


@dataclass(frozen=True, slots=True)
class And:
    keys: tuple[SearchKey, ...]


@dataclass(frozen=True, slots=True)
class Or:
    left: SearchKey
    right: SearchKey


@dataclass(frozen=True, slots=True)
class Not:
    key: SearchKey


@dataclass(frozen=True, slots=True)
class HasFlag:
    flag: str
    there: bool = True


@dataclass(frozen=True, slots=True)
class IsNew:
    """Recent and not seen."""


@dataclass(frozen=True, slots=True)
class Numbers:
    numbers: NumberSet
    by_uid: bool


@dataclass(frozen=True, slots=True)
class Size:
    larger: bool
    octets: int


@dataclass(frozen=True, slots=True)
class Day:
    """`sent` compares the Date field, else the internal date."""

    relation: Literal["before", "on", "since"]
    day: date
    sent: bool


@dataclass(frozen=True, slots=True)
class Saved:
    """RFC 8514 4.3: compares the day on which the message came into the mailbox."""

    relation: Literal["before", "on", "since"]
    day: date


@dataclass(frozen=True, slots=True)
class Age:
    """RFC 5032: internal date within, or not within, the last `seconds`."""

    older: bool
    seconds: int


@dataclass(frozen=True, slots=True)
class Header:
    """A field, in lower case, contains the text; an empty text asks only for the field."""

    field: str
    text: str


@dataclass(frozen=True, slots=True)
class Text:
    where: Literal["text", "body"]
    text: str


@dataclass(frozen=True, slots=True)
class ChangedAt:
    """RFC 7162 3.1.5: the modseq is this one or greater."""

    modseq: int


@dataclass(frozen=True, slots=True)
class ObjectId:
    """RFC 8474 6: the message, or its thread, has this id."""

    kind: Literal["EMAILID", "THREADID"]
    object_id: bytes


SearchKey = (
    All
    | And
    | Or
    | Not
    | HasFlag
    | IsNew
    | Numbers
    | Size
    | Day
    | Saved
    | Age
    | Header
    | Text
    | ChangedAt
    | ObjectId
)
Return = Literal["MIN", "MAX", "COUNT", "ALL", "SAVE", "PARTIAL"]


@dataclass(frozen=True, slots=True)
class SearchProgram:
    """`returns` is None for the plain answer of RFC 3501; `charset` was named but is unknown when
    `bad_charset` holds; with `modseq` the answer tells one too; `partial` is the page asked for (RFC 9394)."""

    key: SearchKey
    returns: frozenset[Return] | None
    bad_charset: bool = False
    modseq: bool = False
    partial: PartialRange | None = None


_FLAGS: dict[str, SearchKey] = {
    "ANSWERED": HasFlag("\\Answered"),
    "DELETED": HasFlag("\\Deleted"),
    "DRAFT": HasFlag("\\Draft"),
    "FLAGGED": HasFlag("\\Flagged"),
    "SEEN": HasFlag("\\Seen"),
    "RECENT": HasFlag("\\Recent"),
    "OLD": HasFlag("\\Recent", there=False),
    "UNANSWERED": HasFlag("\\Answered", there=False),
    "UNDELETED": HasFlag("\\Deleted", there=False),
    "UNDRAFT": HasFlag("\\Draft", there=False),
    "UNFLAGGED": HasFlag("\\Flagged", there=False),
    "UNSEEN": HasFlag("\\Seen", there=False),
    "NEW": IsNew(),
    "ALL": All(),
    "SAVEDATESUPPORTED": All(),  # RFC 8514 4.3: all messages have one
}
_DAYS: dict[str, tuple[Literal["before", "on", "since"], bool]] = {
    "BEFORE": ("before", False),
    "ON": ("on", False),
    "SINCE": ("since", False),
    "SENTBEFORE": ("before", True),
    "SENTON": ("on", True),
    "SENTSINCE": ("since", True),
}


_SAVED: dict[str, Literal["before", "on", "since"]] = {
    "SAVEDBEFORE": "before",
    "SAVEDON": "on",
    "SAVEDSINCE": "since",
}


def parse_search(scanner: Scanner) -> SearchProgram:
    """Everything after the name of the command. Raises ImapSyntaxError."""
    parser = _Parser(scanner)
    returns, partial = parse_returns(scanner)
    parser.partial = partial
    if _word_ahead(scanner, b"CHARSET"):
        if not scanner.charsets:  # RFC 9755 3
            raise ImapSyntaxError("All is UTF-8 now; no charset is named.")
        scanner.space()
        parser.charset()
    return parser.program(returns)


def parse_search_in(scanner: Scanner, returns: frozenset[Return] | None) -> SearchProgram:
    """A charset and what is searched in it, as SORT and THREAD say it (RFC 5256 5). Raises ImapSyntaxError."""
    parser = _Parser(scanner)
    parser.charset()
    return parser.program(returns)


def parse_returns(scanner: Scanner) -> tuple[frozenset[Return] | None, PartialRange | None]:
    """The options after RETURN, None without that word (RFC 4731 3.1, RFC 5182, RFC 5267 3); and the page of PARTIAL
    (RFC 9394 3.1)."""
    if not _word_ahead(scanner, b"RETURN"):
        return None, None
    partial: PartialRange | None = None
    scanner.space()
    scanner.expect(b"(")
    options: set[Return] = set()
    while not scanner.skip(b")"):
        if options:
            scanner.space()
        word = scanner.keyword()
        if word not in ("MIN", "MAX", "COUNT", "ALL", "SAVE", "PARTIAL"):
            raise ImapSyntaxError("There is no such search option.")
        if word == "PARTIAL":
            scanner.space()
            if partial is not None:
                raise ImapSyntaxError("One page can be asked for at a time.")
            partial = parse_partial(scanner)
        options.add(word)  # type: ignore[arg-type]
    if options >= {"ALL", "PARTIAL"}:  # RFC 9394 3.1
        raise ImapSyntaxError("Either ALL is asked for, or a part of it.")
    scanner.space()
    return frozenset(options or {"ALL"}), partial  # RFC 4731 3.1


class _Parser:
    def __init__(self, scanner: Scanner) -> None:
        self.scanner = scanner
        self.encoding = "utf-8"
        self.bad_charset = False
        self.keys = 0
        self.modseq = False
        self.partial: PartialRange | None = None

    def charset(self) -> None:
        charset = self.scanner.astring().decode("ascii", "replace").upper()
        self.bad_charset = charset not in CHARSETS
        self.encoding = CHARSETS.get(charset, "latin-1")
        self.scanner.space()

    def program(self, returns: frozenset[Return] | None) -> SearchProgram:
        scanner = self.scanner
        keys = [self.key(0)]
        while not scanner.at_end():
            scanner.space()
            if scanner.at_end():
                break
            keys.append(self.key(0))
        return SearchProgram(_all_of(keys), returns, self.bad_charset, self.modseq, self.partial)

    def key(self, depth: int) -> SearchKey:
        scanner = self.scanner
        self.keys += 1
        if depth > scanner.limits.nesting or self.keys > scanner.limits.search_keys:
            raise ImapSyntaxError("The search is too complicated.")
        if scanner.skip(b"("):
            keys = [self.key(depth + 1)]
            while not scanner.skip(b")"):
                scanner.space()
                keys.append(self.key(depth + 1))
            return _all_of(keys)
        if (
            scanner.text[scanner.position : scanner.position + 1].isdigit()
            or scanner.at(b"*")
            or scanner.at(b"$")
        ):
            return Numbers(scanner.number_set(), by_uid=False)
        word = scanner.keyword()
        if word in _FLAGS:
            return _FLAGS[word]
        scanner.space()
        if word == "NOT":
            return Not(self.key(depth + 1))
        if word == "OR":
            left = self.key(depth + 1)
            scanner.space()
            return Or(left, self.key(depth + 1))
        return self.with_argument(word)

    def with_argument(self, word: str) -> SearchKey:
        scanner = self.scanner
        if word in _DAYS:
            relation, sent = _DAYS[word]
            return Day(relation, parse_date(scanner.astring()), sent)
        if word in _SAVED:
            return Saved(_SAVED[word], parse_date(scanner.astring()))
        if word in ("FROM", "TO", "CC", "BCC", "SUBJECT"):
            return Header(word.lower(), self.text())
        if word == "HEADER":
            field = scanner.astring().decode("ascii", "replace").lower()
            scanner.space()
            return Header(field, self.text())
        if word == "BODY":
            return Text("body", self.text())
        if word == "TEXT":
            return Text("text", self.text())
        if word in ("KEYWORD", "UNKEYWORD"):
            return HasFlag(scanner.flag(), there=word == "KEYWORD")
        if word in ("LARGER", "SMALLER"):
            return Size(word == "LARGER", scanner.number(2**63 - 1))
        if word in ("OLDER", "YOUNGER"):
            return Age(word == "OLDER", scanner.number(2**32 - 1))
        if word == "UID":
            return Numbers(scanner.number_set(), by_uid=True)
        if word in ("EMAILID", "THREADID"):
            return ObjectId("EMAILID" if word == "EMAILID" else "THREADID", scanner.object_id())
        if word == "MODSEQ":
            return self.changed_at()
        raise ImapSyntaxError("There is no such search key.")

    def changed_at(self) -> SearchKey:
        """One modseq is kept for a message, and stands for that of each of its flags (RFC 7162 3.1.5)."""
        scanner = self.scanner
        self.modseq = True
        if scanner.at_string():
            if not scanner.string().lower().startswith(b"/flags/"):
                raise ImapSyntaxError("The entry of a flag begins with /flags/.")
            scanner.space()
            if scanner.keyword() not in ("PRIV", "SHARED", "ALL"):
                raise ImapSyntaxError("There is no such type of entry.")
            scanner.space()
        return ChangedAt(modseq_or_zero(scanner))

    def text(self) -> str:
        raw = self.scanner.astring()
        try:
            return raw.decode(self.encoding)
        except UnicodeDecodeError:
            raise ImapSyntaxError("The text is not in the charset named.") from None


def _word_ahead(scanner: Scanner, word: bytes) -> bool:
    """Takes `word` in any letters if it stands here as a whole word."""
    stop = scanner.position + len(word)
    if (
        scanner.text[scanner.position : stop].upper() != word
        or scanner.text[stop : stop + 1] != b" "
    ):
        return False
    scanner.position = stop
    return True


def _all_of(keys: list[SearchKey]) -> SearchKey:
    return keys[0] if len(keys) == 1 else And(tuple(keys))
