"""COPY and MOVE (RFC 3501 6.4.7, RFC 6851, RFC 4315 3)."""

from __future__ import annotations

from leap.mail.contract import AccountError
from leap.mail.imap.session.replies import No, ok, refusal
from leap.mail.imap.session.state import SessionState
from leap.mail.imap.wire.commands import Transfer
from leap.mail.imap.wire.numbers import format_set


async def transfer(session: SessionState, command: Transfer) -> bytes:
    view = session.writable() if command.move else session.selected()
    account = session.signed_in()
    numbers = session.resolve(command.numbers, command.by_uid)
    target = await session.find_mailbox(command.mailbox, trycreate=True)
    if not numbers:
        return ok("There was nothing to move." if command.move else "There was nothing to copy.")
    if not view.are_there(numbers):
        # RFC 3501 6.4.7: all or nothing
        raise No("Some of the messages were expunged.", b"EXPUNGEISSUED")
    uids = view.uids(numbers)
    verb = account.move if command.move else account.copy
    try:
        done = await verb(view.mailbox_id, uids, target.mailbox_id)
    except AccountError as error:
        raise refusal(error, trycreate=True) from None
    if command.move or session.is_selected(target.mailbox_id):
        session.stale = True
    if not done.source:
        session.stale = True
        raise No("The messages were expunged.", b"EXPUNGEISSUED")
    selected = session.is_selected(target.mailbox_id)
    session.watching.added(target.mailbox_id, done.target, selected)
    code = b"COPYUID %d %s %s" % (
        done.uid_validity,
        format_set(done.source),
        format_set(done.target),
    )
    if command.move:
        session.untagged(b"OK [" + code + b"] Moved")  # RFC 6851 4.3: before the EXPUNGEs
        session.tells_highest = True
        return ok("Moved.")
    return ok("Copied.", code)
