"""Addresses and parameters."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.smtp.address import BadSyntax, parse_address, parse_name, parse_path

GOOD = {
    "<alice@example.test>": "alice@example.test",
    "<Alice@EXAMPLE.Test>": "Alice@example.test",
    " <alice@example.test>": "alice@example.test",
    "<>": "",
    "<postmaster>": "postmaster",
    "<Postmaster>": "postmaster",
    "<@relay.test,@other.test:alice@example.test>": "alice@example.test",
    '<"alice"@example.test>': "alice@example.test",
    r'<"a\lice"@example.test>': "alice@example.test",
    '<"a b"@example.test>': '"a b"@example.test',
    '<"a>b"@example.test>': '"a>b"@example.test',
    r'<"a\"b\\"@example.test>': r'"a\"b\\"@example.test',
    '<""@example.test>': '""@example.test',
    "<a..b.@example.test>": "a..b.@example.test",
    "<a+b=c/d@sub_domain.example.test>": "a+b=c/d@sub_domain.example.test",
    "<alice@[192.0.2.1]>": "alice@[192.0.2.1]",
    "<alice@[IPv6:2001:DB8::1]>": "alice@[ipv6:2001:db8::1]",
    "<jürgen@exämple.test>": "jürgen@exämple.test",
}
BAD = [
    "",
    "alice@example.test",
    "<alice>",
    "<alice@>",
    "<@example.test>",
    "<alice@example.test",
    "<alice@example..test>",
    "<alice@.test>",
    "<alice@-x.test>",
    "<al ice@example.test>",
    "<alice@exam ple.test>",
    "<alice@example.test>>",
    "<<alice@example.test>>",
    "<alice@[300.0.0.1]>",
    "<alice@[IPv6:1]>",
    "<alice@[x]>",
    '<"alice@example.test>',
    '<"a\tb"@example.test>',
    "<a,b@example.test>",
    "<alice@example.test,bob@example.test>",
    "<" + "a" * 310 + "@example.test>",
    "<a@" + "b." * 130 + "test>",
    "<alice@example.test> SIZE",
    "<alice@example.test>SIZE=1",
    "<alice@example.test> SIZE=1 size=2",
    "<alice@example.test> =1",
    "<alice@example.test> A=b=c",
]


@pytest.mark.parametrize(("text", "address"), GOOD.items())
def test_a_path_is_read_into_one_form(text: str, address: str) -> None:
    assert parse_path(text) == (address, {})


@pytest.mark.parametrize("text", [text for text in BAD if text != "<alice@example.test> SIZE"])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(BadSyntax):
        parse_path(text)


def test_parameters_have_keys_in_upper_case() -> None:
    given = '<"a b"@x.test> size=12  BODY=8BITMIME SMTPUTF8'
    assert parse_path(given)[1] == {"SIZE": "12", "BODY": "8BITMIME", "SMTPUTF8": ""}


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet='<>@"\\ab .,:[]=é\x00\x7f\n-_1', max_size=30))
def test_anything_is_an_address_in_normal_form_or_refused(text: str) -> None:
    for candidate in (text, f"<{text}>", f"<{text}@example.test>"):
        try:
            address, _ = parse_path(candidate)
        except BadSyntax:
            continue
        if address not in ("", "postmaster"):
            assert parse_address(address) == address
        assert not any(ord(character) < 32 or ord(character) == 127 for character in address)


@pytest.mark.parametrize("name", ["", "two words", "tab\there", "x" * 256, "\x7f"])
def test_a_name_is_one_printable_word(name: str) -> None:
    with pytest.raises(BadSyntax):
        parse_name(name)
