"""Dates of IMAP: date-time of APPEND and INTERNALDATE, and the days of SEARCH (RFC 3501 9)."""

from __future__ import annotations

import re
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache

from leap.mail.imap.wire.errors import ImapSyntaxError

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_NUMBERS = {name.lower().encode(): number for number, name in enumerate(_MONTHS, 1)}
# date-text = date-day "-" date-month "-" date-year
_DATE = re.compile(rb"(\d{1,2})-([A-Za-z]{3})-(\d{4})")
# date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE
_DATE_TIME = re.compile(
    rb"[ ]?(\d{1,2})-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)"
)


def parse_date(text: bytes) -> date:
    """A day of SEARCH. Raises ImapSyntaxError."""
    match = _DATE.fullmatch(text)
    if match is None:
        raise ImapSyntaxError("A date is written 1-Feb-2026.")
    try:
        return date(int(match[3]), _NUMBERS[match[2].lower()], int(match[1]))
    except (KeyError, ValueError):
        raise ImapSyntaxError("There is no such day.") from None


def parse_date_time(text: bytes) -> tuple[int, int]:
    """Seconds since 1970 in UTC, and minutes east of UTC. Raises ImapSyntaxError."""
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        raise ImapSyntaxError('A date-time is written "01-Feb-2026 09:30:00 +0100".')
    minutes = int(match[8]) * 60 + int(match[9])
    zone = -minutes if match[7] == b"-" else minutes
    try:
        moment = datetime(
            int(match[3]),
            _NUMBERS[match[2].lower()],
            int(match[1]),
            int(match[4]),
            int(match[5]),
            min(int(match[6]), 59),  # leap seconds exist, datetime does not know them
            tzinfo=timezone(timedelta(minutes=zone)),
        )
        return int(moment.timestamp()), zone
    except (KeyError, ValueError, OverflowError):
        raise ImapSyntaxError("There is no such moment.") from None


def format_date_time(seconds: int, zone: int) -> bytes:
    """INTERNALDATE with its quotes; years out of 0001..9999 become the nearest there is."""
    zone = max(-1439, min(1439, zone))
    bounded = max(-62135510400, min(253402214400, seconds))  # a day within datetime's range
    day, seconds = divmod(bounded + zone * 60, 24 * 3600)
    hour, rest = divmod(seconds, 3600)
    sign, minutes = (b"-", -zone) if zone < 0 else (b"+", zone)
    return b'"%b %02d:%02d:%02d %b%02d%02d"' % (
        _day_text(day), hour, rest // 60, rest % 60, sign, minutes // 60, minutes % 60
    )  # fmt: skip


@lru_cache(maxsize=4096)
def _day_text(number: int) -> bytes:
    """A day, counted from the first of 1970: mail of one mailbox shares days."""
    moment = date(1970, 1, 1) + timedelta(days=number)
    return f"{moment.day:02d}-{_MONTHS[moment.month - 1]}-{moment.year:04d}".encode()


def day_of(seconds: int, zone: int) -> date:
    """The day a moment falls on where it was written; RFC 3501 6.4.4 disregards time and zone."""
    bounded = max(-62135510400, min(253402214400, seconds))
    return (datetime(1970, 1, 1) + timedelta(seconds=bounded + zone * 60)).date()
