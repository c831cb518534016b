"""Octets to lines, texts and replies."""

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
    Text,
    TextReader,
)
from tests.mail.smtp.conversation import cut

SOUP = st.lists(
    st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"a", b"\0", b"\xff", b"\r\n.\r\n", b"bc" * 9]),
    max_size=30,
).map(b"".join)
PLACES = st.lists(st.integers(0, 200), max_size=8)


def read_text(data: bytes, pieces: list[bytes], max_size: int = 60) -> tuple[Text | None, bytes]:
    reader = TextReader(max_size, 40)
    buffer = bytearray()
    text = None
    for piece in pieces:
        buffer += piece
        if text is None:
            text = reader.feed(buffer)
    return text, bytes(buffer)


def model(data: bytes, max_size: int = 60) -> tuple[Text | None, bytes]:
    """The same, written in the slow and obvious way."""
    whole = b"\r\n" + data
    if b"\r\n.\r\n" not in whole:
        return None, b""
    text, _, rest = whole.partition(b"\r\n.\r\n")
    lines = (text + b"\r\n").split(b"\r\n")[1:-1]
    content = b"".join(line.removeprefix(b".") + b"\r\n" for line in lines)
    bare = re.search(rb"(?<!\r)\n|\r(?!\n)", content) is not None
    if len(content) > max_size:
        return Text(b"", len(content), "too-large"), rest
    if bare:
        return Text(b"", len(content), "bare-line-end"), rest
    if b"\0" in content:
        return Text(b"", len(content), "nul"), rest
    if any(len(line.removeprefix(b".")) > 40 for line in lines):
        return Text(b"", len(content), "line-too-long"), rest
    return Text(content, len(content)), rest


@settings(max_examples=120, deadline=None)
@given(SOUP, PLACES)
def test_a_text_is_the_same_in_whatever_pieces_it_comes(data: bytes, places: list[int]) -> None:
    text, rest = read_text(data, cut(data, places))
    wanted, wanted_rest = model(data)
    assert text == wanted
    if wanted is not None:
        assert rest == wanted_rest


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=30).map(lambda b: re.sub(rb"[\r\n\0]", b"", b)), max_size=8))
def test_what_was_dot_stuffed_comes_out_exactly(lines: list[bytes]) -> None:
    mail = b"".join(line + b"\r\n" for line in lines)
    stuffed = re.sub(rb"(?m)^\.", b"..", mail)
    text, rest = read_text(b"", [stuffed + b".\r\nQUIT\r\n"], max_size=10_000)
    assert text == Text(mail, len(mail))
    assert rest == b"QUIT\r\n"


def test_a_mail_over_the_limit_is_not_kept_in_memory() -> None:
    reader = TextReader(1_000, 10_000)
    for _ in range(100):
        buffer = bytearray(b"x" * 500 + b"\r\n")
        assert reader.feed(buffer) is None
        assert sum(map(len, reader._pieces)) <= 1_000
    assert reader.feed(bytearray(b".\r\n")) == Text(b"", 50_200, "too-large")


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
