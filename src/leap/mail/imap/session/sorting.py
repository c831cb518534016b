"""SORT and THREAD (RFC 5256, 5957), SORT with RETURN (RFC 5267 3): what is searched for, in an order or as a forest."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from leap.mail.contract import AccountError, Uid
from leap.mail.imap.session.replies import No, ok
from leap.mail.imap.session.search import esearch_line, find_messages, returned_of
from leap.mail.imap.session.state import SessionState
from leap.mail.imap.tracker import MailboxView
from leap.mail.imap.wire.sorting import Sort, Thread, format_threads

_INLINE = 1_000  # messages; more of them are written outside the event loop


async def sort(session: SessionState, tag: bytes, command: Sort) -> bytes:
    view = session.selected()
    program = command.program
    saves = program.returns is not None and "SAVE" in program.returns
    try:
        found, unreachable = await find_messages(session, program)
        uids = view.uids(found)
        ordered = await _in_order(session, view, uids, command)
        numbers: Sequence[int] = ordered
        if not command.by_uid:
            number_of = dict(zip(uids, found, strict=True))
            numbers = [number_of[uid] for uid in ordered]
        returned = returned_of(program, ordered)
        highest = 0
        if program.modseq:
            rows = (view.row(number) for number in view.find_all(returned))
            highest = max((row.modseq for row in rows), default=0)
        if not (saves and len(program.returns or ()) == 1):  # RFC 5182 2.4
            session.untagged(esearch_line(tag, program, numbers, command.by_uid, highest, b"SORT"))
        if unreachable:
            raise unreachable
    except (No, AccountError):
        if saves:  # RFC 5182 2.1
            session.saved = ()
        raise
    if saves:
        session.saved = tuple(sorted(returned))
    return ok("Sorted.")


async def _in_order(
    session: SessionState, view: MailboxView, uids: list[Uid], command: Sort
) -> list[Uid]:
    """A message that was expunged meanwhile, of which the client was not told, comes last."""
    if not uids:
        return []
    ordered = await session.signed_in().sorted_uids(view.mailbox_id, uids, command.keys)
    if len(ordered) < len(uids):
        session.stale = True
        there = set(ordered)
        ordered = [*ordered, *(uid for uid in uids if uid not in there)]
    return ordered


async def thread(session: SessionState, command: Thread) -> bytes:
    view = session.selected()
    found, unreachable = await find_messages(session, command.program)
    line = b"THREAD"
    if found:
        uids = view.uids(found)
        lines = await session.signed_in().threaded_uids(view.mailbox_id, uids, command.algorithm)
        number_of: dict[int, int] = {0: 0}
        number_of.update(zip(uids, uids if command.by_uid else found, strict=True))
        shown = [(one.depth, number_of[one.uid]) for one in lines]
        if len(shown) <= _INLINE:
            line += b" " + format_threads(shown)
        else:
            line += b" " + await asyncio.to_thread(format_threads, shown)
    session.untagged(line)
    if unreachable:
        raise unreachable
    return ok("Threaded.")
