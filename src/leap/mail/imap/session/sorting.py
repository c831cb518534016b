"""SORT and THREAD (RFC 5256, 5957), SORT with RETURN (RFC 5267 3): what is searched for, in an order or as a forest."""

from __future__ import annotations

from leap.mail.contract import AccountError, Uid
from leap.mail.imap.session.replies import No, ok
from leap.mail.imap.session.search import esearch_line, find_messages, returned_of
from leap.mail.imap.session.state import SessionState
from leap.mail.imap.tracker import MailboxView, SeqNum
from leap.mail.imap.wire.sorting import Sort, Thread, format_threads


async def sort(session: SessionState, tag: bytes, command: Sort) -> bytes:
    view = session.selected()
    program = command.program
    saves = program.returns is not None and "SAVE" in program.returns
    try:
        found, unreachable = await find_messages(session, program)
        ordered = await _in_order(session, view, found, command)
        numbers = [view.uid(n) for n in ordered] if command.by_uid else ordered
        returned = returned_of(program, ordered)
        highest = max((view.row(n).modseq for n in returned), default=0) if program.modseq else 0
        if not (saves and len(program.returns or ()) == 1):  # RFC 5182 2.4
            session.untagged(esearch_line(tag, program, numbers, command.by_uid, highest, b"SORT"))
        if unreachable:
            raise unreachable
    except (No, AccountError):
        if saves:  # RFC 5182 2.1
            session.saved = ()
        raise
    if saves:
        session.saved = tuple(sorted(view.uid(n) for n in returned))
    return ok("Sorted.")


async def _in_order(
    session: SessionState, view: MailboxView, found: list[SeqNum], command: Sort
) -> list[SeqNum]:
    """A message that was expunged meanwhile, of which the client was not told, comes last."""
    if not found:
        return []
    numbers = {view.uid(n): n for n in found}
    uids = await session.signed_in().sorted_uids(view.mailbox_id, list(numbers), command.keys)
    ordered = [numbers[uid] for uid in uids]
    if len(ordered) < len(found):
        session.stale = True
        there = set(ordered)
        ordered += [n for n in found if n not in there]
    return ordered


async def thread(session: SessionState, command: Thread) -> bytes:
    view = session.selected()
    found, unreachable = await find_messages(session, command.program)
    line = b"THREAD"
    if found:
        numbers = {view.uid(n): n for n in found}
        lines = await session.signed_in().threaded_uids(
            view.mailbox_id, list(numbers), command.algorithm
        )
        if command.by_uid:
            shown = [(one.depth, one.uid) for one in lines]
        else:
            shown = [(one.depth, numbers[Uid(one.uid)] if one.uid else 0) for one in lines]
        line += b" " + format_threads(shown)
    session.untagged(line)
    if unreachable:
        raise unreachable
    return ok("Threaded.")
