"""Messages which the suites of accounts store, and short ways to do it."""

from __future__ import annotations

from leap.mail.contract import INBOX, AccountBackend, MailboxId, NewMessage, Uid

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
BROKEN = b"no header here\nbare line ends \x00\xff\r and a NUL"


def new(raw: bytes = PLAIN, *flags: str, at: int = 1_700_000_000, zone: int = 0) -> NewMessage:
    return NewMessage(raw=raw, flags=flags, internal_date=at, zone=zone)


async def put(backend: AccountBackend, count: int, *flags: str) -> list[Uid]:
    return [a.uid for a in await backend.append(INBOX, [new(PLAIN, *flags)] * count)]


async def uids(backend: AccountBackend, mailbox: MailboxId = INBOX) -> list[Uid]:
    return [row.uid for row in await backend.rows(mailbox)]
