"""Keys of SEARCH which the list of messages answers by itself: flags, days, sizes, ages and ids.

A key is asked of many rows in one go, for a call for each row would cost more than the comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date, timedelta

from leap.mail.contract import MessageRow
from leap.mail.imap.tracker import MailboxView, SeqNum
from leap.mail.imap.wire.dates import day_of
from leap.mail.imap.wire.responses import object_id
from leap.mail.imap.wire.searching import (
    Age,
    ChangedAt,
    Day,
    HasFlag,
    IsNew,
    ObjectId,
    SearchKey,
    Size,
)

_DAY = 86_400
_SURE_YEARS = range(2, 9_999)  # at the ends of the calendar moments are brought within it first

Numbered = Iterable[tuple[SeqNum, MessageRow]]


def fitting(view: MailboxView, key: SearchKey, rows: Numbered, now: float) -> list[SeqNum]:
    """The numbers of the rows that fit, in their order; `now` is in seconds since 1970."""
    match key:
        case HasFlag("\\Recent", there):
            return [n for n, row in rows if (row.uid in view.recent) is there]
        case HasFlag(flag, there) if not flag.startswith("\\"):
            return _with_keyword(flag.lower(), there, rows)
        case HasFlag(flag, True):
            return [n for n, row in rows if flag in row.flags]
        case HasFlag(flag, _):
            return [n for n, row in rows if flag not in row.flags]
        case IsNew():
            return [n for n, row in rows if row.uid in view.recent and "\\Seen" not in row.flags]
        case ChangedAt(modseq):
            return [n for n, row in rows if row.modseq >= modseq]
        case ObjectId("EMAILID", wanted):
            return [n for n, row in rows if object_id(row.message_id) == wanted]
        case ObjectId():
            return []
        case Size(True, octets):
            return [n for n, row in rows if row.size > octets]
        case Size(False, octets):
            return [n for n, row in rows if row.size < octets]
        case Age(True, seconds):
            return [n for n, row in rows if row.internal_date <= now - seconds]
        case Age(_, seconds):
            return [n for n, row in rows if row.internal_date > now - seconds]
        case Day(relation, day, _):
            return _on_days(relation, day, rows)
        case _:
            raise AssertionError(f"no test for {type(key).__name__}")


def _with_keyword(folded: str, there: bool, rows: Numbered) -> list[SeqNum]:
    """Keywords differ not by case alone, however each message has it spelled; few sets of flags stand in many rows."""
    fits: dict[tuple[str, ...], bool] = {}
    found = []
    for number, row in rows:
        fit = fits.get(row.flags)
        if fit is None:
            fit = fits[row.flags] = any(flag.lower() == folded for flag in row.flags) is there
        if fit:
            found.append(number)
    return found


def _on_days(relation: str, day: date, rows: Numbered) -> list[SeqNum]:
    """By the clock of the zone each came with (RFC 3501 6.4.4: time and zone are disregarded)."""
    if day.year not in _SURE_YEARS:
        fits = compare(relation, day)
        return [n for n, row in rows if fits(day_of(row.internal_date, row.zone))]
    begins = (day - date(1970, 1, 1)) // timedelta(seconds=1)
    if relation == "before":
        return [n for n, row in rows if row.internal_date + 60 * row.zone < begins]
    if relation == "on":
        ends = begins + _DAY
        return [n for n, row in rows if begins <= row.internal_date + 60 * row.zone < ends]
    return [n for n, row in rows if row.internal_date + 60 * row.zone >= begins]


def compare(relation: str, day: date) -> Callable[[date], bool]:
    match relation:
        case "before":
            return lambda other: other < day
        case "on":
            return lambda other: other == day
        case _:
            return lambda other: other >= day
