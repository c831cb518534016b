"""The text of a mail after DATA and after BDAT: what ends it, what is wrong, and that pieces make no difference."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.smtp.text import ChunkReader, Text, TextFault, TextReader
from tests.mail.smtp.conversation import cut

SOUP = st.lists(
    st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"a", b"\0", b"\xff", b"\r\n.\r\n", b"bc" * 9]),
    max_size=30,
).map(b"".join)
PLACES = st.lists(st.integers(0, 200), max_size=8)

Read = tuple[bytes, int, TextFault | None]


def plain(text: Text | None) -> Read | None:
    return None if text is None else (text.body.read(), text.size, text.fault)


def read_text(pieces: list[bytes], max_size: int = 60) -> tuple[Read | None, bytes]:
    reader = TextReader(max_size, 40)
    buffer = bytearray()
    text = None
    for piece in pieces:
        buffer += piece
        if text is None:
            text = reader.feed(buffer)
    return plain(text), bytes(buffer)


def judged(content: bytes, max_size: int = 60) -> Read:
    """What is to come of these octets, found in the slow and obvious way."""
    if len(content) > max_size:
        return b"", len(content), "too-large"
    if re.search(rb"(?<!\r)\n|\r(?!\n)", content) is not None:
        return b"", len(content), "bare-line-end"
    if b"\0" in content:
        return b"", len(content), "nul"
    if any(len(line) > 40 for line in content.split(b"\r\n")):
        return b"", len(content), "line-too-long"
    return content, len(content), None


def model(data: bytes) -> tuple[Read | None, bytes]:
    whole = b"\r\n" + data
    if b"\r\n.\r\n" not in whole:
        return None, b""
    text, _, rest = whole.partition(b"\r\n.\r\n")
    lines = (text + b"\r\n").split(b"\r\n")[1:-1]
    return judged(b"".join(line.removeprefix(b".") + b"\r\n" for line in lines)), rest


@settings(max_examples=120, deadline=None)
@given(SOUP, PLACES)
def test_a_text_is_the_same_in_whatever_pieces_it_comes(data: bytes, places: list[int]) -> None:
    text, rest = read_text(cut(data, places))
    wanted, wanted_rest = model(data)
    assert text == wanted
    if wanted is not None:
        assert rest == wanted_rest


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=30).map(lambda b: re.sub(rb"[\r\n\0]", b"", b)), max_size=8))
def test_what_was_dot_stuffed_comes_out_exactly(lines: list[bytes]) -> None:
    mail = b"".join(line + b"\r\n" for line in lines)
    stuffed = re.sub(rb"(?m)^\.", b"..", mail)
    text, rest = read_text([stuffed + b".\r\nQUIT\r\n"], max_size=10_000)
    assert text == (mail, len(mail), None)
    assert rest == b"QUIT\r\n"


def test_a_mail_over_the_limit_is_not_kept_in_memory() -> None:
    reader = TextReader(1_000, 10_000)
    for _ in range(100):
        assert reader.feed(bytearray(b"x" * 500 + b"\r\n")) is None
        assert reader.mail.body.held <= 1_000
    assert plain(reader.feed(bytearray(b".\r\n"))) == (b"", 50_200, "too-large")


def read_chunks(chunks: list[bytes], places: list[int]) -> Read:
    reader = ChunkReader(60, 40)
    for number, chunk in enumerate(chunks):
        reader.begin(len(chunk), number == len(chunks) - 1)
        buffer = bytearray()
        for piece in cut(chunk, places):
            buffer += piece
            whole = reader.feed(buffer)
        assert whole
        assert not buffer
    found = plain(reader.mail.whole())
    assert found is not None
    return found


@settings(max_examples=150, deadline=None)
@given(SOUP, st.lists(st.integers(0, 200), max_size=5), PLACES)
def test_a_mail_is_the_same_in_whatever_chunks_it_comes(
    data: bytes, cuts: list[int], places: list[int]
) -> None:
    ended = data if not data or data.endswith(b"\r\n") else data + b"\r\n"
    assert read_chunks(cut(data, cuts), places) == judged(ended)


def test_what_stands_behind_a_chunk_is_left_alone() -> None:
    reader = ChunkReader(60, 40)
    reader.begin(4, last=True)
    buffer = bytearray(b"hi\r\nQUIT\r\n")
    assert reader.feed(buffer)
    assert buffer == b"QUIT\r\n"


def test_dots_mean_nothing_in_chunks() -> None:
    assert read_chunks([b"..a\r\n.\r\n", b".b\r\n"], []) == (b"..a\r\n.\r\n.b\r\n", 12, None)


@pytest.mark.parametrize("parts", [[b"a\r", b"b\r\n"], [b"a\r\n", b"\n"], [b"a\r\nb\r"]])
def test_a_bare_line_end_shows_across_chunks(parts: list[bytes]) -> None:
    assert read_chunks(parts, [])[2] == "bare-line-end"


def test_a_line_end_may_be_cut_by_two_chunks() -> None:
    assert read_chunks([b"a\r", b"\nb\r\n"], []) == (b"a\r\nb\r\n", 6, None)
