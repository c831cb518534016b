"""What we write ourselves is within the RFCs and reads back as it was meant."""

from __future__ import annotations

import email
import email.policy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.message import Message
from leap.mail.message.compose import (
    address_field,
    binary_entity,
    entity,
    field,
    message_entity,
    message_id,
    multipart_entity,
    structured_field,
    text_entity,
    to_crlf,
)

SAFE = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=300)


def check_lines(head: bytes) -> None:
    assert head.endswith(b"\r\n")
    assert head.isascii()
    lines = head[:-2].split(b"\r\n")
    assert all(line.strip() and len(line) <= 998 for line in lines)
    assert all(line.startswith((b" ", b"\t")) for line in lines[1:])


@settings(max_examples=40, deadline=None)
@given(SAFE)
def test_a_field_reads_back_as_it_was_written(value: str) -> None:
    head = field("Subject", value)
    check_lines(head)
    back = Message(head + b"\r\n").subject
    assert (
        back.split() == value.split()
        if value.isascii() and "=?" not in value
        else back.strip() == value.strip()
    )


def test_long_fields_are_folded_at_78_columns() -> None:
    head = field("Subject", "word " * 60)
    assert all(len(line) <= 78 for line in head.split(b"\r\n"))
    assert len(head.split(b"\r\n")) > 4


@pytest.mark.parametrize("value", ["a\r\nBcc: eve@x.test", "a\nb", "a\x00b", "a\rb"])
def test_a_second_field_cannot_be_smuggled_in(value: str) -> None:
    with pytest.raises(ValueError, match="control character"):
        field("Subject", value)
    with pytest.raises(ValueError, match="control character"):
        address_field("To", [(value, "a@x.test")])
    with pytest.raises(ValueError, match="control character"):
        structured_field("Content-Type", "text/plain", {"name": value})
    with pytest.raises(ValueError, match="name"):
        field("Sub ject", "x")


def test_addresses_read_back() -> None:
    people = [
        ("", "a@x.test"),
        ("Doe, Jane", "j@x.test"),
        ("Jürgen", "u@x.test"),
        ('say "hi"', "q@x.test"),
    ] * 4
    head = address_field("To", people)
    check_lines(head)
    found = Message(head + b"\r\n").addresses("to")
    assert [(one.display_name, one.address) for one in found] == people


def test_parameters_read_back() -> None:
    head = structured_field(
        "Content-Disposition", "attachment", {"filename": 'übergroß "x".pdf', "size": "3"}
    )
    check_lines(head)
    parsed = email.message_from_bytes(head + b"\r\n", policy=email.policy.default)
    assert parsed.get_filename() == 'übergroß "x".pdf'


@settings(max_examples=40, deadline=None)
@given(SAFE | st.text(st.sampled_from("a\n\r =.ü\0"), max_size=200))
def test_text_reads_back(text: str) -> None:
    raw = text_entity(text)
    parsed = email.message_from_bytes(raw, policy=email.policy.default)
    wanted = to_crlf(text.encode()).decode()
    assert parsed.get_payload(decode=True).decode() == wanted
    assert Message(raw).body_text == wanted.replace("\r\n", "\n")
    assert raw.isascii()


def test_a_whole_message_reads_back_in_the_standard_library() -> None:
    inner = b"Subject: inside\r\n\r\nexact \xff octets\r\n"
    raw = entity(
        [field("Subject", "Grüße"), field("MIME-Version", "1.0")],
        b"",
    )[:-2] + multipart_entity(
        "mixed",
        [
            text_entity("hello"),
            binary_entity(bytes(range(256)), "application/octet-stream", filename="all.bin"),
            message_entity(inner),
        ],
        params={"x": "y z"},
        preamble=b"This is a multipart message.",
    )
    parsed = email.message_from_bytes(raw, policy=email.policy.default)
    text, binary, message = parsed.iter_parts()
    assert parsed["subject"] == "Grüße"
    assert text.get_content() == "hello"
    assert (binary.get_content(), binary.get_filename()) == (bytes(range(256)), "all.bin")
    ours = Message(raw)
    part = ours.part("3")
    assert part is not None
    assert ours.body(part) == inner
    assert [one for part in ours.root.walk() for one in part.defects] == []
    assert message.get_content_type() == "message/rfc822"


def test_a_boundary_that_occurs_in_a_part_is_refused() -> None:
    with pytest.raises(ValueError, match="boundary"):
        multipart_entity("mixed", [b"\r\n--b\r\n"], boundary="b")


def test_message_ids_are_random() -> None:
    assert message_id("x.test") != message_id("x.test")
    assert message_id("x.test", random=bytes) == f"<{'0' * 32}@x.test>"
