"""Messages and small steps that the account suites share."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator

from leap.mail.contract import INBOX, AccountBackend, Change, MailboxId, NewMessage, Uid

PATIENCE = 5.0
PLAIN = (
    b"From: Alice <alice@example.test>\r\nTo: bob@example.test\r\nSubject: Plain words\r\n"
    b"Date: Mon, 02 Nov 2026 10:00:00 +0100\r\nMessage-ID: <plain@example.test>\r\n\r\n"
    b"The heron stands still.\r\n"
)
ENCODED = (
    b"From: =?utf-8?q?J=C3=BCrgen?= <j@example.test>\r\nTo: bob@example.test\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    b"RGVyIFJlaWhlciB3YXJ0ZXQgaW0gw5ZyZWdydW5kLg==\r\n"
)
NESTED = (
    b"From: alice@example.test\r\nSubject: Nested\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=out\r\n\r\n"
    b"--out\r\n\r\nouter text\r\n"
    b"--out\r\nContent-Type: message/rfc822\r\n\r\n"
    b"Subject: Inner\r\nContent-Type: multipart/mixed; boundary=in\r\n\r\n"
    b"--in\r\n\r\ninner text\r\n"
    b"--in\r\nContent-Type: image/png; name=dot.png\r\n\r\nPNG\r\n--in--\r\n"
    b"--out\r\nContent-Disposition: attachment; filename=three.bin\r\n"
    b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\nAAEC\r\n"
    b"--out--\r\n"
)
BROKEN = b"no header here\nbare line ends \x00\xff\r and a NUL"


def new(raw: bytes = PLAIN, *flags: str, at: int = 1_700_000_000, zone: int = 0) -> NewMessage:
    return NewMessage(raw=raw, flags=flags, internal_date=at, zone=zone)


async def put(backend: AccountBackend, count: int, *flags: str) -> list[Uid]:
    return [a.uid for a in await backend.append(INBOX, [new(PLAIN, *flags)] * count)]


async def uids(backend: AccountBackend, mailbox: MailboxId = INBOX) -> list[Uid]:
    return [row.uid for row in await backend.rows(mailbox)]


async def close_stream(stream: AsyncIterator[Change]) -> None:
    close = getattr(stream, "aclose", None)
    if close is not None:
        result = close()
        if inspect.isawaitable(result):
            await result
