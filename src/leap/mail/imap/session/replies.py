"""How a command ends: the tagged answers, and the exceptions which say them early (RFC 3501 7.1)."""

from __future__ import annotations

from leap.mail.contract import (
    AccountError,
    AccountUnavailable,
    ContentUnavailable,
    InvalidName,
    MailboxExists,
    NoSuchMailbox,
    NoSuchMessage,
    NotPermitted,
    StorageFull,
    TooLarge,
)
from leap.mail.imap.wire.responses import text_line


class Ended(Exception):
    """The command ends otherwise than by OK; nothing of it was left half done."""

    word = b"NO"

    def __init__(self, text: str, code: bytes | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.code = code

    def line(self) -> bytes:
        code = b" [" + self.code + b"]" if self.code else b""
        return self.word + code + b" " + text_line(self.text)


class No(Ended):
    """The server cannot, or will not."""


class Bad(Ended):
    """The client said something that makes no sense here."""

    word = b"BAD"


class Goodbye(Exception):
    """The session ends: the text goes out as BYE, after the tagged answer if `tagged` is one."""

    def __init__(self, text: str, tagged: bytes | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.tagged = tagged


class ConnectionBroken(Exception):
    """The answer cannot be completed and cannot be taken back: only closing the connection is honest."""


def ok(text: str, code: bytes | None = None) -> bytes:
    return b"OK" + (b" [" + code + b"]" if code else b"") + b" " + text.encode("ascii")


def with_code(line: bytes, code: bytes) -> bytes:
    """An OK which has no response code yet, with one; any other answer as it is."""
    if not line.startswith(b"OK ") or line.startswith(b"OK ["):
        return line
    return b"OK [" + code + b"]" + line[2:]


# RFC 5530 has the codes, and RFC 7889 TOOBIG
_CODES: tuple[tuple[type[AccountError], bytes], ...] = (
    (NoSuchMailbox, b"NONEXISTENT"),
    (MailboxExists, b"ALREADYEXISTS"),
    (InvalidName, b"CANNOT"),
    (NoSuchMessage, b"EXPUNGEISSUED"),
    (ContentUnavailable, b"UNAVAILABLE"),
    (StorageFull, b"OVERQUOTA"),
    (TooLarge, b"TOOBIG"),
    (NotPermitted, b"NOPERM"),
    (AccountUnavailable, b"UNAVAILABLE"),
)


def refusal(error: AccountError, trycreate: bool = False) -> No:
    """What the account refused, in the words of IMAP."""
    if trycreate and isinstance(error, NoSuchMailbox):  # RFC 3501 6.3.11, 6.4.7
        return No(str(error), b"TRYCREATE")
    code = next((code for kind, code in _CODES if isinstance(error, kind)), None)
    return No(str(error) or "The account refused.", code)
