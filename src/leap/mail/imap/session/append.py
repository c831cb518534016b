"""APPEND, of one message or several, and of several commands at once (RFC 3501 6.3.11, RFC 3502, RFC 4315 3)."""

from __future__ import annotations

from collections.abc import Sequence

from leap.mail.contract import AccountError, Appended, MailboxId, NewMessage
from leap.mail.imap.session.replies import Ended, No, ok, refusal
from leap.mail.imap.session.state import SessionState
from leap.mail.imap.wire.commands import Append, AppendedMessage
from leap.mail.imap.wire.numbers import format_set


async def append(session: SessionState, command: Append) -> bytes:
    account = session.signed_in()
    info = await session.find_mailbox(command.mailbox, trycreate=True)
    new = new_messages(session, info.mailbox_id, command.messages)
    try:
        done = await account.append(info.mailbox_id, new)
    except AccountError as error:
        raise refusal(error, trycreate=True) from None
    _note(session, info.mailbox_id, done)
    return _appended(done)


async def append_together(session: SessionState, commands: Sequence[Append]) -> list[bytes | Ended]:
    """What commands to one mailbox, which the client sent without waiting, answer: they share one transaction.

    Each stands for itself all the same: where one cannot be carried out, they are carried out one by one.
    """
    try:
        account = session.signed_in()
        info = await session.find_mailbox(commands[0].mailbox, trycreate=True)
        new = [new_messages(session, info.mailbox_id, command.messages) for command in commands]
        done = await account.append(info.mailbox_id, [one for some in new for one in some])
    except (Ended, AccountError):
        return [await _alone(session, command) for command in commands]
    _note(session, info.mailbox_id, done)
    out: list[bytes | Ended] = []
    first = 0
    for some in new:
        out.append(_appended(done[first : first + len(some)]))
        first += len(some)
    return out


def _note(session: SessionState, mailbox_id: MailboxId, done: Sequence[Appended]) -> None:
    """The session knows of what it added itself."""
    selected = session.is_selected(mailbox_id)
    session.stale |= selected
    session.watching.added(mailbox_id, [one.uid for one in done], selected)


async def _alone(session: SessionState, command: Append) -> bytes | Ended:
    try:
        return await append(session, command)
    except Ended as ended:
        return ended
    except AccountError as error:
        return refusal(error)


def _appended(done: Sequence[Appended]) -> bytes:
    uids = format_set(appended.uid for appended in done)
    return ok("Appended.", b"APPENDUID %d %s" % (done[0].uid_validity, uids))


def new_messages(
    session: SessionState, mailbox_id: MailboxId, messages: Sequence[AppendedMessage]
) -> list[NewMessage]:
    """What the account is to keep; keywords as they are spelled in the mailbox. Raises No."""
    if not all(message.raw for message in messages):
        raise No("A message without an octet is not kept.", b"CANNOT")
    view = session.view if session.is_selected(mailbox_id) else None
    new = []
    for message in messages:
        flags = message.flags if view is None else map(view.spelling, message.flags)
        moment, zone = message.internal_date or (None, 0)
        new.append(NewMessage(raw=message.raw, flags=tuple(flags), internal_date=moment, zone=zone))
    return new
