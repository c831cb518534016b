"""SAVEDATE (RFC 8514): when messages came into the selected mailbox, for FETCH and SEARCH."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

from leap.mail.contract import AccountBackend, Uid
from leap.mail.imap.tracker import MailboxView, SeqNum
from leap.mail.imap.wire.dates import day_of, format_date_time


async def saved_lines(
    account: AccountBackend, view: MailboxView, numbers: Sequence[SeqNum]
) -> dict[Uid, bytes]:
    """SAVEDATE as FETCH tells it; NIL for what is gone."""
    uids = [view.uid(number) for number in numbers]
    return {
        uid: b"SAVEDATE " + (b"NIL" if saved is None else format_date_time(saved, 0))
        for uid, saved in zip(uids, await account.save_dates(view.mailbox_id, uids), strict=True)
    }


async def saved_among(
    account: AccountBackend,
    view: MailboxView,
    numbers: Sequence[SeqNum],
    fits: Callable[[date], bool],
) -> list[SeqNum]:
    """Those saved on a day that fits, in UTC."""
    uids = [view.uid(number) for number in numbers]
    dates = await account.save_dates(view.mailbox_id, uids)
    return [
        number
        for number, saved in zip(numbers, dates, strict=True)
        if saved is not None and fits(day_of(saved, 0))
    ]
