"""What search may find in a message: decoded, bounded, and nothing that no person reads."""

from __future__ import annotations

import base64
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.message import Message
from leap.mail.message.all_text import MAX_PART
from leap.mail.message.searchable import MAX_BODY, MAX_FIELD, Searchable, searchable


def of(raw: bytes) -> Searchable:
    return searchable(Message(raw))


def test_each_text_stands_where_a_person_looks_for_it() -> None:
    found = of(
        b"From: =?utf-8?q?J=C3=BCrgen?= <j@xn--bcher-kva.example>\r\nTo: Bob <bob@x.test>, carol@x.test\r\n"
        b"Cc: team: dave@x.test;\r\nBcc: eve@x.test\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: quoted-printable\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n\r\nsch=C3=B6n\r\n--b\r\nContent-Type: application/pdf\r\n"
        b"Content-Disposition: attachment; filename*=utf-8''%C3%BCber.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        b"QUJDREVG\r\n--b--\r\n"
    )
    assert found == Searchable(
        from_="Jürgen <j@bücher.example> <j@xn--bcher-kva.example>",
        to="Bob <bob@x.test>\n<carol@x.test>\n<dave@x.test>\n<eve@x.test>",
        subject="Grüße",
        attachments="über.pdf",
        body="schön",
    )
    assert "Gr" not in repr(found)


def test_html_is_kept_only_when_it_says_more() -> None:
    def alternative(html: bytes) -> str:
        return of(
            b"Content-Type: multipart/alternative; boundary=b\n\n--b\n\none two\nthree\n--b\n"
            b"Content-Type: text/html\n\n" + html + b"\n--b--"
        ).body

    assert alternative(b"<style>x</style><p>one <b>two</b> three</p>") == "one two\nthree"
    assert alternative(b"<p>one two three four</p>") == "one two\nthree\none two three four"


def test_what_nobody_reads_is_left_out() -> None:
    found = of(
        b"Subject: x\n\nbefore\n-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmQENBF\n-----END PGP PUBLIC KEY BLOCK-----\n"
        b"between\nbegin 644 old picture.gif\n#86)C\n`\nend\nafter\n"
    )
    assert found.body == "before\nbetween\nafter\n"
    assert found.attachments == "old picture.gif"
    signed = of(
        b"\n-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nwords\n-----BEGIN PGP SIGNATURE-----\n\niQEz\n"
        b"-----END PGP SIGNATURE-----\n"
    ).body
    assert "words" in signed
    assert "iQEz" not in signed
    assert of(b"\n-----BEGIN PGP MESSAGE-----\ncut off").body.endswith("cut off")


def test_words_that_flowed_text_cuts_apart_are_whole() -> None:
    head = b"Content-Type: text/plain; charset=utf-8; format=flowed; delsp=yes\n\n"
    assert of(head + "漢字 \n漢字\n".encode()).body == "漢字漢字\n"


def test_messages_inside_are_found_by_what_people_see_of_them() -> None:
    inner = (
        b"Received: from relay\nFrom: carol@x.test\nSubject: =?utf-8?q?gr=C3=BCn?=\n\ninner words\n"
    )
    plain = of(b"Content-Type: message/rfc822\n\n" + inner)
    assert plain.body == "From: carol@x.test\nSubject: grün\ninner words\n"
    assert plain.attachments == "grün.eml"
    encoded = of(
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n"
        b"Content-Transfer-Encoding: base64\n\n" + base64.encodebytes(inner) + b"--b--"
    )
    assert encoded.body == "From: carol@x.test\nSubject: grün\ninner words\n"


def test_what_was_cut_is_said() -> None:
    assert of(b"\n" + b"x" * 100).complete
    long = of(b"\n" + b"x" * (MAX_BODY + 1))
    assert (len(long.body), long.complete) == (MAX_BODY, False)
    many = of(b"To: " + b"a@x.test, " * 20_000 + b"\n\n")
    assert (len(many.to), many.complete) == (MAX_FIELD, False)
    markup = of(b"Content-Type: text/html\n\n<p>words</p>" + b"<!--" + b"x" * MAX_PART)
    assert (markup.body, markup.complete) == ("words", False)


def test_a_text_is_storable_whatever_the_message_says() -> None:
    found = of(b"Subject: a\0b\nFrom: \0 <x\0@y>\n\none\0two")
    assert "\0" not in "".join((found.from_, found.to, found.subject, found.body))
    assert found.body == "one two"


@pytest.mark.parametrize(
    "raw",
    [
        b"\n" + b"begin 644 x\n" * 75_000,
        b"\n" + b"begin 644 x\n" + b"M" * 80 + b"\n" + b"MMM\n" * 175_000,
        b"\n" + b"-----BEGIN PGP MESSAGE-----\n" * 25_000,
        b"Content-Type: text/html\n\n" + b"<p" * 500_000,
        b"Content-Type: text/html\n\n" + b"<a 'x>" * 150_000,
        b"Content-Type: text/html\n\n" + b"<div hidden>" * 75_000,
        b"Content-Type: text/html\n\n" + b"<script>" * 100_000,
        b"Content-Type: text/html\n\n&#" + b"1" * 750_000,
        b"Content-Type: text/html\n\n" + b"&" * 750_000,
        b"From: " + b"=?x?q?" * 125_000 + b"\n\n",
        b"Subject: " + b"=?utf-8?b?" * 75_000 + b"\n\n",
        b"To: " + b"(" * 750_000 + b"\n\n",
        b"To: " + b"a:" * 250_000 + b"\n\n",
        b"To: " + b"<" * 250_000 + b"\n\n",
        b"Content-Type: multipart/mixed; boundary=b\n\n" + b"--b\n\nx\n" * 25_000,
    ],
    ids=range(15),
)
def test_hostile_mail_is_read_in_bounded_time(raw: bytes) -> None:
    began = time.process_time()
    searchable(Message(raw))
    assert time.process_time() - began < 2.0  # the worst takes 0.4 s


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"html", b"plain", b"x"]))
def test_any_message_is_searchable(body: bytes, subtype: bytes) -> None:
    of(b"Content-Type: text/" + subtype + b"\nSubject: " + body + b"\n\n" + body)
    of(body)
