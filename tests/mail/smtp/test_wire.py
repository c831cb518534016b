"""Octets to lines and replies."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.smtp.wire import (
    MAX_AUTH_LINE,
    MAX_RUNAWAY_LINE,
    Line,
    LineReader,
    Reply,
    Runaway,
)
from tests.mail.smtp.conversation import cut

SOUP = st.lists(
    st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"a", b"\0", b"\xff", b"\r\n.\r\n", b"bc" * 9]),
    max_size=30,
).map(b"".join)
PLACES = st.lists(st.integers(0, 200), max_size=8)


def read_lines(pieces: list[bytes], limit: int = 20) -> list[Line | Runaway]:
    buffer = bytearray()
    reader = LineReader(buffer, limit)
    lines: list[Line | Runaway] = []
    for piece in pieces:
        buffer += piece
        while (line := reader.next_line()) is not None:
            lines.append(line)
        assert len(buffer) <= limit + 1, "what is over the limit must not be kept"
    return lines


@settings(max_examples=120, deadline=None)
@given(SOUP, PLACES)
def test_lines_are_the_same_in_whatever_pieces_they_come(data: bytes, places: list[int]) -> None:
    wanted = []
    for content in data.split(b"\r\n")[:-1]:
        if len(content) > 20:
            wanted.append(Line(b"", "too-long"))
        elif b"\r" in content or b"\n" in content:
            wanted.append(Line(b"", "bare-line-end"))
        elif b"\0" in content:
            wanted.append(Line(b"", "nul"))
        else:
            wanted.append(Line(content))
    assert read_lines(cut(data, places)) == wanted


@pytest.mark.parametrize("size", [100_000, 1])
def test_a_line_without_end_is_a_runaway(size: int) -> None:
    buffer = bytearray()
    reader = LineReader(buffer)
    for _ in range(MAX_RUNAWAY_LINE // 100_000 + 1):
        buffer += b"x" * 100_000
        if size == 1:
            buffer += b"y"
        if reader.next_line() is not None:
            break
        assert len(buffer) <= MAX_AUTH_LINE
    else:
        pytest.fail("it never ended")


def test_a_reply_of_several_lines_repeats_code_and_enhanced_code() -> None:
    assert Reply(550, "5.1.1", "one\ntwo").encode() == b"550-5.1.1 one\r\n550 5.1.1 two\r\n"


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=1_500))
def test_no_text_can_break_out_of_a_reply(text: str) -> None:
    encoded = Reply(550, "5.0.0", text).encode()
    assert encoded.endswith(b"\r\n")
    lines = encoded[:-2].split(b"\r\n")
    assert all(re.fullmatch(rb"550[- ]5\.0\.0 [ -~]*", line) for line in lines)
    assert [line[3:4] for line in lines] == [b"-"] * (len(lines) - 1) + [b" "]
    assert all(len(line) <= 510 for line in lines)
