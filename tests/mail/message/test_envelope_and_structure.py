"""IMAP's descriptions of a message, byte for byte and always within the grammar."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.contract import RowId, SecurityStatus
from leap.mail.message import Message, message_metadata
from tests.mail.message.imap_grammar import check_body, check_envelope, read_value
from tests.mail.message.test_scanner import LINES

LOCAL = SecurityStatus(encryption="local")


def envelope(*fields: bytes) -> bytes:
    return Message(b"".join(field + b"\r\n" for field in fields) + b"\r\n").envelope


def structure(raw: bytes) -> bytes:
    return Message(raw).body_structure


def addresses(value: bytes) -> bytes:
    """The To list of an envelope."""
    whole = envelope(b"To: " + value)
    assert whole.startswith(b"(NIL NIL NIL NIL NIL ")
    assert whole.endswith(b" NIL NIL NIL NIL)")
    return whole[len(b"(NIL NIL NIL NIL NIL ") : -len(b" NIL NIL NIL NIL)")]


def test_the_example_of_the_rfc() -> None:
    # RFC 9051 8
    assert envelope(
        b"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)",
        b"From: Terry Gray <gray@cac.washington.edu>",
        b"Subject: IMAP4rev2 WG mtg summary and minutes",
        b"To: imap@cac.washington.edu",
        b"cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>",
        b"Message-Id: <B27397-0100000@cac.washington.edu>",
    ) == (
        b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" "IMAP4rev2 WG mtg summary and minutes" '
        b'(("Terry Gray" NIL "gray" "cac.washington.edu")) (("Terry Gray" NIL "gray" "cac.washington.edu")) '
        b'(("Terry Gray" NIL "gray" "cac.washington.edu")) ((NIL NIL "imap" "cac.washington.edu")) '
        b'((NIL NIL "minutes" "CNRI.Reston.VA.US")("John Klensin" NIL "KLENSIN" "MIT.EDU")) NIL NIL '
        b'"<B27397-0100000@cac.washington.edu>")'
    )


def test_absent_fields_are_nil_and_empty_ones_are_empty() -> None:
    assert envelope() == b"(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"
    assert envelope(b"Subject:", b"Date: ", b"Message-ID:", b"To:") == (
        b'("" "" NIL NIL NIL NIL NIL NIL NIL "")'
    )


def test_an_encoded_word_with_a_comma_is_one_word() -> None:
    assert addresses(b"=?utf-8?q?Doe,_Jane?= <j@x.test>, =?utf-8?q?B?= <b@x.test>") == (
        b'(("=?utf-8?q?Doe,_Jane?=" NIL "j" "x.test")("=?utf-8?q?B?=" NIL "b" "x.test"))'
    )


def test_sender_and_reply_to_default_to_from_also_when_empty() -> None:
    one = b'(("A" NIL "a" "x.test"))'
    assert envelope(b"From: A <a@x.test>", b"Sender:", b"Reply-To: ") == (
        b"(NIL NIL " + b" ".join([one] * 3) + b" NIL NIL NIL NIL NIL)"
    )


def test_several_from_fields_count_as_one_list() -> None:
    assert b'(("A" NIL "a" "x.test")("B" NIL "b" "x.test"))' in envelope(
        b"From: A <a@x.test>", b"From: B <b@x.test>"
    )


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"a@x.test", b'((NIL NIL "a" "x.test"))'),
        (b"<a@x.test>", b'((NIL NIL "a" "x.test"))'),
        (b'"Doe, Jane" <j@x.test>', b'(("Doe, Jane" NIL "j" "x.test"))'),
        (b'"say \\"hi\\" \\\\" <j@x.test>', b'(("say \\"hi\\" \\\\" NIL "j" "x.test"))'),
        (b"j@x.test (Jane (the) Doe)", b'(("Jane (the) Doe" NIL "j" "x.test"))'),
        (b"Jane\r\n  Q.\t Doe <j@x.test>", b'(("Jane Q. Doe" NIL "j" "x.test"))'),
        (b"=?utf-8?q?J=C3=BC?= <j@x.test>", b'(("=?utf-8?q?J=C3=BC?=" NIL "j" "x.test"))'),
        (b"J\xc3\xbc <j@x.test>", b'(({3}\r\nJ\xc3\xbc NIL "j" "x.test"))'),
        (b'"john doe"@x.test', b'((NIL NIL "john doe" "x.test"))'),
        (b"john . doe @ x . test", b'((NIL NIL "john.doe" "x.test"))'),
        (b"j@[127.0.0.1]", b'((NIL NIL "j" "[127.0.0.1]"))'),
        (b"<@a.test,@b.test:j@x.test>", b'((NIL "@a.test,@b.test" "j" "x.test"))'),
        (b"friends: a@x.test, B <b@x.test>;, c@x.test",
         b'((NIL NIL "friends" NIL)(NIL NIL "a" "x.test")("B" NIL "b" "x.test")(NIL NIL NIL NIL)'
         b'(NIL NIL "c" "x.test"))'),
        (b"undisclosed-recipients:;", b'((NIL NIL "undisclosed-recipients" NIL)(NIL NIL NIL NIL))'),
        (b"open: a@x.test", b'((NIL NIL "open" NIL)(NIL NIL "a" "x.test")(NIL NIL NIL NIL))'),
        (b"root", b'((NIL NIL "root" ""))'),
        (b"Root <root>", b'(("Root" NIL "root" ""))'),
        (b"Broken <a@x.test, b@x.test", b'(("Broken" NIL "a" "x.test")(NIL NIL "b" "x.test"))'),
        (b"a@b@c.test", b'((NIL NIL "a@b" "c.test"))'),
        (b",,a@x.test,,", b'((NIL NIL "a" "x.test"))'),
        (b"A <>", b'(("A" NIL "" ""))'),
        (b"a\x00b@x.test", b'((NIL NIL "ab" "x.test"))'),
        (b" ", b"NIL"),
        (b"(just a comment)", b"NIL"),
    ],
)  # fmt: skip
def test_addresses_are_read_as_the_rfcs_and_people_write_them(
    value: bytes, expected: bytes
) -> None:
    assert addresses(value) == expected


def test_strings_that_cannot_be_quoted_are_literals() -> None:
    assert envelope(b"Subject: caf\xe9").startswith(b"(NIL {4}\r\ncaf\xe9 NIL")
    assert envelope(b"Subject: a\rb").startswith(b"(NIL {3}\r\na\rb NIL")
    assert envelope(b'Subject: a "b" \\').startswith(b'(NIL "a \\"b\\" \\\\" NIL')
    assert envelope(b"Subject: " + b"x" * 5000).startswith(b"(NIL {5000}\r\nxxx")
    assert envelope(b"Subject: one\r\n two\r\n\tthree").startswith(b'(NIL "one two\tthree" NIL')


def test_a_message_without_content_type_is_ascii_text() -> None:
    assert structure(b"A: b\r\n\r\none\r\ntwo\r\n") == (
        b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 10 2 NIL NIL NIL NIL)'
    )
    assert Message(b"A: b\r\n\r\none").body_summary == (
        b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 3 0)'
    )


def test_all_fields_of_a_part_are_told() -> None:
    assert structure(
        b"Content-Type: Image/PNG; name=x.png\r\nContent-ID: <i@x>\r\nContent-Description: A picture\r\n"
        b"Content-Transfer-Encoding: BASE64\r\nContent-MD5: abc==\r\nContent-Language: en, de\r\n"
        b"Content-Location: http://x.test/\r\nContent-Disposition: Attachment; filename=\"x.png\"; size=3\r\n\r\nQUJD"
    ) == (
        b'("IMAGE" "PNG" ("NAME" "x.png") "<i@x>" "A picture" "BASE64" 4 "abc==" '
        b'("ATTACHMENT" ("FILENAME" "x.png" "SIZE" "3")) ("en" "de") "http://x.test/")'
    )  # fmt: skip


def test_a_multipart_tells_its_parts_then_itself() -> None:
    raw = (
        b"Content-Type: multipart/alternative; boundary=b\r\nContent-Language: en\r\n\r\n"
        b"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nhello\r\n\r\n"
        b"--b\r\nContent-Type: text/html\r\n\r\n<p>\r\n--b--\r\n"
    )
    plain = b'"TEXT" "PLAIN" ("CHARSET" "utf-8") NIL NIL "7BIT" 7 1'
    html = b'"TEXT" "HTML" NIL NIL NIL "7BIT" 3 0'
    assert structure(raw) == (
        b"(("
        + plain
        + b" NIL NIL NIL NIL)("
        + html
        + b' NIL NIL NIL NIL) "ALTERNATIVE" ("BOUNDARY" "b") NIL ("en") NIL)'
    )
    assert Message(raw).body_summary == b"((" + plain + b")(" + html + b') "ALTERNATIVE")'


def test_a_message_inside_tells_its_envelope_and_body() -> None:
    raw = b"Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nbody\r\n"
    assert structure(raw) == (
        b'("MESSAGE" "RFC822" NIL NIL NIL "7BIT" 21 (NIL "in" NIL NIL NIL NIL NIL NIL NIL NIL) '
        b'("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 6 1 NIL NIL NIL NIL) 3 NIL NIL NIL NIL)'
    )


def test_a_multipart_without_parts_shows_one() -> None:
    assert structure(b"Content-Type: multipart/mixed\r\n\r\nhi\r\n") == (
        b'(("TEXT" "PLAIN" ("CHARSET" "US-ASCII") NIL NIL "7BIT" 4 1 NIL NIL NIL NIL) "MIXED" NIL NIL NIL NIL)'
    )


def check_metadata(raw: bytes) -> None:
    made = message_metadata(raw, RowId("r"), LOCAL)
    check_envelope(read_value(made.envelope))
    shorter = check_body(read_value(made.body), extended=False)
    assert shorter == check_body(read_value(made.body_structure), extended=True)
    assert 0 <= made.header_size <= len(raw)
    made.subject.encode()
    made.preview.encode()
    assert "\n" not in made.subject + made.preview


FIELDS = st.sampled_from([b"From: ", b"To: ", b"Subject: ", b"Reply-To: ", b"Content-Disposition: ", b"Date: ",
    b"Content-Type: text/plain; ", b"Content-Language: ", b"Content-ID: ", b"Message-ID: ", b"Sender: "])  # fmt: skip
PIECES = st.lists(
    st.sampled_from([b"<", b">", b"@", b",", b";", b":", b"(", b")", b'"', b"\\", b" ", b"\r\n ", b"a", b"b.c", b"[",
        b"]", b"=?utf-8?q?=C3?=", b"=?utf-8?b?w7w=?=", b"\xff", b"\0", b"\r", b"=", b"*0*", b"'", b"%C3", b"\t"]),
    max_size=30,
).map(b"".join)  # fmt: skip
HEADERS = st.lists(st.tuples(FIELDS, PIECES).map(b"".join), max_size=8).map(b"\r\n".join)


@settings(max_examples=40, deadline=None)
@given(HEADERS | st.lists(LINES | HEADERS, max_size=30).map(b"".join) | st.binary(max_size=200))
def test_any_bytes_have_descriptions_within_the_grammar(raw: bytes) -> None:
    check_metadata(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"To: " + b"(" * 500_000,
        b"To: " + b"a," * 300_000,
        b"To: " + b"a:" * 300_000,
        b"To: " + b"<" * 500_000,
        b"To: " + b"[" * 500_000,
        b"To: " + b'"' * 500_000,
        b"To: " + b"a <" * 200_000,
        b"To: " + b"@" * 500_000,
        b"To: " + b"a b " * 200_000 + b"<a@b>",
        b"To: " + b"=?utf-8?q?" * 100_000,
        b"Subject: " + b"=?utf-8?q?" * 100_000,
        b"Subject: " + b"=?utf-8?b?" + b"?" * 500_000,
        b"Subject: " + b"=?a?q?b?=" * 100_000,
        b"To: x\n" * 100_000,
        b"Content-Type: text/html\n\n" + b"<!--" * 300_000,
        b"Content-Type: text/html\n\n" + b"<script>" * 100_000,
        b"Content-Type: text/html\n\n" + b"<a '" * 200_000,
        b"Content-Type: text/html\n\n" + b"&#" * 300_000,
        b"Content-Transfer-Encoding: base64\n\n" + b"A=" * 500_000,
        b"Content-Transfer-Encoding: x-uuencode\n\nbegin 644 x\n" + b"M\n" * 300_000,
        b"Content-Type: text/plain; format=flowed\n\n" + b"> x \n" * 200_000,
    ],
    ids=range(21),
)
def test_bombs_are_described_and_searched_in_bounded_time(raw: bytes) -> None:
    started = time.process_time()
    check_metadata(raw)
    message = Message(raw)
    message.contains("nothing of this", headers=True)
    assert len(message.body_text) <= 4 * len(raw)
    assert time.process_time() - started < 4.0  # 1.2 s measured for the worst
