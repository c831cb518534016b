"""Server-sent events: cut anywhere, with any line ends, and hostile."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leap.soledad.errors import BadReply
from leap.soledad.remote.events import MAX_LINE, Event, EventParser

STREAM = b": hi\n\nevent: hello\ndata: 1\n\nevent:head\ndata:12\n\n: keep-alive\n\nevent: inbox\ndata: 3\n\n"
EVENTS = [Event("hello", 1), Event("head", 12), Event("inbox", 3)]


def parsed(*pieces: bytes) -> list[Event]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_any_line_end_will_do(end):
    assert parsed(STREAM.replace(b"\n", end)) == EVENTS


@given(st.lists(st.integers(0, len(STREAM)), max_size=12), st.sampled_from([b"\n", b"\r\n", b"\r"]))
def test_it_does_not_matter_where_the_stream_is_cut(cuts, end):
    stream = STREAM.replace(b"\n", end)
    places = [0, *sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    pieces = [stream[a:b] for a, b in pairwise(places)]
    assert parsed(*pieces) == EVENTS


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_one_octet_at_a_time(end):
    stream = STREAM.replace(b"\n", end)
    assert parsed(*(stream[i : i + 1] for i in range(len(stream)))) == EVENTS


@pytest.mark.parametrize(
    "stream",
    [
        b"event: head\n\n",
        b"data: 5\n\n",
        b"event: other\ndata: 5\n\n",
        b"event: head\ndata: many\n\n",
        b"event: head\ndata: -5\n\n",
        b"event: head\ndata: 5\ndata: 6\n\n",
        b"event: head\ndata: \xd9\xa5\n\n",
        b"event: head\ndata: " + b"9" * 30 + b"\n\n",
        b"event: head\ndata: 5\n",
    ],
)
def test_what_is_no_notice_is_passed_over(stream):
    assert parsed(stream) == []


def test_an_event_does_not_colour_the_next():
    assert parsed(b"event: head\n\ndata: 5\n\n") == []


def feed_often(parser: EventParser, piece: bytes) -> None:
    for _ in range(2 * MAX_LINE):
        parser.feed(piece)


@pytest.mark.parametrize("piece", [b"x" * 1_000, b"data: 1\n"])
def test_a_line_or_event_without_end_is_refused(piece):
    parser = EventParser()
    with pytest.raises(BadReply):
        feed_often(parser, piece)


@given(st.lists(st.binary(max_size=60), max_size=10))
def test_bytes_from_outside_raise_only_theirs(pieces):
    try:
        parsed(*pieces)
    except BadReply:
        pass
