"""BINARY (RFC 3516): parts without their transfer encoding, and messages with NUL in them."""

from __future__ import annotations

import base64

import pytest

from leap.mail.contract import INBOX
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, fill, play

PICTURE = bytes(range(256)) * 4
RAW = (
    b"Subject: parts\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"caf=C3=A9 =\r\nau lait\r\n"
    b"--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    + base64.encodebytes(PICTURE).replace(b"\n", b"\r\n")
    + b"--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nplain\r\n"
    b"--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: x-own\r\n\r\n????\r\n"
    b"--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\n\r\n--b--\r\n"
)


@pytest.fixture
async def account() -> MemoryAccount:
    account = MemoryAccount()
    await fill(account, [RAW])
    return account


async def test_a_part_is_decoded(account: MemoryAccount) -> None:
    """RFC 3516 4.2: the text is seen then, unless it was peeked at."""
    await play(
        f"""
        C: a FETCH 1 BINARY.PEEK[1]
        S: * 1 FETCH (UID 1 BINARY[1] {{13}}
        S: café au lait)
        S: a OK …
        C: b FETCH 1 (BINARY.SIZE[1] BINARY.SIZE[2] BINARY.SIZE[] BINARY.SIZE[9] BINARY.SIZE[5])
        S: * 1 FETCH (UID 1 BINARY.SIZE[1] 13 BINARY.SIZE[2] 1024 BINARY.SIZE[] {len(RAW)} BINARY.SIZE[9] 0 …
        S: b OK …
        C: c FETCH 1 (binary[1]<5.20> BINARY.PEEK[1]<99.1> BINARY.PEEK[9])
        S: * 1 FETCH (UID 1 FLAGS (\\Seen) BINARY[1]<5> {{8}}
        S:  au lait BINARY[1]<99> "" BINARY[9] NIL)
        S: c OK …
        C: d FETCH 1 (BINARY.PEEK[3] BINARY.PEEK[3.1] BINARY.PEEK[5])
        S: * 1 FETCH (UID 1 BINARY[3] {{23}}
        S: Subject: inner
        S:
        S: plain BINARY[3.1] {{5}}
        S: plain BINARY[5] "")
        S: d OK …
        """,
        account=account,
    )


async def test_octets_that_no_literal_can_hold_come_in_a_literal8(account: MemoryAccount) -> None:
    talk = await Talk(account).log_in("INBOX")
    said = await talk.send(b"a UID FETCH 1 (BINARY.PEEK[2])\r\n")
    assert b"* 1 FETCH (UID 1 BINARY[2] ~{1024}\r\n" + PICTURE + b")\r\n" in said
    said = await talk.send(b"b FETCH 1 (BINARY.PEEK[2]<1.5> BINARY.PEEK[])\r\n")
    assert b" BINARY[2]<1> {5}\r\n\x01\x02\x03\x04\x05 BINARY[] ~{%d}\r\n" % len(RAW) + RAW in said
    await talk.end()


async def test_an_encoding_that_is_not_known_is_named(account: MemoryAccount) -> None:
    """RFC 3516 4.3: the messages that can be decoded are given all the same."""
    await fill(account, [b"Content-Transfer-Encoding: base64\r\n\r\nYWJj\r\n"])
    await account.claim_recent(INBOX)
    await play(
        """
        C: a FETCH 1 BINARY.PEEK[4]
        S: a NO [UNKNOWN-CTE] …
        C: b FETCH 1 BINARY.SIZE[4]
        S: b NO [UNKNOWN-CTE] …
        C: c FETCH 1 BODY.PEEK[4]
        S: * 1 FETCH (UID 1 BODY[4] {4}
        S: ????)
        S: c OK …
        C: d FETCH 1:2 (BINARY.PEEK[1]<0.3>)
        S: * 1 FETCH (UID 1 BINARY[1]<0> {3}
        S: caf)
        S: * 2 FETCH (UID 2 BINARY[1]<0> {3}
        S: abc)
        S: d OK …
        """,
        account=account,
    )


async def test_only_parts_have_a_decoded_form(account: MemoryAccount) -> None:
    await play(
        """
        C: a FETCH 1 BINARY[1.MIME]
        S: a BAD …
        C: b FETCH 1 BINARY[HEADER]
        S: b BAD …
        C: c FETCH 1 BINARY
        S: c BAD …
        C: d FETCH 1 BINARY.SIZE[1]<0.5>
        S: d BAD …
        C: e FETCH 1 BINARY[0]
        S: e BAD …
        """,
        account=account,
    )


async def test_a_message_with_nul_is_kept_octet_for_octet() -> None:
    """RFC 3516 4.4: APPEND of a literal8."""
    account = MemoryAccount()
    raw = b"Content-Transfer-Encoding: binary\r\n\r\n\x00\x01\xff\r\n"
    talk = await Talk(account).log_in("INBOX")
    assert await talk.send(b"a APPEND INBOX (\\Seen) ~{%d}\r\n" % len(raw)) == b"+ OK\r\n"
    assert b"a OK [APPENDUID" in await talk.send(raw + b"\r\n")
    [row] = await account.rows(INBOX)
    assert await account.read(row.row_id) == raw
    said = await talk.send(b"b FETCH 1 (BINARY[1] BINARY.SIZE[1])\r\n")
    assert b"BINARY[1] ~{5}\r\n\x00\x01\xff\r\n BINARY.SIZE[1] 5)" in said
    await talk.end()


async def test_a_large_part_is_decoded_too() -> None:
    account = MemoryAccount()
    text = b"x" * 76
    body = (text + b"\r\n") * 5_000
    await fill(account, [b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + body])
    talk = await Talk(account).log_in("INBOX")
    said = await talk.send(b"a FETCH 1 BINARY.SIZE[1]\r\n")
    assert b"BINARY.SIZE[1] %d)" % len(body) in said
    await talk.end()
