"""What alice submits is what bob reads: header protection, encryption and their undoing, byte for byte."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from leap.keymanager.autocrypt.header import header_value
from leap.keymanager.openpgp import decrypt, encrypt
from leap.mail.incoming.assembly import assemble
from leap.mail.outgoing.field_lines import drop_fields, is_reserved, join_fields, split_header
from leap.mail.outgoing.header_protection import protect, restore
from leap.mail.outgoing.names import DROPPED_ON_SUBMISSION
from leap.mail.outgoing.outer_header import outer_fields
from leap.mail.outgoing.pgp_mime import find_ciphertext, is_encrypted, wrap
from leap.mail.outgoing.signed_mail import is_signed
from leap.mail.outgoing.submitted import Submitted, read_submission
from leap.mail.outgoing.telltale import is_telltale
from tests.mail.travel import DOMAIN, NOW, own_key

ALICE = f"alice@{DOMAIN}"


def submitted(raw: bytes) -> Submitted:
    return read_submission(raw, ALICE, now=NOW, new_id=lambda: "0123456789abcdef")


def payload_of(one: Submitted) -> tuple[list[tuple[str, str]], bytes]:
    outer = outer_fields(one.fields, sender=ALICE, message_id=one.message_id, now=NOW)
    return outer, protect(one.message, outer, one.added)


def expected(raw: bytes) -> bytes:
    """The submitted bytes without what is dropped by name."""
    dropped = {name.lower() for name in DROPPED_ON_SUBMISSION}
    fields, rest = split_header(raw)
    untouched = is_signed(raw) or is_encrypted(raw)
    return (
        join_fields(
            drop_fields(
                fields,
                lambda n: n in dropped or is_reserved(n) or (is_telltale(n) and not untouched),
            )
        )
        + rest
    )


def travel(raw: bytes) -> tuple[bytes, bytes]:
    """(the message that leaves, what is served without our security fields)."""
    one = submitted(raw)
    outer, payload = payload_of(one)
    bob = own_key("bob")
    armored = encrypt(payload, [bob.certificate], own_key("alice"), now=lambda: NOW)
    autocrypt = header_value(ALICE, own_key("alice").certificate.binary)
    message = b"Return-Path: <x>\r\nReceived: y\r\n" + wrap(outer, autocrypt, armored, "=_b")
    ciphertext = find_ciphertext(message)
    assert ciphertext is not None
    return message, assemble(message, decrypt(ciphertext, [bob]).plaintext).message


SHAPES = {
    "plain": b"From: a@b\r\nSubject: s\r\n\r\nbody\r\n",
    "content-type": b"Content-Type: text/plain; charset=utf-8\r\n\r\nbody\r\n",
    "content-type folded": b'Content-Type: multipart/mixed;\r\n\tboundary="x"\r\n\r\n--x--\r\n',
    "content-type open": b'Content-Type: text/plain; charset="utf-8";\r\n\r\nbody\r\n',
    "content-type with comment": b"Content-Type: text/plain (plain!); charset=x (y)\r\n\r\nbody\r\n",
    "content-type empty": b"Content-Type:\r\n\r\nbody\r\n",
    "content-type broken": b"Content-Type: text\r\n\r\nbody\r\n",
    "content-type absurd": b'Content-Type: ; ; "=;\r\n\r\nbody\r\n',
    "content-type 8-bit": b'Content-Type: text/plain; name="\xe4"\r\n\r\nbody\r\n',
    "content-type repeated": b"Content-Type: text/plain\r\nContent-Type: text/html\r\n\r\nb\r\n",
    "content-type with hp": b'Content-Type: text/plain; hp="clear"\r\n\r\nbody\r\n',
    "content-type ending in blank continuation": b"Content-Type: text/plain\r\n \r\nTo: x\r\n\r\nb\r\n",
    "content-type ending in our suffix": b'Content-Type: text/plain; a=b;\r\n hp="cipher"\r\n\r\nb\r\n',
    "content-type last, without line end": b"Content-Type: text/plain",
    "content-type with space before colon": b"Content-Type : text/plain\r\n\r\nb\r\n",
    "no separator": b"Subject: x\r\nTo: y\r\n",
    "no separator, then text": b"Subject: x\r\nThis is text.\r\nMore text\r\n",
    "no header": b"\r\nbody only\r\n",
    "only text": b"Hello\r\nBob\r\n",
    "empty body": b"Subject: x\r\n\r\n",
    "nothing": b"",
    "one line end": b"\r\n",
    "mbox line": b"From alice@x Thu Jan  1 00:00:00 1970\r\nSubject: x\r\n\r\nbody\r\n",
    "escaped mbox line": b">From alice@x Thu Jan  1 1970\r\nContent-Type: text/html\r\n\r\nb\r\n",
    "continuation first": b" folded\r\nContent-Type: text/plain\r\n\r\nbody\r\n",
    "tab first": b"\tfolded\r\n\r\nbody\r\n",
    "8-bit header": b"Subject: Gr\xfc\xdfe\r\nFrom: M\xe4x <a@b>\r\n\r\n\xff\xfe\r\n",
    "very long header": b"X-Long: " + b"y" * 100_000 + b"\r\n\r\nb\r\n",
    "long address list": b"To: "
    + b", ".join(b"u%d@example.org" % i for i in range(9000))
    + b"\r\n\r\nb",
    "a line of spaces among addresses": b"Cc: " + b"x" * 70 + b" " * 200 + b"a@b.c\r\n\r\nb\r\n",
    "lf only": b"Subject: x\nContent-Type: text/plain\n\nbody\n",
    "no end of line": b"Subject: x\r\n\r\nbody",
    "quotes our marker": b"Subject: x\r\n\r\nX-Leap-Payload: v=1; content-type=fresh; added=2\r\n",
    "own HP-Outer": b"HP-Outer: Subject: y\r\nSubject: x\r\nContent-Type: text/plain\r\n\r\nb\r\n",
    "trace fields": b"Delivered-To: a\r\nReturn-Path: <b>\r\nARC-Seal: c\r\nSubject: d\r\n\r\nb\r\n",
    "binary": b"Content-Type: application/octet-stream\r\n\r\n" + bytes(range(256)),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_comes_back_exactly(shape: str) -> None:
    raw = SHAPES[shape]
    _, served = travel(raw)
    assert served.endswith(raw)
    added = served[: len(served) - len(raw)]
    names = {field.name for field in split_header(added)[0]}
    assert names <= {"return-path", "received", "message-id", "date", "comments"}


def test_bcc_and_reserved_fields_leave_and_nothing_else() -> None:
    raw = (
        b"Subject: x\r\nBcc: eve@x,\r\n mallory@x\r\nX-Leap-Signature: valid\r\n"
        b"Resent-Bcc: trent@x\r\nTo: bob@x\r\n\r\nBcc: stays in the body\r\n"
    )
    _, served = travel(raw)
    assert served.endswith(b"Subject: x\r\nTo: bob@x\r\n\r\nBcc: stays in the body\r\n")
    for name in (b"eve@x", b"mallory", b"trent", b"X-Leap"):
        assert name not in served


_LINES = st.sampled_from(
    [
        b"Content-Type: text/plain\r\n",
        b"content-type:text/plain;\r\n",
        b'Content-Type: a/b; c="d;e"\r\n',
        b"Content-Type : x\r\n",
        b" folded\r\n",
        b"\t\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b"From: a@b\r\n",
        b"From x\r\n",
        b"text\r\n",
        b': "\r\n',
        b'; hp="cipher"\r\n',
        b' hp="cipher"\r\n',
        b"X-Leap-Payload: v=1; content-type=fresh; added=0\r\n",
        b"HP-Outer: Subject: x\r\n",
        b"Bcc: e@f\r\n",
        b"Date: x\r\n",
        b"Message-ID: <a@b>\r\n",
        b"\xff: \xfe\r\n",
        b"no end",
    ]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(_LINES, max_size=8).map(b"".join))
@example(b"\r \r\n")
def test_any_lines_come_back_exactly(raw: bytes) -> None:
    one = submitted(raw)
    _, payload = payload_of(one)
    restored = restore(payload)
    assert restored is not None
    assert restored.message == one.message == expected(raw)
    assert restored.added == b"".join(one.added)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_come_back_exactly_and_restore_takes_any_bytes(raw: bytes) -> None:
    one = submitted(raw)
    _, payload = payload_of(one)
    restored = restore(payload)
    assert restored is not None
    assert restored.message == one.message
    restore(raw)
    assemble(raw, raw)
    assemble(payload, raw)
    assemble(raw, payload)


@settings(max_examples=40, deadline=None)
@given(
    st.text(max_size=200), st.sampled_from(["From", "To", "Cc", "Date", "Message-ID", "Subject"])
)
def test_outer_fields_are_always_sane(value: str, name: str) -> None:
    raw = name.encode() + b": " + value.encode("utf-8", "surrogatepass") + b"\r\n\r\nb\r\n"
    one = submitted(raw)
    outer, _ = payload_of(one)
    message = wrap(outer, None, b"-----BEGIN PGP MESSAGE-----\n\nx\n", "=_b")
    assert message.isascii()
    header = message.partition(b"\r\n\r\n")[0]
    assert b"\0" not in header
    for line in header.split(b"\r\n"):
        assert len(line) <= 998
        assert line.strip()
        assert b"\r" not in line
        assert b"\n" not in line
    assert [
        name for name, _ in outer if name in ("From", "To", "Date", "Message-ID", "Subject")
    ] == [
        "From",
        "To",
        "Date",
        "Message-ID",
        "Subject",
    ] or "Cc" in dict(outer)
    assert dict(outer)["Subject"] == "[...]"


def test_the_outer_header_tells_no_more_than_delivery_needs() -> None:
    raw = (
        b"From: Alice <alice@example.test>\r\nTo: bob@x\r\nCc: carol@x\r\nBcc: dave@x\r\n"
        b"Subject: secret one\r\nReferences: <secret-two@x>\r\nIn-Reply-To: <secret-two@x>\r\n"
        b"User-Agent: secret three\r\nDate: Mon, 21 Sep 2026 10:00:00 +0200\r\n"
        b"Message-ID: <m@x>\r\nKeywords: secret four\r\nContent-Language: de\r\n\r\nsecret five\r\n"
    )
    message, served = travel(raw)
    assert b"secret" not in message
    assert b"dave" not in message
    fields, _ = split_header(message)
    assert [field.name for field in fields] == [
        "return-path",
        "received",
        "from",
        "to",
        "cc",
        "date",
        "message-id",
        "subject",
        "autocrypt",
        "mime-version",
        "content-type",
    ]
    assert b"Subject: [...]\r\n" in message
    assert b"Message-ID: <m@x>\r\n" in message
    assert b"Date: Mon, 21 Sep 2026 10:00:00 +0200\r\n" in message
    assert b"secret one" in served


def test_the_payload_is_an_rfc_9788_payload_for_others() -> None:
    raw = b"From: alice@example.test\r\nSubject: s\r\nContent-Type: text/html\r\n\r\nb\r\n"
    outer, payload = payload_of(submitted(raw))
    fields, _ = split_header(payload)
    assert b'text/html;\r\n hp="cipher"\r\n' in payload
    recorded = [field.value.decode() for field in fields if field.name == "hp-outer"]
    assert recorded == [f"{name}: {value}" for name, value in outer]
    assert [field.value for field in fields if field.name == "subject"] == [b"s"]


def test_a_message_without_id_and_date_gets_both_once_inside_and_outside() -> None:
    message, served = travel(b"From: alice@example.test\r\nTo: bob@x\r\n\r\nb\r\n")
    outer = {field.name: field.value for field in split_header(message)[0]}
    inner = [field for field in split_header(served)[0] if field.name in ("message-id", "date")]
    assert len(inner) == 2
    for field in inner:
        assert outer[field.name] == field.value


def play_corpus(folder: Path, every: int) -> int:
    """Splits and puts together every mail of the corpus; one of `every` goes through the cipher. Answers how many."""
    travelled = skipped = 0
    for path in sorted(folder.rglob("*.eml")):
        raw = re.sub(rb"(?<!\r)\n", b"\r\n", path.read_bytes())
        if b"\0" in raw or re.search(rb"\r(?!\n)", raw):
            skipped += 1
            continue
        one = submitted(raw)
        _, payload = payload_of(one)
        restored = restore(payload)
        assert restored is not None, path
        assert restored.message == one.message == expected(raw), path
        if travelled % every == 0:
            _, served = travel(raw)
            assert served.endswith(one.message), path
        travelled += 1
    assert travelled > 2900
    assert skipped < 40
    return travelled


@pytest.mark.corpus
def test_the_whole_corpus_comes_back_exactly(corpus: Path) -> None:
    play_corpus(corpus, 8)  # `make soak ARGS=corpus` sends all
