"""STORE, EXPUNGE and UID EXPUNGE (RFC 3501 6.4.3, 6.4.6; RFC 4315 2.1; RFC 7162 3.1.3, 3.2.7, 3.2.9)."""

from __future__ import annotations

from leap.mail.contract import ModSeq
from leap.mail.imap.session.replies import No, ok
from leap.mail.imap.session.state import SessionState
from leap.mail.imap.wire.commands import Simple, Store, UidExpunge
from leap.mail.imap.wire.numbers import format_set

BATCH = 2_000  # messages changed in one transaction; others get their turn between two


async def store(session: SessionState, command: Store) -> bytes:
    view = session.writable()
    account = session.signed_in()
    numbers = session.resolve(command.numbers, command.by_uid)
    unchanged_since = None
    if command.unchanged_since is not None:
        session.enable_condstore()
        unchanged_since = ModSeq(command.unchanged_since)
    given = {view.spelling(flag) for flag in command.flags}
    missing = False
    modified: list[int] = []
    if session.progress is not None:
        session.progress.expect(len(numbers))
    for start in range(0, len(numbers), BATCH):
        batch = numbers[start : start + BATCH]
        uids = [view.uid(n) for n in batch]
        done = await account.store_flags(
            view.mailbox_id, uids, command.op, sorted(given), unchanged_since
        )
        answered = {row.uid: row for row in done.rows}
        changed_by_others = set(done.modified)
        told = []
        lines = []
        for number in batch:
            uid = view.uid(number)
            row = answered.get(uid)
            if row is None:
                gone = uid not in changed_by_others
                missing |= gone
                # RFC 7162 3.1.3: an expunged message counts as modified where its number was named
                if not gone or (unchanged_since is not None and not command.by_uid):
                    modified.append(uid if command.by_uid else number)
                continue
            had = set(view.row(number).flags)
            expected = {"set": given, "add": had | given, "remove": had - given}[command.op]
            # RFC 3501 6.4.6: .SILENT hides this change, not what others did meanwhile
            if not command.silent or set(row.flags) != expected:
                lines.append(session.flags_of(view, number, row))
            elif session.condstore:  # RFC 7162 3.1.3: the new modseq is told all the same
                head = session.answer_head(number, uid)
                lines.append(head + b" MODSEQ (%d))\r\n" % row.modseq)
            told.append(row)
        view.settle(told)
        if view.take_keywords():
            session.output.write(b"".join(session.flags_lines(view)))
        session.output.write(b"".join(lines))
        await session.output.drain()
        if session.progress is not None:
            session.progress.advance(len(batch))
    if missing or modified:
        session.stale = True
    code = b"MODIFIED " + format_set(modified) if modified else None
    if missing and not command.by_uid:
        raise No("Some of the messages were expunged.", code or b"EXPUNGEISSUED")
    return ok("Flags stored." if code is None else "Others changed some messages.", code)


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
        uids = [view.uid(n) for n in numbers]
        gone = await session.signed_in().expunge(view.mailbox_id, uids)
        session.stale = True
        session.tells_highest = bool(gone)
    return ok("Expunged.")
