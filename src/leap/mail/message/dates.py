"""Dates of messages: reading what mail says (RFC 5322 3.3 and worse), writing what the RFC asks.

    date-time = [day-name ","] day month year hour ":" minute [":" second] zone

Read besides: the order of ctime ("Mon Nov  2 10:00:00 2026"), ISO 8601, hyphens and dots between the numbers, 12-hour
clocks, comments anywhere, fractions of seconds, zones with a colon, without minutes or behind "GMT" or "UTC". Two
numbers before a year count as month and day between slashes (as in America) unless only the other order is possible,
and as day and month between dots. Without a time it is midnight, without a zone UTC, as of a zone that no one knows
(RFC 5322 4.3). The day of the week says nothing.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import NamedTuple

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_LONGEST = 200  # octets; no date is longer, comments included
_MAX_ZONE = 14 * 60  # minutes; beyond it the zone is noise
_NUMBER_OF = {name.lower(): number for number, name in enumerate(_MONTHS, 1)}
_MONTH = "(" + "|".join(_MONTHS) + ")[a-z]{0,7}"
# Minutes east of UTC. RFC 5322 4.3 names the American ones; letters of the military alphabet mean nothing certain.
_ZONES = {
    "UT": 0, "UTC": 0, "GMT": 0, "Z": 0, "EST": -300, "EDT": -240, "CST": -360, "CDT": -300, "MST": -420, "MDT": -360,
    "PST": -480, "PDT": -420, "AKST": -540, "AKDT": -480, "HST": -600, "AST": -240, "ADT": -180, "NST": -210,
    "NDT": -150, "BRT": -180, "WET": 0, "WEST": 60, "BST": 60, "CET": 60, "CEST": 120, "MET": 60, "MEST": 120,
    "MEZ": 60, "MESZ": 120, "EET": 120, "EEST": 180, "SAST": 120, "MSK": 180, "MSD": 240, "IST": 330, "HKT": 480,
    "SGT": 480, "AWST": 480, "JST": 540, "KST": 540, "ACST": 570, "AEST": 600, "AEDT": 660, "NZST": 720, "NZDT": 780,
}  # fmt: skip
_COMMENT = re.compile(r"\([^()]*\)")  # the innermost
_TIME = re.compile(
    r"(?<![\d:.])(\d{1,2})\s*:\s*(\d{1,2})(?:\s*:\s*(\d{1,2})(?:[.,]\d+)?)?(?![\d:])(?:\s*([AP])\.?M\b\.?)?",
    re.IGNORECASE,
)
_DOTTED_TIME = re.compile(r"(?<![\d:.])(\d{1,2})\.(\d{2})(?:\.(\d{2}))?(?![\d:.])()")
_OFFSET = re.compile(
    r"(?<![A-Za-z])(?:GMT|UTC|UT)?([+-])(\d{2}(?=\d\d(?!\d)|:|\D|\Z)|\d)(?::?(\d{2}))?(?![\d-])",
    re.IGNORECASE,
)
_NAMED_ZONE = re.compile(r"\b(" + "|".join(_ZONES) + r")\b(\s+DST\b)?", re.IGNORECASE)
_DAY_MONTH = re.compile(rf"(?<!\d)(\d{{1,2}})[\s.,/-]*{_MONTH}\.?[\s.,/'-]*(\d{{2,4}})(?!\d)", re.I)
_MONTH_DAY = re.compile(
    rf"(?<![A-Za-z]){_MONTH}\.?[\s-]*(\d{{1,2}})(?!\d)\D+?(\d{{4}})(?!\d)", re.IGNORECASE
)
_YEAR_FIRST = re.compile(r"(?<!\d)(\d{4})[-/.]?(\d{2})[-/.]?(\d{2})(?!\d)")
_SLASHES = re.compile(r"(?<!\d)(\d{1,2})/(\d{1,2})/(\d{2,4})(?!\d)")
_DOTS = re.compile(r"(?<!\d)(\d{1,2})[.-](\d{1,2})[.-](\d{2,4})(?!\d)")
_ISO_BASIC = re.compile(r"(?<=\d)T(\d{2})(\d{2})(\d{2})?(?![\d:])")


class Instant(NamedTuple):
    """Seconds since 1970 in UTC, and the writer's zone in minutes east of UTC."""

    seconds: int
    zone: int


def parse_date(value: bytes | str) -> Instant | None:
    """The moment a Date field names, or None when it names none. Never raises."""
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    text = text[:_LONGEST].replace("\0", " ")
    while "(" in text and (shorter := _COMMENT.sub(" ", text)) != text:
        text = shorter
    hour, minute, second = 0, 0, 0
    if "T" in text:
        text = _ISO_BASIC.sub(_with_colons, text)
    rest = text
    clock = _TIME.search(text) or (_DOTTED_TIME.search(text) if ":" not in text else None)
    if clock:
        hour, minute, second = int(clock[1]), int(clock[2]), int(clock[3] or 0)
        if clock[4]:
            if not 1 <= hour <= 12:
                return None
            hour = hour % 12 + (12 if clock[4] in "pP" else 0)
        # second 60 is a leap second, hour 24 a habit: timedelta carries both over
        if hour > 24 or minute > 59 or second > 60:
            return None
        zone, start, end = _zone(text, clock.end())
        rest = f"{text[: clock.start()]} {text[clock.end() : start]} {text[end:]}"
    else:
        zone = 0
    day = _day(rest)
    if day is None:
        return None
    try:
        moment = datetime(*day, tzinfo=UTC) + timedelta(
            hours=hour, minutes=minute - zone, seconds=second
        )
        return Instant(int(moment.timestamp()), zone)
    except (ValueError, OverflowError):
        return None


def _with_colons(found: re.Match[str]) -> str:
    return " " + ":".join(filter(None, found.groups()))


def _zone(text: str, position: int) -> tuple[int, int, int]:
    """Minutes east of UTC as named behind the time, and where the numbers of the zone begin and end."""
    if found := _OFFSET.search(text, position):
        hours, minutes = int(found[2]), int(found[3] or 0)
        zone = (hours * 60 + minutes) * (-1 if found[1] == "-" else 1)
        if abs(zone) <= _MAX_ZONE:
            return zone, found.start(), found.end()
    elif found := _NAMED_ZONE.search(text, position):
        return _ZONES[found[1].upper()] + (60 if found[2] else 0), position, position
    return 0, position, position


def _day(text: str) -> tuple[int, int, int] | None:
    """(year, month, day) as named in a text without time and zone; the numbers may be impossible ones."""
    if found := _DAY_MONTH.search(text):
        day, month, written = int(found[1]), _NUMBER_OF[found[2].lower()], found[3]
    elif found := _MONTH_DAY.search(text):
        day, month, written = int(found[2]), _NUMBER_OF[found[1].lower()], found[3]
    elif found := _YEAR_FIRST.search(text):
        day, month, written = int(found[3]), int(found[2]), found[1]
    elif found := _SLASHES.search(text):
        month, day, written = int(found[1]), int(found[2]), found[3]
        if month > 12:
            month, day = day, month
    elif found := _DOTS.search(text):
        day, month, written = int(found[1]), int(found[2]), found[3]
    else:
        return None
    year = int(written)
    if len(written) == 2:
        year += 2000 if year < 50 else 1900  # RFC 5322 4.3
    elif len(written) == 3:
        year += 1900
    return (year, month, day) if 1900 <= year <= 9998 else None


def format_date(seconds: float, zone: int = 0) -> str:
    """RFC 5322 date-time, as "Sun, 22 Nov 2026 20:36:00 +0000"; `zone` in minutes east of UTC."""
    moment = datetime.fromtimestamp(int(seconds), timezone(timedelta(minutes=zone)))
    sign = "-" if zone < 0 else "+"
    hours, minutes = divmod(abs(zone), 60)
    return (
        f"{_DAYS[moment.weekday()]}, {moment.day} {_MONTHS[moment.month - 1]} {moment.year:04} "
        f"{moment:%H:%M:%S} {sign}{hours:02}{minutes:02}"
    )
