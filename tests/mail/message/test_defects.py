"""What is odd about a message is told as values, with the place; nothing is refused because of it."""

from __future__ import annotations

import time

import pytest

from leap.mail.message import DefectKind, Message
from leap.mail.message.inspection import MAX_DEFECTS

HEAD = b"From: a@x.test\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\n"
MULTIPART = b"Content-Type: multipart/mixed; boundary=b\r\n"


def test_a_sound_message_has_none() -> None:
    raw = (
        HEAD
        + b"Subject: =?utf-8?q?x?= gr\xc3\xbcn\r\n"
        + MULTIPART
        + b"\r\n--b\r\n\r\nx\r\n--b--\r\n"
    )
    assert Message(raw).defects == []


@pytest.mark.parametrize(
    ("raw", "kind", "place"),
    [
        (b" folded\r\n" + HEAD + b"\r\n", DefectKind.HEADER_BEGINS_FOLDED, b" folded"),
        (b"From x\n" + HEAD + b"\r\n", DefectKind.LINE_WITHOUT_FIELD, b"From x"),
        (HEAD + b"some text\r\n", DefectKind.NO_BODY_SEPARATOR, b"some text"),
        (HEAD + b"Content-Type: what?\r\n\r\n", DefectKind.BAD_CONTENT_TYPE, b" what?"),
        (HEAD + b"Content-Type: multipart/mixed\r\n\r\nx", DefectKind.NO_BOUNDARY, b"From"),
        (HEAD + MULTIPART + b"\r\nx", DefectKind.NO_PARTS, b"x"),
        (HEAD + MULTIPART + b"\r\n--b\r\n\r\nx", DefectKind.NO_END_OF_MULTIPART, b""),
        (HEAD + b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\n" + HEAD + b"\r\n",
         DefectKind.ENCODED_MESSAGE, b"From"),
        (HEAD + MULTIPART + b"Content-Transfer-Encoding: base64\r\n\r\n--b\r\n\r\nx\r\n--b--",
         DefectKind.ENCODED_MULTIPART, b"From"),
        (HEAD + b"DATE: Mon, 02 Nov 2026 10:00:00 +0000\r\n\r\n", DefectKind.REPEATED_FIELD, b"DATE"),
        (HEAD.replace(b"From", b"Fro"), DefectKind.MISSING_FROM, b"Fro"),
        (HEAD.replace(b"Date", b"Dat"), DefectKind.MISSING_DATE, b"From"),
        (HEAD.replace(b"Nov", b"Nix"), DefectKind.BAD_DATE, b"Date"),
        (HEAD + b"To: somebody\r\n\r\n", DefectKind.BAD_ADDRESS, b"To"),
        (HEAD + b"Message-ID: none\r\n\r\n", DefectKind.BAD_MESSAGE_ID, b"Message-ID"),
        (HEAD + b"Subject: gr\xfcn\r\n\r\n", DefectKind.RAW_HEADER_OCTETS, b"\xfcn"),
        (HEAD + b"Subject: =?nonsense?q?x?=\r\n\r\n", DefectKind.BAD_ENCODED_WORD, b"=?"),
        (HEAD + b"Content-Transfer-Encoding: x-mine\r\n\r\n", DefectKind.UNKNOWN_ENCODING, b"From"),
        (HEAD + b"Content-Type: text/plain; charset=x-mine\r\n\r\n", DefectKind.UNKNOWN_CHARSET, b"From"),
        (HEAD + b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\ngr\xfcn",
         DefectKind.WRONG_CHARSET, b"gr\xfcn"),
        (HEAD + b"Content-Transfer-Encoding: base64\r\n\r\nQUJD!", DefectKind.BAD_BASE64, b"QUJD"),
        (HEAD + b"Content-Transfer-Encoding: base64\r\n\r\nQUJDR", DefectKind.BAD_BASE64, b"QUJD"),
        (HEAD + b"\r\ngr\xfcn", DefectKind.EIGHT_BIT_AS_7BIT, b"\xfcn"),
        (HEAD + b"\r\na\0b", DefectKind.NUL, b"\0b"),
        (HEAD + b"\r\na\rb", DefectKind.BARE_CR, b"\rb"),
        (HEAD + b"\r\n" + b"x" * 1001, DefectKind.LONG_LINE, b"xxx"),
    ],
)  # fmt: skip
def test_each_oddity_is_told_with_its_place(raw: bytes, kind: DefectKind, place: bytes) -> None:
    [found] = [defect for defect in Message(raw).defects if defect.kind is kind]
    assert raw[found.offset :].startswith(place)


def test_a_bomb_of_defects_is_bounded() -> None:
    raw = MULTIPART + b"\r\n" + b"--b\r\nContent-Type: ?\r\n\r\n\xff\r\n" * 20_000
    began = time.process_time()
    defects = Message(raw).defects
    assert len(defects) == MAX_DEFECTS
    assert [defect.offset for defect in defects] == sorted(defect.offset for defect in defects)
    assert time.process_time() - began < 3.0
