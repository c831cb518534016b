"""Mail that is signed and not encrypted: the signature survives what relays do to mail."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leap.keymanager.openpgp import Certificate, verify_detached
from leap.mail.incoming.signed import find_signed
from leap.mail.message import Message, scan
from leap.mail.message.compose import to_crlf
from leap.mail.message.decoding import decode_body
from leap.mail.outgoing.field_lines import header_fields, values_of
from leap.mail.outgoing.seven_bit import CannotSign, is_safe, seven_bit
from leap.mail.outgoing.signed_mail import is_signed, signed_mail
from tests.conftest import needs_program
from tests.keymanager.conftest import gpg_at_work
from tests.mail.travel import NOW, mail, own_key


async def sign(raw: bytes, *added: bytes) -> bytes:
    return await signed_mail(raw, added, own_key("alice"), autocrypt=None, now=NOW)


def states(message: bytes) -> list[str]:
    found = find_signed(message)
    assert found is not None, "our own reader finds the signature"
    certificate = Certificate.from_bytes(own_key("alice").certificate.binary)
    verdicts = verify_detached(found.signed, found.signature, [certificate], now=lambda: NOW)
    return [verdict.state for verdict in verdicts]


def without_trailing_space(raw: bytes) -> bytes:
    return re.sub(rb"[ \t]+(?=\r\n)", b"", raw)


def through_mbox(raw: bytes) -> bytes:
    return re.sub(rb"(?m)^From ", b">From ", raw)


def in_seven_bits(raw: bytes) -> bytes:
    return bytes(octet & 127 for octet in raw)


def broken_at_998(raw: bytes) -> bytes:
    return re.sub(rb"([^\r\n]{998})(?=[^\r\n])", rb"\1\r\n", raw)


MANGLING = [without_trailing_space, through_mbox, in_seven_bits, broken_at_998]
BODIES = [
    b"Hello Bob.\r\n",
    b"no line end",
    b"trailing  \r\nwhite\t\r\n \r\nspace ",
    b"From here on\r\nFrom there\r\nFrom " + b"x" * 100 + b"\r\nFrom From From \r\n",
    "Grüße\r\n".encode(),
    b"\xff\xfe\x00\r\n",
    b"x" * 5000 + b"\r\n",
    b".\r\n..\r\n",
    b"bare\nline\rends\r\n",
    b"",
    b"-- \r\nsignature\r\n- dashes\r\n",
]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("mangle", MANGLING)
async def test_the_signature_survives_every_transport(body: bytes, mangle: object) -> None:
    signed = await sign(mail(body=body))
    assert callable(mangle)
    assert states(mangle(signed)) == ["good"]


@pytest.mark.parametrize("body", BODIES)
async def test_the_text_reads_as_it_was_written(body: bytes) -> None:
    raw = mail(body=body)
    signed = await sign(raw)
    content = Message(signed).root.children[0]
    assert decode_body(signed, content) == to_crlf(body)


async def test_header_fields_are_signed_too_and_stay_outside() -> None:
    signed = await sign(mail(), b"Date: Mon, 21 Sep 2026 10:00:00 +0000\r\n")
    found = find_signed(signed)
    assert found is not None
    inside = header_fields(found.signed)
    assert b'hp="clear"' in values_of(inside, "content-type")[0]
    for name in ("from", "to", "subject", "date", "message-id"):
        assert values_of(inside, name) == values_of(header_fields(signed), name)
    assert signed.count(b"Subject: The secret plan") == 2


@pytest.mark.parametrize(
    "extra",
    [
        b"Content-Type: text/plain; charset=utf-8\r\n",
        b"Content-Type: text/plain; charset=utf-8;\r\n",
        b"Content-Type: text/html; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n",
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n",
        b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n",
        b"Subject:  spaces  \r\n",
        b"X-Eight: \xff\r\n",
    ],
)
async def test_other_headers_are_signed(extra: bytes) -> None:
    signed = await sign(mail(extra=extra, body=b"SGVsbG8gQm9iLg==\r\n"))
    for mangle in MANGLING[:2]:
        assert states(mangle(signed)) == ["good"]


def multipart(*parts: bytes, kind: bytes = b"mixed", boundary: bytes = b"bb") -> bytes:
    body = b"preamble \xff\r\n"
    for part in parts:
        body += b"--" + boundary + b" \r\n" + part + b"\r\n"
    body += b"--" + boundary + b"--\r\nepilogue \xff\r\n"
    return mail(
        extra=b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: 8bit\r\n"
        b"Content-Type: multipart/" + kind + b'; boundary="' + boundary + b'"\r\n',
        body=body,
    )


TEXT = (
    "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nGrüße \r\n"
)
FILE = (
    b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: binary\r\n\r\n\xff\xfe"
)
SAFE = b"Content-Type: text/plain\r\n\r\nas it is\r\n"


async def test_only_the_parts_that_are_not_safe_are_written_anew() -> None:
    raw = multipart(TEXT.encode(), FILE, SAFE, b"\r\nno header \xff")
    signed = await sign(raw)
    for mangle in MANGLING:
        assert states(mangle(signed)) == ["good"]
    root = scan(signed).children[0]
    assert [part.encoding for part in root.children] == [
        "quoted-printable",
        "base64",
        "7bit",
        "quoted-printable",
    ]
    assert SAFE in signed
    assert [decode_body(signed, part) for part in root.children] == [
        "Grüße \r\n".encode(),
        b"\xff\xfe",
        b"as it is\r\n",
        b"no header \xff",
    ]


async def test_an_attached_message_is_made_safe_inside() -> None:
    attached = b"Content-Type: message/rfc822\r\n\r\nFrom: x@y\r\nSubject: s\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n"
    signed = await sign(multipart(attached))
    assert states(in_seven_bits(signed)) == ["good"]
    inner = scan(signed).children[0].children[0].children[0]
    assert decode_body(signed, inner) == "Grüße\r\n".encode()


async def test_a_signed_part_in_eight_bits_is_not_changed_but_refused() -> None:
    inner = (
        b'Content-Type: multipart/signed; boundary=cc; protocol="application/pgp-signature"\r\n\r\n'
        b"--cc\r\nContent-Type: text/plain\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n--cc\r\n"
        b"Content-Type: application/pgp-signature\r\n\r\nx\r\n--cc--\r\n"
    )
    with pytest.raises(CannotSign, match="signed message"):
        await sign(multipart(inner))
    safe = inner.replace("ü".encode(), b"ue").replace("ß".encode(), b"ss")
    assert states(await sign(multipart(safe))) == ["good"]


async def test_a_boundary_that_only_encoding_hid_is_noticed() -> None:
    hidden = (
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
        b"=2D-bb\r\nFrom x \r\n"
    )
    try:
        signed = await sign(multipart(hidden))
    except CannotSign:
        return
    assert [part.content_type for part in scan(signed).children[0].children] == ["text/plain"]


@pytest.mark.parametrize(
    ("extra", "body"),
    [
        (
            b'Content-Type: multipart/signed; protocol="application/pgp-signature"; boundary=b\r\n',
            b"",
        ),
        (b"Content-Type: application/pkcs7-mime; smime-type=signed-data\r\n", b""),
        (b"", b"-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA512\r\n\r\nhi\r\n"),
    ],
)
def test_what_the_mail_program_signed_is_known(extra: bytes, body: bytes) -> None:
    assert is_signed(mail(extra=extra, body=body))
    assert not is_signed(mail(body=b"> " + body))


async def test_a_header_that_is_none_is_not_signed() -> None:
    with pytest.raises(CannotSign):
        await sign(mail(extra=b"this is no field\r\n"))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=300), st.sampled_from(["7bit", "8bit", "quoted-printable", "base64", "x"])
)
def test_any_octets_become_safe_and_mean_the_same(octets: bytes, encoding: str) -> None:
    entity = (
        f"Content-Type: text/plain\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n".encode()
        + octets
    )
    made = seven_bit(entity)
    assert is_safe(made)
    assert to_crlf(Message(made).content(Message(made).root)) == to_crlf(
        Message(to_crlf(entity)).content(Message(to_crlf(entity)).root)
    )


@settings(max_examples=100)
@given(st.lists(st.binary(max_size=60), max_size=4), st.integers(0, 2**32))
def test_any_parts_become_safe_or_are_refused(parts: list[bytes], seed: int) -> None:
    dice = random.Random(seed)
    heads = [
        b"\r\n",
        b"Content-Type: text/plain\r\n\r\n",
        b"Content-Type: message/rfc822\r\n\r\n",
        b"",
    ]
    body = b"".join(b"--b\r\n" + dice.choice(heads) + part + b"\r\n" for part in parts)
    entity = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + body + b"--b--\r\n"
    try:
        made = seven_bit(entity)
    except CannotSign:
        return
    assert is_safe(made)


async def test_gpg_calls_it_good_after_every_transport(tmp_path: Path) -> None:
    needs_program("gpg")
    with gpg_at_work() as gpg:
        gpg("--import", data=own_key("alice").certificate.binary)
        for body in BODIES:
            signed = await sign(mail(body=body))
            for mangle in MANGLING:
                found = find_signed(mangle(signed))
                assert found is not None
                (tmp_path / "s").write_bytes(found.signature)
                (tmp_path / "d").write_bytes(found.signed)
                done = gpg.run("--verify", str(tmp_path / "s"), str(tmp_path / "d"))
                assert b"GOODSIG" in done.stderr
