"""STORE, EXPUNGE and UID EXPUNGE (RFC 3501 6.4.3, 6.4.6; RFC 4315 2.1; RFC 7162 3.1.3, 3.2.7, 3.2.9)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from leap.mail.contract import MessageRow, ModSeq
from leap.mail.imap.session import columns
from leap.mail.imap.session.replies import No, ok
from leap.mail.imap.session.state import SessionState
from leap.mail.imap.tracker import MailboxView, SeqNum
from leap.mail.imap.wire.commands import Simple, Store, UidExpunge
from leap.mail.imap.wire.fetching import FetchItem
from leap.mail.imap.wire.numbers import format_set

BATCH = 2_000  # messages changed in one transaction; others get their turn between two


async def store(session: SessionState, command: Store) -> bytes:
    view = session.writable()
    account = session.signed_in()
    numbers = session.resolve(command.numbers, command.by_uid)
    if command.numbers.saved:  # in the order of a search
        numbers = sorted(set(numbers))
    unchanged_since = None
    if command.unchanged_since is not None:
        session.enable_condstore()
        unchanged_since = ModSeq(command.unchanged_since)
    given = {view.spelling(flag) for flag in command.flags}
    missing = False
    modified: list[int] = []
    if session.progress is not None:
        session.progress.expect(len(numbers))
    for batch in _batches(numbers):
        uids = view.uids(batch)
        done = await account.store_flags(
            view.mailbox_id, uids, command.op, sorted(given), unchanged_since
        )
        rows = done.rows
        if len(rows) < len(batch):
            answered = {row.uid for row in rows}
            changed_by_others = set(done.modified)
            for number, uid in zip(batch, uids, strict=True):
                if uid not in answered:
                    gone = uid not in changed_by_others
                    missing |= gone
                    # RFC 7162 3.1.3: an expunged message counts as modified where its number was named
                    if not gone or (unchanged_since is not None and not command.by_uid):
                        modified.append(uid if command.by_uid else number)
            batch = [number for number, uid in zip(batch, uids, strict=True) if uid in answered]
        lines = _lines(session, view, command, given, batch, rows)
        view.settle(batch, done)
        if view.take_keywords():
            session.output.write(b"".join(session.flags_lines(view)))
        session.output.write(lines)
        await session.output.drain()
        if session.progress is not None:
            session.progress.advance(len(batch))
    if missing or modified:
        session.stale = True
    code = b"MODIFIED " + format_set(modified) if modified else None
    if missing and not command.by_uid:
        raise No("Some of the messages were expunged.", code or b"EXPUNGEISSUED")
    return ok("Flags stored." if code is None else "Others changed some messages.", code)


def _batches(numbers: Sequence[SeqNum]) -> Iterator[Sequence[SeqNum]]:
    """Of about the same size: a small last one would be made at once, and all that was promised before it, too."""
    count = -(-len(numbers) // BATCH)
    for place in range(count):
        yield numbers[place * len(numbers) // count : (place + 1) * len(numbers) // count]


def _lines(
    session: SessionState,
    view: MailboxView,
    command: Store,
    given: set[str],
    numbers: Sequence[SeqNum],
    rows: Sequence[MessageRow],
) -> bytes:
    """What the client is told of these messages, `rows` as they are now; the view has them as they were."""
    items: tuple[FetchItem, ...] = ("FLAGS", "MODSEQ") if session.condstore else ("FLAGS",)
    if not command.silent:
        return _told(session, view, items, numbers, rows)
    # RFC 3501 6.4.6: .SILENT hides this change, not what others did meanwhile
    kinds: dict[tuple[tuple[str, ...], tuple[str, ...]], bool] = {}  # few, among many messages
    surprising: list[int] = []
    for place, (before, row) in enumerate(zip(view.rows(numbers), rows, strict=True)):
        kind = before.flags, row.flags
        surprise = kinds.get(kind)
        if surprise is None:
            had = set(before.flags)
            expected = {"set": given, "add": had | given, "remove": had - given}[command.op]
            surprise = kinds[kind] = set(row.flags) != expected
        if surprise:
            surprising.append(place)
    shown = [numbers[place] for place in surprising]
    lines = _told(session, view, items, shown, [rows[place] for place in surprising])
    if session.condstore:  # RFC 7162 3.1.3: the new modseq is told all the same
        others = sorted(set(range(len(rows))) - set(surprising))
        left = [numbers[place] for place in others]
        lines += _told(session, view, ("MODSEQ",), left, [rows[place] for place in others])
    return lines


def _told(
    session: SessionState,
    view: MailboxView,
    items: Sequence[FetchItem],
    numbers: Sequence[SeqNum],
    rows: Sequence[MessageRow],
) -> bytes:
    return columns.lines(view, numbers, rows, items, {}, {}, saved={}, uid_only=session.uid_only)


async def expunge(session: SessionState, command: Simple) -> bytes:
    view = session.writable()
    gone = await session.signed_in().expunge(view.mailbox_id)
    session.stale = True
    session.tells_highest = bool(gone)
    return ok("Expunged.")


async def uid_expunge(session: SessionState, command: UidExpunge) -> bytes:
    view = session.writable()
    numbers = session.resolve(command.numbers, by_uid=True)
    if numbers:
        uids = view.uids(numbers)
        gone = await session.signed_in().expunge(view.mailbox_id, uids)
        session.stale = True
        session.tells_highest = bool(gone)
    return ok("Expunged.")
