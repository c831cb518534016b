"""The envelope: what opens where, and what never opens."""

import hashlib

import pytest
import zstandard
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.soledad import envelope
from leap.soledad.envelope import (
    HEADER,
    INNER,
    SMALLEST,
    TAG_SIZE,
    Epoch,
    derive_key,
    item_id_of,
    open_envelope,
    padded_size,
    row_key_of,
    seal,
    with_lengths,
    zstd_decompress,
)
from leap.soledad.errors import ForgedEnvelope, UnknownEpoch, UnknownSuite

EPOCH = Epoch(1, b"k" * 32)
PLACE = {"kind": "document", "account": "a1", "item_id": b"i" * 32, "version": 7}
EPOCHS = {1: EPOCH}


def sealed_note(text: bytes = b"the cat is in the garden") -> bytes:
    return seal(text, **PLACE, epoch=EPOCH)


@given(st.binary(max_size=5_000), st.booleans())
@settings(max_examples=30, deadline=None)
def test_what_is_sealed_opens_in_its_place(plaintext, compress):
    sealed = seal(plaintext, **PLACE, epoch=EPOCH, compress=compress)
    assert open_envelope(sealed, **PLACE, epochs=EPOCHS) == plaintext


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"kind": "page"},
        {"account": "a2"},
        {"item_id": b"j" * 32},
        {"version": 8},
        {
            "kind": "documenta",
            "account": "1",
        },  # fields have lengths: they cannot flow into each other
    ],
)
def test_an_item_shown_in_another_place_does_not_open(elsewhere):
    with pytest.raises(ForgedEnvelope):
        open_envelope(sealed_note(), **{**PLACE, **elsewhere}, epochs=EPOCHS)


def test_every_octet_is_authenticated():
    sealed = sealed_note()
    for position in range(len(sealed)):
        altered = bytearray(sealed)
        altered[position] ^= 1
        with pytest.raises((ForgedEnvelope, UnknownSuite)):
            open_envelope(bytes(altered), **PLACE, epochs={1: EPOCH, 0: EPOCH})


def test_an_item_cut_at_any_length_does_not_open():
    sealed = sealed_note()
    for length in range(len(sealed)):
        with pytest.raises(ForgedEnvelope):
            open_envelope(sealed[:length], **PLACE, epochs=EPOCHS)


def test_plaintext_is_refused_where_an_envelope_is_due():
    for plain in (b'{"subject": "hello"}' * 100, b"\x01" + b"hello" * 300):
        with pytest.raises((ForgedEnvelope, UnknownSuite)):
            open_envelope(plain, **PLACE, epochs=EPOCHS)


def test_another_format_is_named_as_such():
    with pytest.raises(UnknownSuite):
        open_envelope(b"\x02" + sealed_note()[1:], **PLACE, epochs=EPOCHS)


def test_an_unknown_epoch_says_which():
    with pytest.raises(UnknownEpoch) as caught:
        open_envelope(sealed_note(), **PLACE, epochs={2: Epoch(2, b"z" * 32)})
    assert caught.value.number == 1


def test_an_epoch_with_another_key_does_not_open():
    with pytest.raises(ForgedEnvelope):
        open_envelope(sealed_note(), **PLACE, epochs={1: Epoch(1, b"z" * 32)})


def test_every_seal_draws_a_fresh_salt():
    first, second = sealed_note(), sealed_note()
    assert first[5:37] != second[5:37]
    assert first[37:] != second[37:]


def test_small_items_are_all_of_one_size():
    sizes = {len(sealed_note(b"x" * size)) for size in (0, 1, 100, 900)}
    assert sizes == {HEADER.size + SMALLEST + TAG_SIZE}


@given(st.integers(min_value=1, max_value=2**40))
def test_padding_costs_at_most_an_eighth_above_a_kilobyte(size):
    padded = padded_size(size)
    assert padded >= size
    assert padded == padded_size(padded)
    if size > SMALLEST:
        assert padded - size <= size // 8


def test_padding_is_authenticated_zeros_and_nothing_else():
    """Zeros are checked on opening, so the padding is no place to hide anything."""
    header = HEADER.pack(1, 1, b"s" * 32)
    key = envelope._item_key(header, "document", "a1", b"i" * 32, 7, EPOCH)
    for inner in (
        INNER.pack(0, 5) + b"hello" + b"x" * 1010,
        INNER.pack(0, 2**63) + b"hello" + bytes(1010),
        INNER.pack(9, 5) + b"hello" + bytes(1010),
        INNER.pack(1, 5) + b"hello" + bytes(1010),
    ):
        with pytest.raises(ForgedEnvelope):
            open_envelope(
                header + AESGCM(key).encrypt(bytes(12), inner, header), **PLACE, epochs=EPOCHS
            )


def test_the_limit_holds_for_stored_and_for_packed_items():
    for compress in (True, False):
        sealed = seal(b"a" * 10_000, **PLACE, epoch=EPOCH, compress=compress)
        assert open_envelope(sealed, **PLACE, epochs=EPOCHS, max_size=10_000) == b"a" * 10_000
        with pytest.raises(ForgedEnvelope):
            open_envelope(sealed, **PLACE, epochs=EPOCHS, max_size=9_999)


def test_a_frame_that_claims_too_much_is_refused_before_it_is_unpacked():
    bomb = zstandard.ZstdCompressor().compress(bytes(100_000_000))
    with pytest.raises(ForgedEnvelope):
        zstd_decompress(bomb, 1_000_000)
    without_size = zstandard.ZstdCompressor(write_content_size=False).compress(b"x" * 100)
    with pytest.raises(ForgedEnvelope):
        zstd_decompress(without_size, 1_000_000)


@given(st.binary(max_size=2_000))
@settings(max_examples=40)
def test_bytes_from_outside_raise_only_theirs(data):
    with pytest.raises((ForgedEnvelope, UnknownSuite)):
        open_envelope(data, **PLACE, epochs=EPOCHS)


@given(st.binary(max_size=300))
def test_frames_from_outside_raise_only_theirs(data):
    try:
        zstd_decompress(data, 1_000)
    except ForgedEnvelope:
        pass


def test_compression_makes_a_large_text_small():
    assert len(seal(b"a mail like many others. " * 4_000, **PLACE, epoch=EPOCH)) < 2_000


def test_an_item_above_the_limit_is_refused_at_sealing():
    with pytest.raises(ValueError, match="above the limit"):
        seal(bytes(64 * 1024 * 1024 + 1), **PLACE, epoch=EPOCH)


def test_item_ids_depend_on_key_and_document_and_differ_from_row_keys():
    ids = {item_id_of(key, name) for key in (b"a" * 32, b"b" * 32) for name in ("x", "y")}
    assert len(ids) == 4
    assert row_key_of(b"a" * 32, b"x") not in {item.hex() for item in ids}


def test_fields_with_lengths_are_told_apart():
    assert with_lengths(b"ab", b"c") != with_lengths(b"a", b"bc")


def test_no_key_is_shown():
    assert "6b6b" not in repr(EPOCH)
    assert "kkk" not in repr(EPOCH)


def test_known_answer():
    """The format as it stands: a change of any octet breaks what people have stored."""
    sealed = seal(
        b"leap", **PLACE, epoch=EPOCH, compress=False, random_bytes=lambda size: b"s" * size
    )
    assert len(sealed) == 1077
    assert sealed[:37].hex() == "01" + "00000001" + "73" * 32
    assert (
        hashlib.sha256(sealed).hexdigest()
        == "8f3ff07c9b55794818c9662034037bd53b0e934782e3f415473c5af079b03d38"
    )


@pytest.mark.parametrize(
    ("secret", "salt", "info", "made"),
    [
        (  # RFC 5869 A.1
            "0b" * 22,
            "000102030405060708090a0b0c",
            "f0f1f2f3f4f5f6f7f8f9",
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (  # A.3
            "0b" * 22,
            "",
            "",
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ],
)
def test_keys_are_derived_as_the_standard_says(
    secret: str, salt: str, info: str, made: str
) -> None:
    octets = [bytes.fromhex(one) for one in (secret, salt, info)]
    assert derive_key(*octets, length=42).hex() == made
    assert derive_key(*octets).hex() == made[:64]
