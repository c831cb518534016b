"""The four kinds of mbox: how each quotes lines that begin with "From ", and what a separator line looks like.

    kind      in the body                             where a message ends
    mboxo     "From " is written ">From "             at the next separator line
    mboxrd    each ">*From " has one ">" more; also   at the next separator line
              in the header, where none should be
    mboxcl    as mboxo                                where its Content-Length says
    mboxcl2   nothing is quoted                       where its Content-Length says

RFC 4155 has the separator line: From SP addr-spec SP asctime-date. Real ones have other addresses and dates.
"""

from __future__ import annotations

import datetime
import email.utils
import re
from typing import Literal

MboxKind = Literal["mboxo", "mboxrd", "mboxcl", "mboxcl2"]
KINDS: tuple[MboxKind, ...] = ("mboxo", "mboxrd", "mboxcl", "mboxcl2")

MARK = b"\xef\xbb\xbf"  # a byte order mark in UTF-8, which some programs put before everything
_QUOTED_ONCE = re.compile(rb"(?m)^>From ")
_QUOTED = re.compile(rb"(?m)^>(>*From )")
_TO_QUOTE = re.compile(rb"(?m)^(>*From )")
_DATED = re.compile(rb"\b\d{1,2}:\d\d\b.*\b(?:19|20)\d\d\b|\b(?:19|20)\d\d\b.*\b\d{1,2}:\d\d\b")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_FIELD = re.compile(
    rb"[!-9;-~]+[ \t]*:|>?From "
)  # a field name (RFC 5322 2.2), or a second separator


def unquoted(body: bytes, kind: MboxKind) -> bytes:
    """A body as it was before it was put into an mbox of that kind."""
    if kind == "mboxcl2" or b">From " not in body:
        return body
    if kind == "mboxrd":
        return _QUOTED.sub(rb"\1", body)
    return _QUOTED_ONCE.sub(b"From ", body)


def quoted(message: bytes) -> bytes:
    """A message as mboxrd writes it: one ">" more before each line that begins with any number of them and "From "."""
    return _TO_QUOTE.sub(rb">\1", message) if b"From " in message else message


def is_dated(line: bytes) -> bool:
    """Whether a separator line has a time and a year, or is the bare one of Netscape and Thunderbird."""
    return _DATED.search(line) is not None or line.strip() == b"From -"


def is_field(line: bytes) -> bool:
    """Whether a line can begin a message."""
    return _FIELD.match(line) is not None


def is_mbox(beginning: bytes) -> bool:
    """Whether a file that begins so is an mbox. Empty lines before the first message are in many of them."""
    line, newline, rest = beginning.removeprefix(MARK).lstrip(b"\r\n").partition(b"\n")
    return line.startswith(b"From ") and (is_dated(line) or (bool(newline) and is_field(rest)))


def separator_date(line: bytes) -> int | None:
    """Seconds since 1970 of a separator line; without a zone in it, it is taken as UTC (RFC 4155)."""
    words = line.decode("ascii", "replace").split()
    for format_, text in (
        ("%a %b %d %H:%M:%S %Y", " ".join(words[-5:])),
        ("%a, %d %b %Y %H:%M:%S", " ".join(words[2:7])),
    ):
        try:
            moment = datetime.datetime.strptime(text, format_).replace(tzinfo=datetime.UTC)
            return int(moment.timestamp())
        except ValueError:
            continue
    try:
        parsed = email.utils.parsedate_tz(" ".join(words[2:]))
        return None if parsed is None else int(email.utils.mktime_tz(parsed))
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def separator_line(seconds: int) -> bytes:
    """The separator line that we write; the envelope's sender is not known, so it names none."""
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)
    day = _DAYS[moment.weekday()]
    month = _MONTHS[moment.month - 1]  # not strftime: it follows the locale
    return f"From MAILER-DAEMON {day} {month} {moment.day:2d} {moment:%H:%M:%S} {moment.year:04d}\n".encode()
