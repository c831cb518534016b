"""What a message says: header fields, bodies, previews and search, in any charset and none."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.message import Message
from leap.mail.message.charsets import decode_charset
from leap.mail.message.dates import Instant, format_date, parse_date
from leap.mail.message.flowed import unflow
from leap.mail.message.header import message_ids
from leap.mail.message.html import html_to_text
from leap.mail.message.parameters import decoded_parameter, parse_parameters
from leap.mail.message.words import decode_base64, decode_words, encode_words

CHARSETS = st.text(max_size=12) | st.sampled_from(
    ["utf-7", "utf-16", "hz", "iso-2022-jp", "big5", "gbk", "euc-kr", "x", ""]
)
TAGS = ["<", ">", "<!--", "-->", "<p", "<script>", "'", '"', "&", "#", "a", "</", "<!", "İ"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"plain", "plain"),
        (b" folded\r\n value ", "folded value"),
        (b"=?utf-8?q?J=C3=BCrgen_M?=", "Jürgen M"),
        (b"=?ISO-8859-1?B?SvxyZ2Vu?= x", "Jürgen x"),
        (b"=?utf-8?q?a?= =?utf-8?q?b?=", "ab"),
        (b"=?utf-8?q?a?=\r\n =?iso-8859-1?q?=E9?=", "aé"),
        (b"=?utf-8?q?a?= b =?utf-8?q?c?=", "a b c"),
        (b"=?utf-8?b?w7w=?= =?utf-8?b?w7w=?=", "üü"),
        (b"=?utf-8?q?=C3?= =?utf-8?q?=BC?=", "ü"),  # cut inside a character
        (b"=?utf-8*de?q?gr=C3=BCn?=", "grün"),  # RFC 2231 5
        (b"=?utf-8?q?why?_not??=", "why? not?"),
        (b"=?utf-8?q?with space inside?=", "with space inside"),
        (b"=?unknown?q?caf=E9?=", "café"),
        (b"=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
        (b"=?broken", "=?broken"),
        (b"caf\xc3\xa9", "café"),
        (b"caf\xe9", "café"),
        (b"\x1b$B4A;z\x1b(B", "漢字"),
        (b"=?iso-2022-jp?b?GyRCNEE7ehsoQg==?=", "漢字"),
        (b"=?gb2312?b?uro=?=", "汉"),
        (b"=?utf-8?q?a=00b=0D=0AX-Evil:_1?=", "ab  X-Evil: 1"),
        (b"", ""),
    ],
)
def test_header_values_are_read_as_they_were_meant(value: bytes, text: str) -> None:
    assert decode_words(value) == text


@pytest.mark.parametrize(
    ("data", "charset", "text"),
    [
        (b"caf\xe9", "iso-8859-1", "café"),
        (b"\x93quoted\x94", "iso-8859-1", "“quoted”"),
        (b"caf\xc3\xa9", "us-ascii", "café"),
        (b"caf\xc3\xa9", "iso-8859-1", "café"),
        (b"caf\xe9", "utf-8", "caf�"),
        (b"\xe4\xf6", "iso-8859-2", "äö"),
        (b"\x81", "windows-1252", "\x81"),
        (b"+AOQ-", "utf-7", "ä"),
        (b"+2AA-", "utf-7", "?"),
        (b"x", "base64", "x"),
        (b"x", "../../etc", "x"),
        (b"x", "rot13", "x"),
        (b"\xff\xfeh\x00i\x00", "utf-16", "hi"),
    ],
)
def test_charsets_are_guessed_in_the_stated_order(data: bytes, charset: str, text: str) -> None:
    assert decode_charset(data, charset) == text


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=60), CHARSETS)
def test_any_octets_in_any_charset_are_text_that_can_travel(data: bytes, charset: str) -> None:
    decode_charset(data, charset).encode("utf-8")
    decode_words(data).encode("utf-8")
    decode_words(b"=?" + charset.encode("utf-8", "replace") + b"?q?" + data + b"?=").encode("utf-8")


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=200), st.integers(0, 80))
def test_encoded_words_say_what_they_were_made_from(text: str, width: int) -> None:
    words = encode_words(text, first_width=width)
    assert all(len(word) <= 75 for word in words)
    wanted = "".join(
        " " if c in "\t\r\n" else c
        for c in text
        if c in "\t\r\n" or not (c < " " or "\x7f" <= c <= "\x9f")
    )
    assert decode_words("\r\n ".join(words).encode()) == wanted


def test_base64_is_read_through_noise() -> None:
    assert decode_base64(b"aGVs\r\nbG8=") == b"hello"
    assert decode_base64(b"aGVsbG8") == b"hello"
    assert decode_base64(b"aGVs!!bG8=") == b"hello"
    assert decode_base64(b"aGVsbG8=aGVsbG8=") == b"hellohello"
    assert decode_base64(b"a") == b""
    assert decode_base64(b"aGVsbG8=\n\n-- \nA list's footer!\n") == b"hello"
    assert decode_base64(b"aGVsbG8= ignored") == b"hello"
    assert decode_base64(b"=aGVsbG8h=aGVsbG8=") == b"hello!hello"
    assert decode_base64(b"====") == b""


def test_space_at_the_end_of_a_quoted_printable_line_is_dropped() -> None:
    head = b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    message = Message(head + b"one  \r\ntwo=20\t\r\nthree= \r\n four \t")
    assert message.content(message.root) == b"one\r\ntwo \r\nthree four"


def test_padding_everywhere_and_quotations_in_quotations_take_linear_time() -> None:
    began = time.process_time()
    assert len(decode_base64(b"AAAA====" * 200_000)) == 600_000
    nested = "<blockquote type=cite>x" * 20_000
    assert len(html_to_text(nested, quotes=True)) < 60 * 20_000
    assert time.process_time() - began < 2.0


def test_parameters_in_sections_are_joined() -> None:
    params = parse_parameters(
        b"; a*0*=utf-8''J%C3; a*1*=%BC; a*2=rgen; b*=x'y'%E4; c*0=one; c*1=two; d==?utf-8?q?=C3=BC?="
    )
    assert decoded_parameter(params, "a") == "Jürgen"
    assert decoded_parameter(params, "b") == "ä"
    assert decoded_parameter(params, "c") == "onetwo"
    assert decoded_parameter(params, "d") == "ü"
    assert decoded_parameter(params, "e") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mon, 02 Nov 2026 10:00:00 +0100", Instant(1793610000, 60)),
        ("2 Nov 26 10:00 GMT", Instant(1793613600, 0)),
        ("Mon, 02 Nov 2026 10:00:60 -0330 (NDT)", Instant(1793626260, -210)),
        ("Mon, 02 Nov 2026 24:00:00 +0000", Instant(1793664000, 0)),
        ("Mon, 02 Nov 2026 10:00:00 +9999", Instant(1793613600, 0)),
        ("Mon Nov  2 10:00:00 2026", Instant(1793613600, 0)),
        ("Mon Nov  2 10:00:00 CET 2026", Instant(1793610000, 60)),
        ("Mon Nov  2 10:00:00 2026 +0100", Instant(1793610000, 60)),
        ("02-Nov-2026 10:00:00 +0100", Instant(1793610000, 60)),
        ("2026-11-02T10:00:00.123+02:00", Instant(1793606400, 120)),
        ("20261102T100000Z", Instant(1793613600, 0)),
        ("2 November 2026 10:00 PM EST", Instant(1793674800, -300)),
        ("18 Feb 01 12:29:13 AM", Instant(982456153, 0)),
        ("Mon, 02 Nov 2026 10.00.00 +0100", Instant(1793610000, 60)),
        ("Mon,02 Nov 2026 10:00:00 GMT+1", Instant(1793610000, 60)),
        ("11/02/2026 10:00:00", Instant(1793613600, 0)),
        ("25/02/2026 10:00:00", Instant(1772013600, 0)),
        ("02.11.2026 10:00:00", Instant(1793613600, 0)),
        ("Mon, 2 Nov 126 10:00:00 +0000", Instant(1793613600, 0)),
        ("Mon, 2 Nov 99 1:00:00 MET DST", Instant(941497200, 120)),
        ("Mon, 02 Nov 2026 10:00:00 A", Instant(1793613600, 0)),
        ("Mon, 02 Nov 2026", Instant(1793577600, 0)),
        ("2 (a (nested) comment) Nov 2026 10 : 00 -700", Instant(1793638800, -420)),
        ("Mon, 02 Nov 2026 25:00:00 +0000", None),
        ("Mon, 02 Nov 2026 13:00 PM", None),
        ("Mon, 31 Feb 2026 10:00:00 +0000", None),
        ("yesterday", None),
        ("", None),
        ("1 1 1 1 1 1", None),
        ("Mon, 02 Nov 99999999999 10:00:00", None),
    ],
)
def test_dates(text: str, expected: Instant | None) -> None:
    assert parse_date(text.encode()) == expected


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60) | st.binary(max_size=60))
def test_any_date_is_a_moment_or_none(value: str | bytes) -> None:
    found = parse_date(value)
    assert found is None or parse_date(format_date(found.seconds, found.zone)) is not None


def test_a_date_is_written_as_the_rfc_asks() -> None:
    assert format_date(1793610000, 60) == "Mon, 2 Nov 2026 10:00:00 +0100"
    assert format_date(0, -210) == "Wed, 31 Dec 1969 20:30:00 -0330"


def test_ids_and_references_come_in_order_and_once() -> None:
    assert message_ids(b"<a@x> junk <b@x>\r\n <a@x> <c d@x>") == ["<a@x>", "<b@x>"]
    message = Message(
        b"References: <a@x> <b@x>\r\nIn-Reply-To: <b@x> <c@x>\r\nMessage-ID: <d@x>\r\n\r\n"
    )
    assert message.references == ["<a@x>", "<b@x>", "<c@x>"]
    assert message.message_id == "<d@x>"


def test_fields_know_their_exact_octets() -> None:
    raw = b"Subject: a\r\n b\r\nX-Y :  c\r\nbroken\r\nsubject: again\n\nbody"
    message = Message(raw)
    assert [field.name for field in message.fields] == ["Subject", "X-Y", "subject"]
    first, second, third = message.fields
    assert (first.raw, first.value, first.text) == (b"Subject: a\r\n b\r\n", b"a b", "a b")
    assert (second.raw, second.value) == (b"X-Y :  c\r\n", b"c")
    assert raw[third.start : third.end] == b"subject: again\n"
    assert message.field("SUBJECT") is first or message.field("SUBJECT") == first
    assert len(message.all_fields("subject")) == 2
    assert "again" not in repr(third)


ALTERNATIVE = (
    b"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n"
    b"<p>in <b>HTML</b></p>\r\n--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\n> quoted\r\nna=EFve =\r\ntext\r\n--b--\r\n"
)


def test_plain_text_is_preferred_and_html_made_text() -> None:
    message = Message(ALTERNATIVE)
    assert message.body_text == "> quoted\nnaïve text"
    assert message.body_html == "<p>in <b>HTML</b></p>"
    assert message.preview == "naïve text"
    html = Message(b"Content-Type: text/html\r\n\r\n<p>one<p>two")
    assert html.body_text == "one\n\ntwo"
    assert html.preview == "one two"


def test_an_encrypted_message_has_no_preview() -> None:
    raw = (
        b'Content-Type: multipart/encrypted; boundary=b; protocol="application/pgp-encrypted"\r\n\r\n--b\r\n'
        b"Content-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n--b\r\nContent-Type: text/plain\r\n\r\nx\r\n"
        b"--b--"
    )
    assert (Message(raw).preview, Message(raw).body_text) == ("", "")


def test_parts_are_found_by_imaps_numbers() -> None:
    inner = b"Content-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\ninner one\r\n--i\r\n\r\ninner two\r\n--i--"
    raw = (
        b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n\r\nfirst\r\n--o\r\n"
        b"Content-Type: message/rfc822\r\n\r\n" + inner + b"\r\n--o\r\nContent-Type: message/rfc822\r\n\r\n"
        b"Subject: s\r\n\r\nsingle\r\n--o--\r\n"
    )  # fmt: skip
    message = Message(raw)

    def body(path: str) -> bytes | None:
        part = message.part(path)
        return None if part is None else message.body(part)

    assert body("1") == b"first"
    assert body("2") == inner
    assert (body("2.1"), body("2.2")) == (b"inner one", b"inner two")
    assert body("3.1") == b"single"
    assert [body(path) for path in ("0", "4", "1.1", "2.3", "3.1.1", "3.2", "1.", "x", "01")] == [
        None
    ] * 9
    assert message.part("") is message.root
    single = Message(b"A: b\r\n\r\nx")
    assert single.part("1") is single.root
    assert (single.part("2"), single.part("1.1")) == (None, None)


def test_attachments_have_their_names() -> None:
    raw = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n"
        b"Content-Type: application/pdf\r\nContent-Disposition: attachment;\r\n filename*=utf-8''%C3%BCber.pdf\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\nQUJD\r\n--b\r\n"
        b'Content-Type: image/png; name="=?utf-8?q?=C3=BC?="\r\n\r\n'
        b"x\r\n--b\r\nContent-Type: image/gif\r\nContent-Disposition: inline\r\n\r\nx\r\n--b--"
    )
    message = Message(raw)
    assert [(name, message.content(part)) for name, part in message.attachments()] == [
        ("über.pdf", b"ABC"),
        ("ü", b"x"),
    ]
    assert message.contains("ÜBER.PDF", headers=False)


def test_search_sees_decoded_text_and_messages_inside() -> None:
    message = Message(ALTERNATIVE)
    assert message.contains("NAÏVE TEXT", headers=False)
    assert message.contains("html", headers=False)
    assert not message.contains("iso-8859-1", headers=False)
    assert message.contains("alternative", headers=True)
    inside = Message(
        b"Content-Type: message/rfc822\r\n\r\nSubject: =?utf-8?q?gr=C3=BCn?=\r\n\r\nleaf"
    )
    assert inside.contains("grün", headers=False)
    assert inside.contains("LEAF", headers=False)
    wrapped = Message(b"\r\na line\r\nbroken in two")
    assert wrapped.contains("line broken", headers=False)
    assert Message(
        b"Content-Transfer-Encoding: x-uuencode\n\nbegin 644 f\n#86)C\n`\nend\n"
    ).contains("abc", headers=False)
    encoded = Message(
        b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogaGlkZGVuCgpkZWVw"
    )
    assert encoded.contains("deep", headers=False)


def test_a_text_that_is_no_base64_whatever_it_says_is_shown_as_it_is() -> None:
    head = b"Content-Transfer-Encoding: base64\n\n"
    assert Message(head + b"Hello, this is plain text, really.\n").body_text.startswith(
        "Hello, this"
    )
    assert (
        Message(head + b"  aGVs    \n bG8g  \n   d29y  \t \n    bGQ= \n").body_text == "hello world"
    )
    assert Message(head + b"aGVsbG8gd29ybGQhA").body_text == "hello world!"


def test_flowed_text_becomes_paragraphs() -> None:
    text = "one \ntwo\n> quoted \n> on\n>> deeper \n> back\n stuffed\n-- \nname \nends"
    assert unflow(text) == "one two\n> quoted on\n>> deeper \n> back\nstuffed\n-- \nname ends"
    assert unflow("over \nflow", delete_space=True) == "overflow"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<p>one</p><p>two</p>", "one\n\ntwo"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("<style>p{}</style><script>x<y</script>ok", "ok"),
        ("<title>t</title>&lt;b&gt; &amp; &uuml;&nbsp;x", "<b> & ü x"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("<!-- no -->yes<!-- never", "yes"),
        ('<img alt="a > b">after', "after"),
        ("<td>a</td><td>b</td>", "a b"),
        ("<SCRIPT>hidden</ScRiPt>shown", "shown"),
        ("<a href='x", ""),
        ("<div style='display: none'>a<div>b</div>c</div>d", "d"),
        ("<span hidden>a</span>b<p hidden>c<p>d", "b\n\nd"),
        ("<div style='mso-hide:all'>a</div><td style=visibility:hidden>b<td>c", "c"),
        ("<div style='display:none' a", ""),
        ("<img hidden>a<div class=hidden>b</div>", "a\n\nb"),
        ("<pre>a\n  b</pre>c\nd", "a\nb\n\nc d"),
        ("&#1234567890123; &#x41;&#65;&nosuch; &lt;p&gt;", "\ufffd AA&nosuch; <p>"),
        ("&#" + "1" * 5000 + ";x", "\ufffdx"),
        ("<select><option>a</select><textarea>b</textarea>c", "c"),
        ("İ<style>x</style>y", "İ\u200by".replace("\u200b", "")),
    ],
)
def test_html_to_text(source: str, text: str) -> None:
    assert html_to_text(source) == text


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=100) | st.lists(st.sampled_from(TAGS), max_size=40).map("".join))
def test_any_html_is_text(source: str) -> None:
    assert len(html_to_text(source)) <= 2 * len(source) + 2
