"""One reading of a header for all: where it ends, which lines are fields, what a damaged line does."""

from __future__ import annotations

import time

from hypothesis import example, given, settings
from hypothesis import strategies as st

from leap.mail.message import Message, scan
from leap.mail.message.header import MAX_FIELDS, iter_fields
from leap.mail.message.header_lines import empty_line, header_end
from leap.mail.outgoing.field_lines import split_header


def test_a_damaged_line_with_a_continuation_takes_no_field_away() -> None:
    # RFC 2822 appendix A.5 as a corpus holds it, its folding damaged
    raw = (
        b"To    : Mary Smith\r\n__\r\n          <mary@example.net>\r\nSubject     : Saying Hello\r\n"
        b"Date  : Fri, 21 Nov 1997 09:55:06 -0600\r\n\r\nJust to say hello.\r\n"
    )
    message = Message(raw)
    assert message.subject == "Saying Hello"
    assert message.date is not None
    assert message.body_text == "Just to say hello.\n"
    assert [defect.kind for defect in message.root.defects] == ["line-without-field"]
    assert message.header(message.root) + message.body(message.root) == raw


def test_several_damaged_lines_take_no_field_away() -> None:
    raw = b"Subject: x\r\none\r\ntwo\r\n folded\r\nContent-Type: text/html\r\n\r\nbody"
    assert scan(raw).content_type == "text/html"


def test_text_behind_the_last_field_is_body_when_the_empty_line_was_forgotten() -> None:
    raw = b"Subject: x\r\nHello there,\r\n this is text.\r\n\r\nAnd more.\r\n"
    assert raw[scan(raw).body_start :].startswith(b"Hello there,")


def test_text_in_place_of_a_header_is_shown_though_a_line_of_it_looks_like_a_field() -> None:
    raw = b"Hello,\nthe link is\nhttps://leap.se\n\nBye.\n"
    assert scan(raw).body_start == 0


def test_content_type_counts_however_much_stands_before_it() -> None:
    raw = b"".join(b"A%d: %s\r\n" % (k, b"z" * 900) for k in range(1300))
    assert scan(raw + b"Content-Type: text/html\r\n\r\n").content_type == "text/html"


def test_a_header_of_damaged_lines_is_read_in_linear_time() -> None:
    for raw in (b"x\nA:\n" * 300_000, b"x\n x\n" * 500_000 + b"A: b\n", b"x" * 4_000_000 + b"\n"):
        started = time.process_time()
        header_end(raw, 0, len(raw))
        assert time.process_time() - started < 2.0


LINES = st.sampled_from(
    [b"\r\n", b"\n", b"\r", b" ", b" fold\r\n", b"X\r\n", b"A: b\r\n", b"A : b\n", b"\xe4b: c\r\n",
     b"From: a@b.c\r\n", b"Content-Type: text/html\r\n", b"Y", b":\r\n", b"\x0b", b"X-Leap-A: b\r\n", b"\0From: x\n"]
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(st.lists(LINES, max_size=14).map(b"".join) | st.binary(max_size=200))
@example(b"X\r\n fold\r\nContent-Type: text/html\r\n\r\n")
@example(b"A: b\rFrom: x\r\n\r\n")
def test_what_is_shown_and_what_is_judged_are_the_same_fields(raw: bytes) -> None:
    body_start, _ = header_end(raw, 0, len(raw))
    judged, rest = split_header(raw)
    limit = empty_line(raw)
    assert len(raw) - len(rest) == limit
    # The header ends with the empty line, or before lines of which none begins a field.
    assert body_start <= limit + 2
    shown = {(f.start, f.key) for f in iter_fields(raw, 0, body_start)}
    if body_start < limit and body_start:
        assert not list(iter_fields(raw, body_start, limit))
    starts = {}
    position = 0
    for one in judged:
        starts[position] = one.name
        position += len(one.raw)
    for start, key in shown:
        # Names with 8-bit octets say nothing, or what they are disguised as.
        assert starts[start] == key or not key.isascii()


def test_fields_beyond_the_cap_are_not_shown() -> None:
    raw = b"A:\r\n" * MAX_FIELDS + b"From: a@b.c\r\n\r\n"
    assert Message(raw).field("from") is None
