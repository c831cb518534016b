"""What we write is within the RFCs and reads back as it was meant, by ours and by the standard library."""

from __future__ import annotations

import email
import email.policy
from email.headerregistry import Address
from email.message import EmailMessage
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.message import Message
from leap.mail.message.compose import address_field, field, id_field, structured_field, text_entity
from leap.mail.message.new_message import File, new_message

# Control characters cannot stand in a field; others of white space are written as spaces
WORDS = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp", "Zs", "Cn", "Co"]), max_size=40
)
VALUES = st.lists(
    WORDS | st.sampled_from(["", "=?utf-8?q?x?=", "x" * 1200, '"', "\\", "a,b", "<x@y>", "(c)", "ü" * 90, "a;b=c"]),
    max_size=8,
).map(" ".join)  # fmt: skip
ASCII = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=300)


def lines_of(raw: bytes) -> list[bytes]:
    head = raw.partition(b"\r\n\r\n")[0].removesuffix(b"\r\n").split(b"\r\n")
    assert all(len(line) <= 998 for line in raw.split(b"\r\n"))
    assert all(line.strip() for line in head)
    return head


@settings(max_examples=30, deadline=None)
@given(VALUES | ASCII, st.booleans())
def test_any_text_of_a_field_reads_back(value: str, utf8: bool) -> None:
    head = field("Subject", value, utf8=utf8)
    lines_of(head)
    assert utf8 or head.isascii()
    assert Message(head + b"\r\n").subject == value.strip()
    if not utf8:
        theirs = email.message_from_bytes(head + b"\r\n", policy=email.policy.default)
        assert str(theirs["subject"]).split() == value.split()


@settings(max_examples=30, deadline=None)
@given(st.lists(VALUES | ASCII, min_size=1, max_size=4), st.booleans())
def test_any_name_before_an_address_reads_back(names: list[str], utf8: bool) -> None:
    people = [(name.strip(), f"a{at}@x.test") for at, name in enumerate(names)]
    head = address_field("To", people, utf8=utf8)
    lines_of(head)
    assert utf8 or head.isascii()
    found = Message(head + b"\r\n").addresses("to")
    assert [(one.display_name, one.address) for one in found] == people
    if not utf8:
        theirs = email.message_from_bytes(head + b"\r\n", policy=email.policy.default)
        got = cast(tuple[Address, ...], theirs["to"].addresses)
        assert [one.addr_spec for one in got] == [address for _, address in people]


@settings(max_examples=30, deadline=None)
@given(VALUES | ASCII)
def test_any_file_name_reads_back(name: str) -> None:
    head = structured_field("Content-Disposition", "attachment", {"filename": name, "size": "3"})
    lines_of(head)
    assert head.isascii()
    raw = b"Content-Type: application/x\r\n" + head + b"\r\nx"
    [(found, _)] = Message(raw).attachments()
    assert found == name.strip()[:255]
    theirs = email.message_from_bytes(raw)
    assert (theirs.get_filename() or "").strip() == name.strip()


@settings(max_examples=30, deadline=None)
@given(
    VALUES, st.text(st.characters(exclude_categories=["Cs"]), max_size=400), st.binary(max_size=300)
)
def test_a_whole_message_reads_back(subject: str, text: str, content: bytes) -> None:
    raw = new_message(
        sender=("Jürgen", "j@bücher.example"),
        to=[("Bob", "bob@x.test")],
        subject=subject,
        text=text,
        html=f"<p>{text}</p>",
        files=[File("ünï.bin", "application/octet-stream", content)],
        references=["<a@x>", "<b@x>"],
        in_reply_to=["<b@x>"],
        seconds=1793610000,
        zone=60,
    )
    lines_of(raw)
    assert raw.isascii()
    ours = Message(raw)
    assert ours.defects == []
    assert ours.subject == subject.strip()
    assert ours.addresses("from")[0].readable == "j@bücher.example"
    assert (ours.references, ours.date) == (["<a@x>", "<b@x>"], (1793610000, 60))
    [(name, part)] = ours.attachments()
    assert (name, ours.content(part)) == ("ünï.bin", content)
    theirs = cast(EmailMessage, email.message_from_bytes(raw, policy=email.policy.default))
    assert [part.get_content_type() for part in theirs.walk()] == [
        part.content_type for part in ours.root.walk()
    ]
    assert next(theirs.iter_attachments()).get_content() == content
    body = ours.part("1.1")
    html = ours.part("1.2")
    assert body is not None
    assert html is not None
    mine = [ours.content(body), ours.content(html)]
    texts = [part for part in theirs.walk() if part.get_content_maintype() == "text"]
    assert [part.get_payload(decode=True) for part in texts] == mine


def test_a_whole_message_is_sent_along_untouched() -> None:
    inner = b"Subject: inside\r\n\r\nexact octets\r\n"
    raw = new_message(
        sender=("", "a@x.test"),
        to=[("", "b@x.test")],
        text="see below",
        files=[File("", "message/rfc822", inner)],
        seconds=0,
    )
    part = Message(raw).part("2")
    assert part is not None
    assert Message(raw).body(part) == inner
    assert [name for name, _ in Message(raw).attachments()] == ["inside.eml"]


def test_scripts_without_latin_letters_are_base64() -> None:
    assert b"Content-Transfer-Encoding: base64" in text_entity("漢字" * 50)
    assert b"Content-Transfer-Encoding: quoted-printable" in text_entity("schöne Grüße " * 20)
    assert b"Content-Transfer-Encoding: 7bit" in text_entity("plain")


@pytest.mark.parametrize(
    ("people", "error"),
    [
        ([("", "jürgen@x.test")], "SMTPUTF8"),
        ([("", "a@x.test>, <eve@x.test")], "no mail address"),
        ([("", "a b@x.test")], "no mail address"),
        ([("", "a@x.test\r\nBcc: eve@x.test")], "control character"),
        ([("", "a" * 1000 + "@x.test")], "too long"),
        ([("", "a@" + "ü" * 80 + ".test")], "domain"),
    ],
)
def test_what_can_be_no_address_is_refused(people: list[tuple[str, str]], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        address_field("To", people)


def test_international_addresses_are_written_when_the_way_allows_them() -> None:
    head = address_field("To", [("Jürgen", "jürgen@bücher.example")], utf8=True)
    assert head == "To: Jürgen <jürgen@bücher.example>\r\n".encode()


def test_an_id_is_one_or_refused() -> None:
    head = id_field("References", [f"<{'x' * 40}{at}@x.test>" for at in range(9)])
    assert all(len(line) <= 78 for line in head.split(b"\r\n"))
    assert len(Message(head + b"\r\n").references) == 9
    for wrong in ("a@x", "<a@x> <b@x>", "<a@x\r\n>", "<a b@x>"):
        with pytest.raises(ValueError, match="ids"):
            id_field("Message-ID", [wrong])
