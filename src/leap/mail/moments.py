"""When a message arrived, as a date and a time in its zone, whatever the numbers say that were stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

# A day within what `datetime` can say in any zone
_FIRST = int(datetime(1, 1, 2, tzinfo=UTC).timestamp())
_LAST = int(datetime(9999, 12, 30, tzinfo=UTC).timestamp())
_WIDEST = 24 * 60 - 1  # minutes east or west


def moment(seconds: int, zone: int) -> datetime:
    """`seconds` since 1970 in the zone `zone` minutes east of UTC; what is no moment becomes the nearest there is."""
    minutes = max(-_WIDEST, min(_WIDEST, zone))
    at = datetime.fromtimestamp(max(_FIRST, min(_LAST, seconds)), UTC)
    return at.astimezone(timezone(timedelta(minutes=minutes)))
