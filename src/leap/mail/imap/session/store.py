"""STORE, EXPUNGE and UID EXPUNGE (RFC 3501 6.4.3, 6.4.6; RFC 4315 2.1)."""

from __future__ import annotations

from leap.mail.imap.session.replies import No, ok
from leap.mail.imap.session.state import SessionState
from leap.mail.imap.wire.commands import Simple, Store, UidExpunge

BATCH = 2_000  # messages changed in one transaction; others get their turn between two


async def store(session: SessionState, command: Store) -> bytes:
    view = session.writable()
    account = session.signed_in()
    numbers = session.resolve(command.numbers, command.by_uid)
    given = {view.spelling(flag) for flag in command.flags}
    missing = False
    for start in range(0, len(numbers), BATCH):
        batch = numbers[start : start + BATCH]
        rows = await account.store_flags(
            view.mailbox_id, [view.uid(n) for n in batch], command.op, sorted(given)
        )
        answered = {row.uid: row for row in rows}
        told = []
        lines = []
        for number in batch:
            row = answered.get(view.uid(number))
            if row is None:
                missing = True
                continue
            had = set(view.row(number).flags)
            expected = {"set": given, "add": had | given, "remove": had - given}[command.op]
            # RFC 3501 6.4.6: .SILENT hides this change, not what others did meanwhile
            if not command.silent or set(row.flags) != expected:
                lines.append((number, row))
            told.append(row)
        view.settle(told)
        if view.take_keywords():
            session.output.write(b"".join(session.flags_lines(view)))
        session.output.write(b"".join(session.flags_of(view, n, row) for n, row in lines))
        await session.output.drain()
    if missing:
        session.stale = True
        if not command.by_uid:
            raise No("Some of the messages were expunged.", b"EXPUNGEISSUED")
    return ok("Flags stored.")


async def expunge(session: SessionState, command: Simple) -> bytes:
    view = session.writable()
    await session.signed_in().expunge(view.mailbox_id)
    session.stale = True
    return ok("Expunged.")


async def uid_expunge(session: SessionState, command: UidExpunge) -> bytes:
    view = session.writable()
    numbers = session.resolve(command.numbers, by_uid=True)
    if numbers:
        await session.signed_in().expunge(view.mailbox_id, [view.uid(n) for n in numbers])
        session.stale = True
    return ok("Expunged.")
