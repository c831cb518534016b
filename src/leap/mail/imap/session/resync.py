"""What a client missed while it was away: SELECT with QRESYNC, and UID FETCH with VANISHED (RFC 7162 3.2.5, 3.2.6)."""

from __future__ import annotations

import asyncio
from itertools import chain

from leap.mail.contract import ModSeq, Uid
from leap.mail.imap.session.state import SessionState
from leap.mail.imap.tracker import MailboxView, SeqNum
from leap.mail.imap.wire.numbers import NumberSet, format_set
from leap.mail.imap.wire.resync import Resync

_LINES = 1_000  # written together


async def resync_mailbox(session: SessionState, view: MailboxView, resync: Resync) -> None:
    """Writes VANISHED (EARLIER), then FETCH for what changed; nothing to a client of another UIDVALIDITY."""
    if resync.uid_validity != view.uid_validity:
        return
    await vanished_earlier(
        session, view, resync.modseq, resync.known, after=_same_up_to(view, resync)
    )
    changed = [n for n, row in view.numbered() if row.modseq > resync.modseq]
    if resync.known is not None:
        uids = [view.uid(n) for n in changed]
        changed = [changed[place] for span in resync.known.positions(uids) for place in span]
    for start in range(0, len(changed), _LINES):
        batch = changed[start : start + _LINES]
        session.output.write(b"".join(session.flags_of(view, n, view.row(n)) for n in batch))
        await session.output.drain()
        await asyncio.sleep(0)


async def vanished_earlier(
    session: SessionState,
    view: MailboxView,
    since: int,
    among: NumberSet | None,
    *,
    after: Uid = Uid(0),
) -> None:
    """Writes which uids left after `since`, of those in `among` and above `after`.

    What this session still shows is left out: its going is told in turn.
    """
    gone = await session.signed_in().expunged(view.mailbox_id, ModSeq(since))
    if among is not None:
        greatest = view.uid(SeqNum(len(view))) if len(view) else 0
        gone = [gone[place] for span in among.positions(gone, greatest) for place in span]
    gone = [uid for uid in gone if uid > after and view.find(uid) is None]
    if gone:
        session.untagged(b"VANISHED (EARLIER) " + format_set(gone))
        await session.output.drain()


def _same_up_to(view: MailboxView, resync: Resync) -> Uid:
    """The last of the pairs of the client that are true still: up to it nothing was expunged (RFC 7162 3.2.5.2)."""
    same = Uid(0)
    if resync.match is None:
        return same
    numbers, uids = (
        chain.from_iterable(range(low, high + 1) for low, high in each.spans(0))
        for each in resync.match
    )
    for number, uid in zip(numbers, uids, strict=True):
        if number > len(view) or view.uid(SeqNum(number)) != uid:
            break
        same = Uid(uid)
    return same
