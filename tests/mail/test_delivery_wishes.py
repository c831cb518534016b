"""The parameters of RFC 3461 and back."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.delivery_wishes import (
    BadWish,
    DeliveryNotice,
    DeliveryWishes,
    is_right,
    mail_parameters,
    read_notice,
    read_wishes,
    read_xtext,
    recipient_parameters,
    write_xtext,
)

PRINTABLE = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
OCCASIONS = st.sampled_from([None, (), ("SUCCESS",), ("FAILURE", "DELAY"), ("SUCCESS", "DELAY")])


@given(PRINTABLE)
def test_xtext_comes_back(text: str) -> None:
    assert read_xtext(write_xtext(text)) == text


@given(st.text(max_size=60))
def test_whatever_is_read_as_xtext_is_printable_ascii(text: str) -> None:
    try:
        found = read_xtext(text)
    except BadWish:
        return
    assert all(" " <= letter <= "~" for letter in found)


@settings(max_examples=60)
@given(OCCASIONS, PRINTABLE, st.sampled_from(["rfc822", "utf-8"]), st.text("aäß@+=\\;", min_size=1))
def test_what_is_passed_on_is_what_was_said(
    notify: tuple[str, ...] | None, envelope_id: str, kind: str, address: str
) -> None:
    if kind == "rfc822":
        address = address.encode("ascii", "replace").decode()
    address = address.replace("\\", "")  # never part of an address that was read
    original = f"{kind};{address}" if address else ""
    notice = DeliveryNotice(notify=notify, original=original)  # type: ignore[arg-type]
    wishes = DeliveryWishes(returned="HDRS", envelope_id=envelope_id, notices={"b@x.test": notice})
    said = dict(one.split("=", 1) for one in recipient_parameters(wishes, "b@x.test"))
    assert all(one.isascii() for one in said.values())
    assert read_notice(said) == notice
    said = dict(one.split("=", 1) for one in mail_parameters(wishes))
    assert is_right("RET", said["RET"])
    assert read_wishes(said, {"b@x.test": notice}) == wishes


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            ";",
            "rfc822;",
            ";a@b",
            "rfc822",
            "rfc 822;a",
            "rfc822;a b",
            "rfc822;a+b",
            "rfc822;a+0a",
        ),
        *("utf-8;\\x{D800}", "utf-8;\\x{FFFFFF}", "utf-8;\\x{0A}", "utf-8;\\x{zz}", "utf-8;a\\b"),
        "rfc822;" + "a" * 500,
    ],
)
def test_an_orcpt_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(BadWish):
        read_notice({"ORCPT": value})


@pytest.mark.parametrize("value", ["", "NEVER,DELAY", "SUCCESS,", "SUCCESS, DELAY", "ALWAYS"])
def test_a_notify_that_is_none_is_refused(value: str) -> None:
    with pytest.raises(BadWish):
        read_notice({"NOTIFY": value})


def test_who_says_nothing_hears_of_what_goes_wrong() -> None:
    said_nothing, never, delay = (
        DeliveryNotice(),
        DeliveryNotice(notify=()),
        DeliveryNotice(notify=("DELAY",)),
    )
    assert [said_nothing.wants(one) for one in ("SUCCESS", "FAILURE", "DELAY")] == [
        False,
        True,
        True,
    ]
    assert not any(never.wants(one) for one in ("SUCCESS", "FAILURE", "DELAY"))  # type: ignore[arg-type]
    assert not delay.wants("FAILURE")


def test_wishes_are_kept_as_json_and_nothing_as_little() -> None:
    wishes = DeliveryWishes(require_tls=True, notices={"b@x.test": DeliveryNotice(notify=())})
    assert msgspec.json.decode(msgspec.json.encode(wishes), type=DeliveryWishes) == wishes
    assert msgspec.json.encode(DeliveryWishes()) == b"{}"
