"""Dates of messages: reading what mail says (RFC 5322 3.3 and worse), writing what the RFC asks."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone
from email.utils import parsedate_tz
from typing import NamedTuple

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_LONGEST = 200  # octets; no date is longer, comments included
_MAX_ZONE = 14 * 60  # minutes; beyond it the zone is noise


class Instant(NamedTuple):
    """Seconds since 1970 in UTC, and the writer's zone in minutes east of UTC."""

    seconds: int
    zone: int


def parse_date(value: bytes | str) -> Instant | None:
    """The moment a Date field names, or None when it names none. Never raises."""
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    try:
        parsed = parsedate_tz(text[:_LONGEST])
        if parsed is None:
            return None
        year, month, day, hour, minute, second = parsed[:6]
        # second 60 is a leap second, hour 24 a habit: timedelta carries both over
        start = datetime(year, month, day, tzinfo=UTC)
        zone = (parsed[9] or 0) // 60
        if not -_MAX_ZONE <= zone <= _MAX_ZONE:
            zone = 0
        if not (0 <= hour <= 24 and 0 <= minute <= 60 and 0 <= second <= 61):
            return None
        moment = start + timedelta(hours=hour, minutes=minute - zone, seconds=second)
        return Instant(int(moment.timestamp()), zone)
    except (ValueError, IndexError, TypeError, OverflowError, AttributeError):
        return None


def format_date(seconds: float, zone: int = 0) -> str:
    """RFC 5322 date-time, as "Sun, 22 Nov 2026 20:36:00 +0000"; `zone` in minutes east of UTC."""
    moment = datetime.fromtimestamp(int(seconds), timezone(timedelta(minutes=zone)))
    sign = "-" if zone < 0 else "+"
    hours, minutes = divmod(abs(zone), 60)
    return (
        f"{_DAYS[moment.weekday()]}, {moment.day} {_MONTHS[moment.month - 1]} {moment.year:04} "
        f"{moment:%H:%M:%S} {sign}{hours:02}{minutes:02}"
    )


def local_zone(seconds: float) -> int:
    """This machine's zone at that moment, in minutes east of UTC."""
    return time.localtime(seconds).tm_gmtoff // 60
