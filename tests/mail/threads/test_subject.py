"""Base subjects (RFC 5256 2.1)."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leap.mail.threads.subject import base_subject, subject_key


@pytest.mark.parametrize(
    ("subject", "base", "reply"),
    [
        ("", "", False),
        ("Plain words", "Plain words", False),
        ("Re: Plain words", "Plain words", True),
        ("RE:FW: fwd :Plain words", "Plain words", True),
        ("  re :   Plain \t words  ", "Plain words", True),
        ("Re[2]: Plain", "Plain", True),  # subj-refwd with a blob
        ("[list] Re: [other] Plain", "Plain", True),  # subj-leader with blobs, then (4)
        ("[list] Plain", "Plain", False),
        ("[list]", "[list]", False),  # (4): nothing would be left
        ("[a] [b]", "[b]", False),
        ("Plain (fwd)", "Plain", True),
        ("Plain (FWD) (fwd) ", "Plain", True),
        ("[Fwd: Plain]", "Plain", True),
        ("Re: [fwd: [fwd: Re: Plain (fwd)]]", "Plain", True),
        ("[fwd: Plain", "[fwd: Plain", False),
        ("Reply", "Reply", False),
        ("Re Plain", "Re Plain", False),
        ("Fwd: Re:", "", True),
        ("Aw: Plain", "Aw: Plain", False),  # the RFC knows English only
    ],
)
def test_marks_of_replies_and_forwards_go(subject: str, base: str, reply: bool) -> None:
    assert base_subject(subject) == (base, reply)


def test_letter_case_makes_no_difference_when_subjects_are_compared() -> None:
    assert subject_key("Straße") == subject_key("STRASSE")


@given(st.text(alphabet="re:fwd[]() ab\t", max_size=60))
def test_a_base_subject_is_its_own_base(subject: str) -> None:
    base = base_subject(subject)
    assert base_subject(base.text) in {(base.text, False), (base.text, base.reply)}


@pytest.mark.parametrize("piece", ["[a]", "re:", "re", "[fwd:", "(fwd)", "[", " [a] "])
def test_subjects_made_to_be_slow_are_not(piece: str) -> None:
    began = time.process_time()
    base_subject(piece * (1000 // len(piece)))
    assert time.process_time() - began < 0.5
