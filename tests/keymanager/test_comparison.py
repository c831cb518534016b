"""What two people compare: groups, words, QR texts, and what somebody types."""

from __future__ import annotations

import hashlib

import pytest

from leap.keymanager.comparison import (
    comparison_words,
    grouped,
    qr_text,
    read_fingerprint,
)
from leap.keymanager.errors import KeyRefused

V4, V6 = "0123456789ABCDEF0123456789ABCDEF01234567", "AB" * 32
ALICE, BOB, EVE = (
    ("alice@example.test", V4),
    ("bob@example.test", "B" * 40),
    ("bob@example.test", "E" * 40),
)


def test_both_sides_see_the_same_eight_words() -> None:
    words = comparison_words(ALICE, BOB)
    assert words == comparison_words(BOB, ALICE)
    assert words == comparison_words(("ALICE@Example.test ", V4), BOB)
    assert len(words) == 8
    assert all(word.isalpha() and word.islower() for word in words)


def test_another_key_or_address_gives_other_words() -> None:
    words = {comparison_words(ALICE, other) for other in (BOB, EVE, ("carol@x.test", "B" * 40))}
    assert len(words) == 3


def test_the_words_are_a_slow_function_of_both_keys_and_never_change() -> None:
    """Written down: two versions of the program show the same words."""
    assert comparison_words(ALICE, BOB) == tuple(WORDS.split())
    packed = b"".join(
        len(side).to_bytes(4, "big") + side
        for side in sorted(f"{address} {key}".encode() for address, key in (ALICE, BOB))
    )
    hashed = hashlib.scrypt(
        packed, salt=b"leap.keymanager comparison 1", n=16384, r=8, p=1, dklen=11, maxmem=2**26
    )
    from mnemonic import Mnemonic

    places = [Mnemonic("english").wordlist.index(word) for word in WORDS.split()]
    assert f"{int.from_bytes(hashed, 'big'):088b}" == "".join(f"{at:011b}" for at in places)


WORDS = "east valve pioneer drink diesel pelican huge mask"


@pytest.mark.parametrize("fingerprint", [V4, V6])
def test_a_fingerprint_is_read_however_it_was_written(fingerprint: str) -> None:
    colons = ":".join(fingerprint[at : at + 2] for at in range(0, len(fingerprint), 2))
    for text in (
        fingerprint,
        fingerprint.lower(),
        grouped(fingerprint),
        f"  {grouped(fingerprint).lower()}\n",
        colons,
        f"0x{fingerprint}",
        qr_text(fingerprint),
        qr_text(fingerprint).lower(),
    ):
        assert read_fingerprint(text) == fingerprint


@pytest.mark.parametrize("text", ["", "bob", V4[:-1], V4 + "00", V4[:-1] + "G", "9ABCDEF012345678"])
def test_what_is_no_whole_fingerprint_is_refused(text: str) -> None:
    with pytest.raises(KeyRefused, match="40 or 64 digits"):
        read_fingerprint(text)


def test_groups_are_of_four() -> None:
    assert grouped(V4) == "0123 4567 89AB CDEF 0123 4567 89AB CDEF 0123 4567"
