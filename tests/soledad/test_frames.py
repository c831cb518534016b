"""Frames: whatever the pieces, the same values; and nothing else is taken for one."""

import random

import pytest

from leap.soledad.frames import MAX_FRAME, FrameReader, frame
from leap.soledad.wire import WireError


def test_values_come_out_whole_however_the_body_is_cut_into_pieces() -> None:
    chance = random.Random(3)
    values = [chance.randbytes(chance.choice((1, 2, 5, 300, 70_000))) for _ in range(60)]
    body = b"".join(map(frame, values))
    for size in (1, 3, 4, 5, 1000, len(body)):
        reader = FrameReader()
        found: list[bytes] = []
        for start in range(0, len(body), size):
            found += reader.feed(body[start : start + size])
        reader.end()
        assert found == values


@pytest.mark.parametrize("length", [0, MAX_FRAME + 1, 2**32 - 1])
def test_a_frame_of_an_impossible_length_is_refused_before_it_comes(length: int) -> None:
    with pytest.raises(WireError):
        FrameReader().feed(length.to_bytes(4, "big"))


def test_an_end_in_the_middle_of_a_frame_is_no_end() -> None:
    body = frame(b"first") + frame(b"second")
    whole = {0, len(frame(b"first")), len(body)}
    for cut in range(len(body) + 1):
        reader = FrameReader()
        reader.feed(body[:cut])
        if cut in whole:
            reader.end()
        else:
            with pytest.raises(WireError):
                reader.end()
