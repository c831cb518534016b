"""Days of SEARCH, compared in seconds, are the days as written where the message was (RFC 3501 6.4.4)."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Literal

import msgspec
import pytest

from leap.mail.contract import INBOX, MailboxStatus, MessageRow
from leap.mail.imap.session.row_keys import compare, fitting
from leap.mail.imap.tracker import MailboxView, SeqNum
from leap.mail.imap.wire.dates import day_of
from leap.mail.imap.wire.searching import Day
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import fill, mail

DAYS = [date(1, 1, 1), date(1, 1, 2), date(1969, 12, 31), date(2024, 2, 29), date(9999, 12, 31)]


@pytest.fixture
async def row_and_status() -> tuple[MessageRow, MailboxStatus]:
    account = MemoryAccount()
    await fill(account, [mail()])
    return (await account.rows(INBOX))[0], await account.status(INBOX)


@pytest.mark.parametrize("relation", ["before", "on", "since"])
def test_a_day_is_that_of_the_zone(
    relation: Literal["before", "on", "since"], row_and_status: tuple[MessageRow, MailboxStatus]
) -> None:
    row, status = row_and_status
    view = MailboxView(status, [row], ())
    for day in DAYS:
        midnight = (day - date(1970, 1, 1)) // timedelta(seconds=1)
        rows = [
            (SeqNum(number), msgspec.structs.replace(row, internal_date=at, zone=zone))
            for number, (at, zone) in enumerate(
                (midnight + off - 60 * zone, zone)
                for zone in (-720, -1, 0, 330, 840)
                for off in (-86_401, -1, 0, 1, 86_399, 86_400, -(10**12), 10**12)
            )
        ]
        fits = compare(relation, day)
        wanted = [n for n, one in rows if fits(day_of(one.internal_date, one.zone))]
        assert fitting(view, Day(relation, day, False), rows, 0.0) == wanted
