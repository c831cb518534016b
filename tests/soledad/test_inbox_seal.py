"""Mail sealed to an inbox key: only its account opens it."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.soledad.errors import BadKeyset, ForgedEnvelope, UnknownSuite
from leap.soledad.inbox_seal import (
    PREFIX_SIZE,
    PUBLIC_SIZE,
    generate_inbox_key,
    open_from_inbox,
    seal_to_inbox,
)

OLD, NEW, EVE = (generate_inbox_key(float(moment)) for moment in (1, 2, 3))
MAIL = b"Subject: hello\r\n\r\nhello\r\n" * 10


@given(st.binary(max_size=3_000))
@settings(max_examples=30, deadline=None)
def test_what_is_sealed_opens(mail):
    assert open_from_inbox(seal_to_inbox(mail, NEW.public, "alice"), [OLD, NEW], "alice") == mail


def test_mail_sealed_to_a_retired_key_still_opens():
    assert open_from_inbox(seal_to_inbox(MAIL, OLD.public, "alice"), [OLD, NEW], "alice") == MAIL


def test_another_account_does_not_open_it_even_with_the_key():
    sealed = seal_to_inbox(MAIL, NEW.public, "alice")
    with pytest.raises(ForgedEnvelope, match="another account"):
        open_from_inbox(sealed, [NEW], "bob")


def test_a_key_we_do_not_hold_is_named_as_the_reason():
    with pytest.raises(ForgedEnvelope, match="does not hold"):
        open_from_inbox(seal_to_inbox(MAIL, EVE.public, "alice"), [OLD, NEW], "alice")


def test_every_altered_octet_is_found():
    sealed = seal_to_inbox(b"hi", NEW.public, "alice")
    for position in range(0, len(sealed), 7):
        altered = bytearray(sealed)
        altered[position] ^= 1
        with pytest.raises((ForgedEnvelope, UnknownSuite)):
            open_from_inbox(bytes(altered), [OLD, NEW], "alice")


def test_cut_mail_does_not_open():
    sealed = seal_to_inbox(MAIL, NEW.public, "alice")
    for length in (0, 1, PREFIX_SIZE, PREFIX_SIZE + 10, 1_130, len(sealed) - 1):
        with pytest.raises(ForgedEnvelope):
            open_from_inbox(sealed[:length], [NEW], "alice")


@given(st.binary(max_size=1_500))
@settings(max_examples=30)
def test_bytes_from_outside_raise_only_theirs(data):
    for sealed in (data, bytes([1]) + bytes.fromhex(NEW.key_id) + data):
        with pytest.raises((ForgedEnvelope, UnknownSuite)):
            open_from_inbox(sealed, [NEW], "alice")


def test_an_unknown_suite_is_neither_sealed_to_nor_opened():
    with pytest.raises(UnknownSuite):
        seal_to_inbox(MAIL, msgspec.structs.replace(NEW.public, suite=2), "alice")
    with pytest.raises(UnknownSuite):
        open_from_inbox(b"\x02" + seal_to_inbox(MAIL, NEW.public, "alice")[1:], [NEW], "alice")


@pytest.mark.parametrize(
    "public",
    [
        b"",
        b"x" * 10,
        b"\xff" * PUBLIC_SIZE,  # coefficients outside the field: FIPS 203 section 7.2
        NEW.public.public[:-32] + bytes(32),  # a point of low order: RFC 7748 section 6.1
    ],
)
def test_a_key_that_is_none_is_refused_and_nothing_is_sealed(public):
    with pytest.raises(BadKeyset):
        seal_to_inbox(MAIL, msgspec.structs.replace(NEW.public, public=public), "alice")


def test_two_seals_of_one_mail_differ():
    assert (
        seal_to_inbox(MAIL, NEW.public, "alice")[PREFIX_SIZE:]
        != seal_to_inbox(MAIL, NEW.public, "alice")[PREFIX_SIZE:]
    )


def test_the_seed_is_not_shown():
    assert NEW.seed.hex()[:8] not in repr(NEW)
    assert repr(NEW.seed)[2:10] not in repr(NEW)
