"""The wire by itself: framing with limits, sets, names, dates, quoting; and hostile octets for all of it."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from leap.mail.imap.wire.commands import Fetch, Select, Store
from leap.mail.imap.wire.dates import format_date_time, parse_date_time
from leap.mail.imap.wire.errors import ImapSyntaxError
from leap.mail.imap.wire.framing import CommandReader, Continuation, RawCommand, Refused
from leap.mail.imap.wire.limits import DEFAULT_LIMITS
from leap.mail.imap.wire.mailbox_names import Pattern, canonical_name, decode_name, encode_name
from leap.mail.imap.wire.numbers import NumberSet, format_set
from leap.mail.imap.wire.parsing import parse_command, split_tag
from leap.mail.imap.wire.responses import literal, mailbox, quoted, text_line
from leap.mail.imap.wire.resync import Resync
from leap.mail.imap.wire.scanner import Scanner

ONE = NumberSet(((1, 1),))
TIGHT = replace(
    DEFAULT_LIMITS,
    line=200,
    line_before_login=200,
    literal=50,
    literal_before_login=50,
    literals_together=100,
    message=300,
    messages_together=400,
)


def reader(authenticated: bool = True) -> CommandReader:
    made = CommandReader(TIGHT)
    made.authenticated = authenticated
    return made


def events(source: CommandReader, data: bytes, step: int | None = None) -> list[object]:
    found: list[object] = []
    for start in range(0, len(data), step or len(data) or 1):
        source.feed(data[start : start + (step or len(data))])
        while (event := source.next_command()) is not None:
            found.append(event)
    return found


# -- framing


@pytest.mark.parametrize("step", [1, 3, None])
def test_commands_come_out_whole_however_they_came_in(step: int | None) -> None:
    data = b"a NOOP\r\nb LOGIN {3+}\r\nabc {2}\r\nde\r\nc NOOP\n\r\n"
    assert events(reader(), data, step) == [
        RawCommand(b"a NOOP", ()),
        Continuation(),
        RawCommand(b"b LOGIN {3+}\r\n {2}\r\n", (b"abc", b"de")),
        RawCommand(b"c NOOP", ()),
        RawCommand(b"", ()),
    ]


@pytest.mark.parametrize("step", [1, 7, None])
def test_a_line_too_long_is_refused_and_the_next_is_read(step: int | None) -> None:
    data = b"a NOOP " + b"x" * 5_000 + b"\r\nb NOOP\r\n"
    refused, following = events(reader(), data, step)
    assert isinstance(refused, Refused)
    assert refused.reason == "line"
    assert split_tag(refused.text) == b"a"
    assert following == RawCommand(b"b NOOP", ())


@pytest.mark.parametrize("step", [1, 7, None])
def test_the_literal_at_the_end_of_a_line_too_long_is_dropped_too(step: int | None) -> None:
    data = b"a X " + b"x" * 5_000 + b" {14+}\r\nb INJECTED\r\n\r\n\r\nc NOOP\r\n"
    refused, following = events(reader(), data, step)
    assert isinstance(refused, Refused)
    assert following == RawCommand(b"c NOOP", ())


def test_literals_too_large_are_refused_before_they_are_sent() -> None:
    [refused] = events(reader(), b"a LOGIN {51}\r\n")
    assert refused == Refused(b"a LOGIN {51}", "literal")
    [refused] = events(reader(), b"a APPEND INBOX {301}\r\n")
    assert refused == Refused(b"a APPEND INBOX {301}", "message")
    [refused] = events(reader(authenticated=False), b"a APPEND INBOX {60}\r\n")
    assert refused == Refused(b"a APPEND INBOX {60}", "literal")
    assert events(reader(), b"a append inbox {300}\r\n") == [Continuation()]
    [refused] = events(reader(), b"a APPEND {60}\r\n")
    assert refused == Refused(b"a APPEND {60}", "literal")


def test_literals_are_limited_together() -> None:
    source = reader()
    found = events(source, b"a X {50+}\r\n" + b"x" * 50 + b" {50+}\r\n" + b"x" * 50 + b" {1}\r\n")
    assert [type(event) for event in found] == [Refused]


def test_what_is_refused_is_not_kept() -> None:
    source = reader()
    source.feed(b"a APPEND INBOX {99999999+}\r\n")
    for _ in range(50):
        assert source.next_command() is None
        source.feed(b"x" * 10_000)
        assert source.held <= 11_000
    source = reader()
    for _ in range(50):
        source.feed(b"x" * 10_000)
        assert source.next_command() is None
        assert source.held <= 1_000


def test_single_lines_have_a_limit_too() -> None:
    source = reader()
    source.feed(b"x" * 1_000)
    assert source.next_line() is None
    source.feed(b"y" * 1_000 + b"\r\nDONE\r\n")
    assert source.next_line() == Refused(b"", "line")
    assert source.next_line() == b"DONE"
    assert source.next_line() is None


@given(st.lists(st.binary(max_size=60), max_size=12), st.booleans())
@settings(max_examples=60, deadline=None)
def test_framing_never_raises_and_never_hoards(pieces: list[bytes], lines: bool) -> None:
    source = reader()
    for piece in pieces:
        source.feed(piece + b"\r\n" * (len(piece) % 2))
        for _ in range(100):
            event = source.next_line() if lines else source.next_command()
            if event is None:
                break
        else:
            raise AssertionError("more events than octets")
        assert source.held <= 1_500


# -- grammar

TOKENS = st.sampled_from(
    [
        b"a", b" ", b"  ", b"(", b")", b"[", b"]", b"<0.5>", b'"', b"\\", b"\\Seen", b"*", b"%", b"1:*", b"1,2,9", b"0",
        b"UID", b"FETCH", b"STORE", b"SEARCH", b"LIST", b"STATUS", b"APPEND", b"LOGIN", b"CREATE", b"ID", b"NIL", b"&",
        b"FLAGS", b"+FLAGS", b"BODY.PEEK[", b"HEADER.FIELDS", b"TEXT", b"OR", b"NOT", b"RETURN", b"CHARSET", b"UTF-8",
        b"INBOX", b"{3+}\r\nabc", b"{0+}\r\n", b'"02-Nov-2026 09:00:00 +0100"', b"1-Nov-2026", b"\xff", b"\x00",
        b"RENAME",
        b"COPY", b"AUTHENTICATE", b"ENABLE", b"SINCE", b"HEADER", b"BODY[1.2.MIME]", b"ALL", b"SELECT", b"LSUB", b"USE",
        b"$", b"MODSEQ", b"CONDSTORE", b"QRESYNC", b"(CHANGEDSINCE 3 VANISHED)", b"(UNCHANGEDSINCE 0)", b"SAVE",
        b"(QRESYNC (1 2 3 (4 5)))", b"(1 1 1:4294967295 (1 1:4294967295))", b"HIGHESTMODSEQ", b"/flags/a", b"PRIV",
        b"EMAILID", b"MAILBOXID", b"PREVIEW", b"(LAZY)", b"PARTIAL", b"-1:-5", b"GETMETADATA", b"SETMETADATA", b"DEPTH",
        b"/shared/a", b"(/private/b NIL)", b"NOTIFY", b"SET", b"SELECTED", b"MAILBOXES", b"(MessageNew MessageExpunge)",
    ]
)  # fmt: skip


@given(st.lists(st.one_of(TOKENS, st.binary(max_size=6)), max_size=20))
@example([b"a FETCH 1 BODY[HEADER.FIELDS ("])
@example([b"a SEARCH ", b"("] * 60)
@example([b"a SELECT INBOX (QRESYNC (1 2 1:4294967295 (1:4294967295 1:4294967295)))"])
@settings(max_examples=1_000, deadline=None)
def test_grammar_raises_nothing_but_its_own_error(tokens: list[bytes]) -> None:
    source = CommandReader()
    source.authenticated = True
    for event in events(source, b"".join(tokens) + b"\r\n"):
        if isinstance(event, RawCommand):
            try:
                parse_command(event)
            except ImapSyntaxError:
                pass


@pytest.mark.parametrize(
    "line",
    [b"", b"a", b" NOOP", b"a  ", b"+ NOOP", b"a NOOP x", b"a UID", b"a UID NOOP", b"a XYZZY", b"* NOOP", b"a LOGIN x"],
)  # fmt: skip
def test_malformed_lines(line: bytes) -> None:
    with pytest.raises(ImapSyntaxError):
        parse_command(RawCommand(line, ()))


def test_spaces_and_letter_case_are_taken_as_they_come() -> None:
    tag, command = parse_command(RawCommand(b"A.1/x fEtCh  1  (flags) ", ()))
    assert tag == b"A.1/x"
    assert command == parse_command(RawCommand(b"b FETCH 1 FLAGS", ()))[1]


RESYNC = Resync(7, 20, NumberSet(((1, 9),)), (NumberSet(((1, 2),)), NumberSet(((3, 3), (6, 6)))))


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"SELECT x (CONDSTORE)", Select("x", False, condstore=True)),
        (b"EXAMINE x (QRESYNC (7 20 1:9 (1:2 3,6)) CONDSTORE)", Select("x", True, True, RESYNC)),
        (b"SELECT x (QRESYNC (7 20))", Select("x", False, resync=Resync(7, 20))),
        (b"FETCH $ UID", Fetch(NumberSet((), saved=True), False, ("UID",))),
        (b"UID FETCH 1 MODSEQ (changedsince 3 vanished)", Fetch(ONE, True, ("MODSEQ",), 3, True)),
        (b"STORE 1 (UNCHANGEDSINCE 0) -FLAGS a", Store(ONE, False, "remove", False, ("a",), 0)),
        (b"STORE 1 (UNCHANGEDSINCE 9) FLAGS.SILENT ()", Store(ONE, False, "set", True, (), 9)),
    ],
)
def test_parameters_and_modifiers(line: bytes, command: object) -> None:
    assert parse_command(RawCommand(b"a " + line, ()))[1] == command
    assert parse_command(RawCommand(b"a " + line + b" ", ()))[1] == command


# -- sets


def test_sets_have_limits() -> None:
    for wrong in (
        b"",
        b",",
        b"1,",
        b"1:2:3",
        b":",
        b"a",
        b"0",
        b"4294967296",
        b"1:-3",
        b"12345678901",
    ):
        with pytest.raises(ImapSyntaxError):
            NumberSet.parse(wrong, 100)
    with pytest.raises(ImapSyntaxError):
        NumberSet.parse(b",".join([b"1"] * 101), 100)


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=6),
    st.sets(st.integers(1, 40)),
)
def test_positions_are_those_of_the_members(ranges: list[tuple[int, int]], uids: set[int]) -> None:
    ascending = sorted(uids)
    found = [i for span in NumberSet(tuple(ranges)).positions(ascending) for i in span]
    star = ascending[-1] if ascending else 0
    wanted = {
        n
        for a, b in ranges
        for n in range(min(a or star, b or star), max(a or star, b or star) + 1)
    }
    assert found == [bisect_left(ascending, n) for n in ascending if n in wanted]


@given(st.sets(st.integers(1, 200)))
def test_sets_are_written_so_that_they_read_the_same(numbers: set[int]) -> None:
    written = format_set(sorted(numbers))
    if numbers:
        spans = NumberSet.parse(written, 1_000).spans(0)
        assert {n for low, high in spans for n in range(low, high + 1)} == numbers
        assert len(written.split(b",")) == len(spans)
    else:
        assert written == b""


def test_a_set_in_another_order_keeps_it() -> None:
    assert format_set([3, 1, 2, 9]) == b"3,1:2,9"


# -- names


@pytest.mark.parametrize(
    ("name", "wire"),
    [
        ("INBOX", b"INBOX"),
        ("A&B", b"A&-B"),
        ("Entwürfe", b"Entw&APw-rfe"),
        ("~peter/mail/台北/日本語", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"),  # RFC 3501 5.1.3
        ("😀", b"&2D3eAA-"),
    ],
)
def test_modified_utf7(name: str, wire: bytes) -> None:
    assert encode_name(name) == wire
    assert decode_name(wire) == name


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_every_name_survives_the_wire(name: str) -> None:
    assert decode_name(encode_name(name)) == name
    assert encode_name(name).isascii()


@given(st.binary(max_size=30))
def test_strange_names_raise_nothing_else(wire: bytes) -> None:
    try:
        decode_name(wire)
    except ImapSyntaxError:
        pass


def test_inbox_is_inbox_in_any_letters() -> None:
    assert canonical_name("inBox") == "INBOX"
    assert canonical_name("inbox/sub") == "INBOX/sub"
    assert canonical_name("inboxes") == "inboxes"


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("*", "a/b/c", True), ("%", "a", True), ("%", "a/b", False), ("%/%", "a/b", True), ("a*c", "a/b/c", True),
        ("a%c", "a/b/c", False), ("a%c", "abc", True), ("", "a", False), ("a", "a", True), ("a", "ab", False),
        ("*b", "a/b", True), ("%%*%", "x/y", True), ("inbox", "INBOX", True), ("a*", "a", True), ("a/%", "a", False),
    ],
)  # fmt: skip
def test_patterns(pattern: str, name: str, fits: bool) -> None:
    assert Pattern(pattern).matches(name) is fits


def test_no_pattern_is_slow() -> None:
    assert not Pattern("%a*" * 8 + "b").matches("a" * 1_000)
    with pytest.raises(ImapSyntaxError):
        Pattern("%a*" * 50)


# -- dates and strings


@given(st.integers(-62_000_000_000, 253_000_000_000), st.integers(-839, 839))
def test_moments_survive_the_wire(seconds: int, zone: int) -> None:
    written = format_date_time(seconds, zone)
    assert parse_date_time(written[1:-1]) == (seconds, zone)


@given(st.integers(-(2**63), 2**63), st.integers(-(2**31), 2**31))
def test_no_moment_is_too_strange_to_write(seconds: int, zone: int) -> None:
    assert len(format_date_time(seconds, zone)) == 28


@pytest.mark.parametrize(
    "text", [b"", b"1-Foo-2026 00:00:00 +0000", b"29-Feb-2026 00:00:00 +0000", b"01-Jan-2026 24:00:00 +0000",
             b"01-Jan-2026 00:00:00 +9900", b"01-Jan-0000 00:00:00 +0000", b"01-Jan-2026 00:00:00"]
)  # fmt: skip
def test_bad_moments(text: bytes) -> None:
    with pytest.raises(ImapSyntaxError):
        parse_date_time(text)


@given(st.binary(max_size=50))
def test_any_octets_survive_as_a_string(octets: bytes) -> None:
    source = CommandReader()
    source.authenticated = True
    written = quoted(octets)
    if written.startswith(b"{"):
        head, _, rest = written.partition(b"}")
        written = head + b"+}" + rest
    [event] = events(source, written + b"\r\n")
    assert isinstance(event, RawCommand)
    assert Scanner(event.text, event.literals).string() == octets


def test_nothing_at_all_is_an_empty_quoted_string() -> None:
    assert literal(b"") == b'""'
    assert literal(b"\r\n") == b"{2}\r\n\r\n"
    assert mailbox("NIL x") == b'"NIL x"'
    assert text_line("a\r\n* BYE") == b"a * BYE"
    assert text_line("[FORGED] x") == b"FORGED] x"
