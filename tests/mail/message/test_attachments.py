"""Which parts are files, and what they are called, whoever wrote the name and however."""

from __future__ import annotations

import pytest

from leap.mail.message import Message
from leap.mail.message.attachments import safe_name, uuencoded_files


def names(*parts: bytes, subtype: bytes = b"mixed") -> list[str]:
    body = b"".join(b"--b\r\n" + part + b"\r\n" for part in parts)
    head = b"Content-Type: multipart/" + subtype + b"; boundary=b\r\n\r\n"
    return [name for name, _ in Message(head + body + b"--b--").attachments()]


TEXT = b"\r\nwords"
PAGE = b"Content-Type: text/html\r\n\r\n<p>words"


@pytest.mark.parametrize(
    ("field", "name"),
    [
        (b"Content-Disposition: attachment; filename=a.pdf", "a.pdf"),
        (b'Content-Disposition: attachment; filename="a b.pdf"', "a b.pdf"),
        (b"Content-Disposition: attachment; filename*=utf-8'en'%C3%BC.pdf", "ü.pdf"),
        (b"Content-Disposition: attachment; filename*0=a; filename*1=b.pdf", "ab.pdf"),
        (b"Content-Disposition: attachment; filename*1*=%BC.pdf; filename*0*=utf-8''%C3", "ü.pdf"),
        (b'Content-Disposition: attachment; filename="=?utf-8?q?=C3=BC=2Epdf?="', "ü.pdf"),
        (b"Content-Disposition: attachment;\r\n filename==?utf-8?b?w7wucGRm?=", "ü.pdf"),
        (b'Content-Disposition: attachment; filename="\xc3\xbc.pdf"', "ü.pdf"),
        (b'Content-Disposition: attachment; filename="\xfc.pdf"', "ü.pdf"),
        (b'Content-Disposition: inline; filename="a.pdf"', "a.pdf"),
        (b'Content-Type: application/pdf; name="a.pdf"', "a.pdf"),
        (b"Content-Type: application/pdf", ""),
        (b"Content-Type: text/x-patch; name=fix.patch", "fix.patch"),
        (b"Content-Type: application/ms-tnef", "winmail.dat"),
    ],
)
def test_a_name_is_read_in_every_way_it_is_written(field: bytes, name: str) -> None:
    assert names(TEXT, field + b"\r\n\r\nx") == [name]


def test_an_attached_message_is_one_file_called_by_its_subject() -> None:
    inner = b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nContent-Type: application/pdf; name=in.pdf\r\n\r\nx"
    raw = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
        + inner
        + b"\r\n--b--"
    )
    message = Message(raw)
    [(name, part)] = message.attachments()
    assert (name, message.content(part)) == ("Grüße.eml", inner)
    assert [name for name, _ in message.attachments(nested=True)] == ["Grüße.eml", "in.pdf"]
    digest = names(TEXT, b"Content-Type: message/rfc822\r\n\r\n\r\nno subject")
    assert digest == ["message.eml"]


def test_what_only_carries_a_protocol_is_no_file() -> None:
    signature = b"Content-Type: application/pgp-signature; name=signature.asc\r\n\r\nx"
    assert names(TEXT, signature, subtype=b"signed") == []
    status = b"Content-Type: message/delivery-status\r\n\r\nStatus: 5.0.0"
    assert names(TEXT, status, subtype=b"report") == []


def test_the_pictures_of_a_page_are_no_files_but_what_comes_with_them_may_be() -> None:
    picture = b"Content-Type: image/png; name=logo.png\r\nContent-ID: <x>\r\n\r\nx"
    pdf = b"Content-Type: application/pdf; name=a.pdf\r\n\r\nx"
    attached = (
        b"Content-Type: image/png\r\nContent-Disposition: attachment; filename=p.png\r\n\r\nx"
    )
    assert names(PAGE, picture, pdf, attached, subtype=b"related") == ["a.pdf", "p.png"]
    assert names(PAGE, picture) == ["logo.png"]


def test_an_attached_text_is_not_the_body() -> None:
    attached = b"Content-Disposition: attachment; filename=log.txt\r\n\r\nlines of a log"
    raw = (
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
        + attached
        + b"\r\n--b\r\n\r\nhello\r\n--b\r\nContent-Type: image/png\r\n\r\nx\r\n--b\r\n\r\nagain\r\n--b--"
    )
    assert Message(raw).body_text == "hello\n\nagain"
    assert Message(raw).preview == "hello"


def test_uuencoded_files_have_the_name_in_their_first_line() -> None:
    block = b"begin 644 three letters.txt\n#86)C\n`\nend\n"
    field = (
        b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: x-uuencode\r\n\r\n"
    )
    assert names(TEXT, field + block) == ["three letters.txt"]
    text = Message(b"\nlook:\n" + block + b"bye\n").body_text
    assert list(uuencoded_files(text)) == [("three letters.txt", b"abc")]
    assert list(uuencoded_files("begin 644 of the year\nwith words\nend\n")) == []


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("a.pdf", "a.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\x.exe", "x.exe"),
        (".bashrc", "bashrc"),
        ("a\u202efdp.exe", "afdp.exe"),
        ("a\r\nb\0.txt", "ab.txt"),
        ("...", "attachment"),
        ("", "attachment"),
        ('a<b>:"|?*.txt', "ab.txt"),
    ],
)
def test_a_name_for_a_file_is_one_harmless_component(name: str, safe: str) -> None:
    assert safe_name(name) == safe
