"""format=flowed: what we write reads back; what others write becomes paragraphs in linear time."""

from __future__ import annotations

import re
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.message.flowed import WIDTH, flow, unflow

LINES = st.lists(
    st.text(st.sampled_from("a> -Fb"), max_size=30)
    | st.sampled_from(["-- ", ">> x", "> > y", "From me", " z", "word " * 40, "> " + "word " * 40, "-- " * 40]),
    max_size=8,
)  # fmt: skip


def test_long_paragraphs_flow_and_what_looks_like_a_mark_is_stuffed() -> None:
    text = "word " * 30 + "end\n>" + " quoted" * 15 + "\n From\nFrom here\n-- \nname"
    lines = flow(text).split("\n")
    flows = [number for number, line in enumerate(lines) if line.endswith(" ")]
    assert flows == [0, 1, 3, 7]
    assert all(len(line) <= WIDTH + 1 for line in lines)
    assert lines[3].startswith("> quoted")
    assert lines[5:8] == ["  From", " From here", "-- "]


@settings(max_examples=40, deadline=None)
@given(LINES)
def test_what_was_flowed_reads_back(lines: list[str]) -> None:
    def plain(line: str) -> str:
        if line == "-- ":
            return line
        marks = re.match("(?:> ?)*", line)
        assert marks is not None
        depth, rest = marks[0].count(">"), line[marks.end() :].rstrip(" ")
        return (">" * depth + " " + rest).rstrip(" ") if depth else rest

    flowed = flow("\n".join(lines))
    assert unflow(flowed) == "\n".join(map(plain, lines))


def test_a_paragraph_of_a_million_lines_is_joined_in_linear_time() -> None:
    began = time.process_time()
    assert len(unflow("x \n" * 300_000)) == 600_000
    assert time.process_time() - began < 2.0
