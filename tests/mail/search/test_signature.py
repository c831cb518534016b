"""A header's signature lets every needle through that the header holds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.message import Message
from leap.mail.search.folding import fold
from leap.mail.search.signature import Sieve, signature
from leap.mail.search.texts import header_holds, header_signature

FIELDS = st.lists(
    st.sampled_from(
        [
            b"Subject: a heron\r\n stands", b"Subject:close", b"X-Odd : spaced", b"X-Empty:", b"X-Tab:\there",
            b"Subject: =?utf-8?q?Gr=C3=B6=C3=9Fe_der_?= =?utf-8?b?5p2x5Lqs?=", b"X-Raw: gr\xc3\xb6\xc3\x9fe",
            b"X-Bare: a\rb", b"X-Zero: a\x00b", b"no field at all", b"X-Escape: \x1b$B5~ET\x1b(B", b"x" * 70 + b": y",
        ]
    ),
    max_size=6,
)  # fmt: skip


def passes(needle: str, made: bytes) -> bool:
    return list(Sieve([needle]).passed([(7, made)])) == [7]


@settings(max_examples=40, deadline=None)
@given(FIELDS, st.sampled_from([b"\r\n", b"\n"]), st.data())
def test_what_a_header_holds_passes_its_signature(
    fields: list[bytes], end: bytes, data: st.DataObject
) -> None:
    message = Message(end.join([*fields, b"", b"body"]))
    made = header_signature(message)
    whole = fold("\n".join(f"{field.name}: {field.text}" for field in message.fields))
    first = data.draw(st.integers(0, len(whole)))
    needle = whole[first : first + data.draw(st.integers(0, 12))]
    assert header_holds(message, needle)
    assert passes(needle, made)
    for field in message.fields:
        sieve = Sieve([fold(f" {field.name.lower()}: "), fold(field.text)])
        assert list(sieve.passed([(7, made)])) == [7]


def test_few_others_pass() -> None:
    made = signature(" received: from mx.example.test by mail.example.test with esmtps; " * 3)
    others = [f"{number * 7919:x}{number:x}" * 2 for number in range(1_000, 1_200)]
    assert sum(passes(other, made) for other in others) < 5


def test_its_size_follows_the_header_and_has_an_end() -> None:
    assert len(signature("")) == len(signature("a short one")) == 32
    assert len(signature("x" * 700)) == 256
    assert len(signature("x" * 60_000)) == 2_048
    for long in (signature("x" * 100_000), header_signature(Message(b"X: " + b"y" * 100_000))):
        assert passes("heron", long)
        assert len(long) == 32
    assert passes("ab" * 400, signature("ab" * 500))


def test_signatures_stay_as_they_are_stored() -> None:
    assert signature(" subject: heron ").rstrip(b"\0").hex() == PINNED


def test_an_unknown_signature_and_a_short_needle_let_all_through() -> None:
    assert passes("heron", b"")
    assert Sieve(["ab", ""]).blind
    assert not Sieve(["ab", "abc"]).blind


PINNED = "080000000000000000020800100800000010400400001000004010000004"
