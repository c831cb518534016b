"""REPLACE (RFC 8508): a new message in the place of an old one, in one step, as mail programs save drafts."""

from __future__ import annotations

from leap.mail.contract import AccountError
from leap.mail.imap.session.append import new_messages
from leap.mail.imap.session.replies import Bad, No, ok, refusal
from leap.mail.imap.session.state import SessionState
from leap.mail.imap.wire.commands import Replace


async def replace(session: SessionState, command: Replace) -> bytes:
    view = session.writable()
    account = session.signed_in()
    numbers = session.resolve(command.numbers, command.by_uid)
    if not numbers:
        if not command.by_uid:
            raise Bad("There is no message with that number.")
        raise No("There is no message with that UID.", b"NONEXISTENT")
    [number] = numbers
    target = await session.find_mailbox(command.mailbox, trycreate=True)
    [new] = new_messages(session, target.mailbox_id, [command.message])
    if view.is_gone(number):
        raise No("The message was expunged.", b"EXPUNGEISSUED")
    try:
        done = await account.replace(view.mailbox_id, view.uid(number), new, target.mailbox_id)
    except AccountError as error:
        session.stale = True
        raise refusal(error, trycreate=True) from None
    session.stale = True
    # RFC 8508 3.4: before EXISTS and EXPUNGE, which follow
    session.untagged(b"OK [APPENDUID %d %d] Replaced" % (done.uid_validity, done.uid))
    session.tells_highest = True
    return ok("Replaced.")
