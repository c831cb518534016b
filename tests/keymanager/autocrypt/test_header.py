"""The Autocrypt field: every rule of its grammar, what is built, and whatever bytes come."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.keymanager.autocrypt.header import (
    MAX_FIELD,
    MAX_FIELDS,
    Header,
    canonical,
    header_value,
    only_header,
    parse_header,
)
from leap.keymanager.openpgp import SecretKey
from tests.keymanager.conftest import ALICE

KEY = b"\xc6\x33key"
DATA = base64.b64encode(KEY)
VALID = b"addr=alice@example.test; keydata=" + DATA
PLAIN = Header("alice@example.test", "nopreference", KEY)
MUTUAL = PLAIN._replace(prefer_encrypt="mutual")

READ = {
    "the smallest": (VALID, PLAIN),
    "mutual": (VALID.replace(b"keydata", b"prefer-encrypt=mutual; keydata"), MUTUAL),
    "in another order": (b"prefer-encrypt=mutual;addr=alice@example.test;keydata=" + DATA, MUTUAL),
    "another preference": (VALID.replace(b"keydata", b"prefer-encrypt=never;keydata"), PLAIN),
    "not critical": (VALID.replace(b"keydata", b"_color=red; _odd; keydata"), PLAIN),
    "not critical, twice": (b"_a=1;_a=2;_keydata=x; " + VALID, PLAIN),
    "a semicolon at the end": (VALID + b"; ", PLAIN),
    "no space": (VALID.replace(b" ", b""), PLAIN),
    "folded": (
        VALID.replace(b"; ", b";\r\n\t ").replace(DATA, DATA[:3] + b"\r\n " + DATA[3:]),
        PLAIN,
    ),
    "spaces around": (
        b"  addr = alice@example.test ; keydata = " + DATA[:2] + b"  " + DATA[2:],
        PLAIN,
    ),
    "upper case": (VALID.replace(b"alice@example", b"Alice@EXAMPLE"), PLAIN),
    "old packet format": (
        VALID.replace(DATA, base64.b64encode(b"\x99\x00\x33k")),
        PLAIN._replace(keydata=b"\x99\x00\x33k"),
    ),
}
INVALID = {
    "nothing": b"",
    "no address": b"keydata=" + DATA,
    "no key": b"addr=alice@example.test",
    "an empty key": b"addr=alice@example.test; keydata=",
    "a critical attribute": b"type=p; " + VALID,
    "a type that once was": b"type=1; " + VALID,
    "a critical attribute without value": b"urgent; " + VALID,
    "an empty attribute": VALID.replace(b";", b";;"),
    "an attribute without name": b"=x; " + VALID,
    "the address twice": b"addr=alice@example.test; " + VALID,
    "the preference twice": b"prefer-encrypt=mutual; prefer-encrypt=mutual; " + VALID,
    "the key not last": VALID + b"; _more=x",
    "the key twice": VALID + b"; keydata=" + DATA,
    "names in upper case": VALID.replace(b"addr", b"Addr"),
    "broken base64": VALID[:-3],
    "other characters in base64": VALID.replace(DATA, b"*" + DATA),
    "a secret key": VALID.replace(DATA, base64.b64encode(b"\xc5\x33key")),
    "something else": VALID.replace(DATA, base64.b64encode(b"-----BEGIN PGP")),
    "two addresses": VALID.replace(b"alice@", b"alice@x,bob@"),
    "a name and address": VALID.replace(b"alice@example.test", b"Alice <alice@example.test>"),
    "no domain": VALID.replace(b"@example.test", b""),
    "a long address": VALID.replace(b"alice", b"a" * 400),
    "no UTF-8": VALID.replace(b"alice", b"al\xefce"),
    "over the limit": VALID.replace(DATA, base64.b64encode(KEY + bytes(MAX_FIELD))),
}


@pytest.mark.parametrize("which", READ)
def test_a_valid_field_is_read(which: str) -> None:
    value, header = READ[which]
    assert parse_header(value) == header


@pytest.mark.parametrize("which", INVALID)
def test_an_invalid_field_is_none(which: str) -> None:
    assert parse_header(INVALID[which]) is None


def test_the_one_valid_field_of_the_sender_counts() -> None:
    newer = b"version=2; " + VALID
    of_bob = VALID.replace(b"alice", b"bob")
    assert only_header([newer, VALID, of_bob], "Alice@Example.Test") == PLAIN
    assert only_header([VALID], "bob@example.test") is None
    assert only_header([VALID, VALID], ALICE) is None
    assert only_header([], ALICE) is None
    assert only_header([newer], ALICE) is None


def test_addresses_are_compared_in_lower_case_and_by_the_names_of_the_dns() -> None:
    assert canonical(" Ünal@Bücher.Example ") == "ünal@xn--bcher-kva.example"
    assert canonical("a@\ud800") == "a@\ud800"
    assert parse_header(VALID.replace(b"example", "bücher".encode())) == PLAIN._replace(
        address="alice@xn--bcher-kva.test"
    )


def test_what_is_built_is_read_and_can_be_folded(alice: SecretKey) -> None:
    certificate = alice.certificate.binary
    value = header_value(ALICE, certificate, "mutual")
    assert value is not None
    assert parse_header(value.encode()) == Header(ALICE, "mutual", certificate)
    assert max(map(len, value.split(" "))) <= 72
    plain = header_value(ALICE, certificate)
    assert plain is not None
    assert "prefer-encrypt" not in plain


def test_nothing_is_built_that_would_be_invalid() -> None:
    assert header_value(ALICE, bytes(7000)) is not None
    assert header_value(ALICE, bytes(7600)) is None
    for address in (
        "alice",
        "a;b@example.test",
        "a b@example.test",
        "ä@example.test",
        "a@b\r\nX: y",
    ):
        assert header_value(address, KEY) is None


_PIECES = st.sampled_from(
    [
        b"addr=",
        b"a@b.c",
        b";",
        b" ",
        b"\r\n ",
        b"=",
        b"keydata",
        b"prefer-encrypt=mutual",
        b"_x=1",
        DATA,
        b"\xff",
    ]
)


@given(st.one_of(st.binary(max_size=300), st.lists(_PIECES, max_size=20).map(b"".join)))
@settings(max_examples=60, deadline=None)
def test_whatever_comes_is_none_or_a_sound_header(value: bytes) -> None:
    header = parse_header(value)
    if header is not None:
        assert header.keydata
        assert header.address.count("@") >= 1
        assert header.prefer_encrypt in ("mutual", "nopreference")
        again = header_value(header.address, header.keydata, header.prefer_encrypt)
        assert again is None or parse_header(again.encode()) == header


@given(st.binary(min_size=1, max_size=2000), st.sampled_from(["mutual", "nopreference"]))
@settings(max_examples=25, deadline=None)
def test_every_key_survives_being_written(key: bytes, prefer: str) -> None:
    value = header_value(ALICE, b"\xc6" + key, prefer)  # type: ignore[arg-type]
    assert value is not None
    assert parse_header(value.encode()) == Header(ALICE, prefer, b"\xc6" + key)  # type: ignore[arg-type]


def test_a_flood_of_fields_costs_little() -> None:
    assert only_header([VALID] * MAX_FIELDS, ALICE) is None
