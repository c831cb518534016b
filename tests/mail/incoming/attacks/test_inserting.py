"""Whatever is put into an attack mail, or an honest one, on its way: nothing vouches for it, nothing forged gets in."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.mail.incoming.attacks.inserting import changed, insertions, places, vouched
from tests.mail.incoming.attacks.test_attacks import FOLDER, ROWS, ring
from tests.mail.incoming.look_ups import open_with_look_ups
from tests.mail.incoming.verdicts.judging import lies

SMALL = [row for row in ROWS if row.kind != "bombs"]
FEW = 12  # changed mails of each; there are some 300


@pytest.mark.parametrize("row", SMALL, ids=[row.file for row in SMALL])
async def test_nothing_vouches_for_what_was_put_in(row) -> None:  # type: ignore[no-untyped-def]
    every = list(changed((FOLDER / row.file).read_bytes()))
    for number, place, raw in random.Random(row.file).sample(every, min(FEW, len(every))):
        one = await open_with_look_ups(raw, ring())
        assert vouched(one) + lies(one) == [], (number, place)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SMALL), st.lists(st.tuples(st.integers(0), st.integers(0)), max_size=4))
async def test_nothing_vouches_for_what_was_put_in_at_several_places(row, where) -> None:  # type: ignore[no-untyped-def]
    raw = (FOLDER / row.file).read_bytes()
    for which, place in where:
        some, lines = insertions(raw), places(raw)
        at = lines[place % len(lines)]
        raw = raw[:at] + some[which % len(some)] + raw[at:]
    if where:
        one = await open_with_look_ups(raw, ring())
        assert vouched(one) + lies(one) == []


@pytest.mark.parametrize(
    "file",
    [
        "forged-fields/inside-an-attached-mail.eml",
        "forged-fields/inside-a-mail-attached-to-an-attached-mail.eml",
    ],
)
async def test_a_first_line_that_is_no_field_hides_no_attached_mail(file: str) -> None:
    """What is looked through is what is served: with our fields in front, the header goes on over such a line."""
    raw = (FOLDER / file).read_bytes()
    for first in (
        b"no field\r\n",
        b"--b--\r\nno field\r\n",
        b"\x00\r\n",
        b" folded\r\n",
        b"From me Mon\r\n",
    ):
        assert lies(await open_with_look_ups(first + raw, ring())) == [], first


ENDS_THE_HEADER = [
    b"X\xcf\x83: y\r\n",
    b"Fr\xcf\x83m: eve@example.test\r\n",
    b"\x80: y\r\n",
    b"X Y: z\r\n",
    b": y\r\n",
    b"X\x7f: y\r\n",
    b"no field\r\n",
    b" \r\n",
    b"From me Mon Sep 21 2026\r\n",
    b"\x00: y\r\n",
]


@pytest.mark.parametrize("line", ENDS_THE_HEADER)
async def test_no_verdict_stands_over_what_another_reader_takes_for_the_text(line: bytes) -> None:
    """A line that is a field for some and none for others ends the header for these (RFC 5322 2.2: names are ASCII)."""
    for row in SMALL:
        raw = (FOLDER / row.file).read_bytes()
        head = raw.partition(b"\r\n\r\n")[0]
        for place in (0, head.rfind(b"\r\n", 0, len(head) // 2) + 2, head.rfind(b"\r\n") + 2):
            changed_ = raw[:place] + line + b"PUT-IN: x\r\n" + raw[place:]
            assert lies(await open_with_look_ups(changed_, ring())) == [], (row.file, place)
