"""Where OpenPGP blocks stand in a text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from leap.mail.incoming.inline import MAX_BLOCKS, has_blocks, only_block, pieces
from tests.mail.incoming.test_layers import TEXT, ciphertext, clearsigned

BLOCK, SIGNED = ciphertext(TEXT), clearsigned()


def kinds(text: bytes) -> list[str]:
    return [one.kind for one in pieces(text)]


def test_blocks_are_found_between_other_lines() -> None:
    assert kinds(b"a\r\n" + BLOCK + b"b\r\n" + SIGNED + b"c\r\n") == [
        "text",
        "message",
        "text",
        "cleartext",
        "text",
    ]
    assert kinds(BLOCK.replace(b"\r\n", b"\n") + SIGNED.replace(b"\r\n", b"\n")) == [
        "message",
        "cleartext",
    ]
    assert pieces(b"") == []


def test_what_is_no_block_is_text() -> None:
    for text in (
        b"x" + BLOCK,
        b"> " + BLOCK,
        BLOCK[:-20],
        BLOCK.replace(b"\r\n\r\n", b"\r\n a b\r\n"),
    ):
        assert kinds(text) == ["text"], text[:80]


def test_a_text_is_one_block_only_with_nothing_but_white_space_around_it() -> None:
    assert only_block(b" \r\n" + BLOCK + b"\r\n\t\r\n") is not None
    assert only_block(BLOCK + b".") is None
    assert only_block(BLOCK + BLOCK) is None
    assert only_block(b"") is None


def test_more_blocks_than_are_looked_at_are_text() -> None:
    assert kinds(BLOCK * (MAX_BLOCKS + 3)) == ["message"] * MAX_BLOCKS + ["text"]


@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [BLOCK, SIGNED, BLOCK[:40], SIGNED[:60], BLOCK[-40:], SIGNED[-30:], b"\r\n", b"- "]
            ),
            st.binary(max_size=8),
        ),
        max_size=8,
    ).map(b"".join)
)
def test_the_pieces_of_any_text_are_the_text(text: bytes) -> None:
    found = pieces(text)
    assert b"".join(text[one.start : one.end] for one in found) == text
    assert all(one.start < one.end for one in found)
    assert has_blocks(text) or all(one.kind == "text" for one in found)
    for one in found:
        if one.kind != "text":
            assert one.start == 0 or text[one.start - 1 : one.start] == b"\n"
