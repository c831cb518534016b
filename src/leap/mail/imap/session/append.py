"""APPEND, of one message or several, and of several commands at once (RFC 3501 6.3.11, RFC 3502, RFC 4315 3)."""

from __future__ import annotations

from collections.abc import Sequence

from leap.mail.contract import AccountError, Appended, MailboxInfo, NewMessage
from leap.mail.imap.session.replies import Ended, No, ok, refusal
from leap.mail.imap.session.state import SessionState
from leap.mail.imap.wire.commands import Append
from leap.mail.imap.wire.numbers import format_set


async def append(session: SessionState, command: Append) -> bytes:
    account = session.signed_in()
    info = await session.find_mailbox(command.mailbox, trycreate=True)
    new = _new_messages(session, info, command)
    try:
        done = await account.append(info.mailbox_id, new)
    except AccountError as error:
        raise refusal(error, trycreate=True) from None
    if session.is_selected(info.mailbox_id):
        session.stale = True
    return _appended(done)


async def append_together(session: SessionState, commands: Sequence[Append]) -> list[bytes | Ended]:
    """What commands to one mailbox, which the client sent without waiting, answer: they share one transaction.

    Each stands for itself all the same: where one cannot be carried out, they are carried out one by one.
    """
    try:
        account = session.signed_in()
        info = await session.find_mailbox(commands[0].mailbox, trycreate=True)
        new = [_new_messages(session, info, command) for command in commands]
        done = await account.append(info.mailbox_id, [one for some in new for one in some])
    except (Ended, AccountError):
        return [await _alone(session, command) for command in commands]
    if session.is_selected(info.mailbox_id):
        session.stale = True
    out: list[bytes | Ended] = []
    first = 0
    for some in new:
        out.append(_appended(done[first : first + len(some)]))
        first += len(some)
    return out


async def _alone(session: SessionState, command: Append) -> bytes | Ended:
    try:
        return await append(session, command)
    except Ended as ended:
        return ended
    except AccountError as error:
        return refusal(error)


def _new_messages(session: SessionState, info: MailboxInfo, command: Append) -> list[NewMessage]:
    if not all(message.raw for message in command.messages):
        raise No("A message without an octet is not kept.", b"CANNOT")
    view = session.view if session.is_selected(info.mailbox_id) else None
    new = []
    for message in command.messages:
        flags = message.flags if view is None else map(view.spelling, message.flags)
        moment, zone = message.internal_date or (None, 0)
        new.append(NewMessage(raw=message.raw, flags=tuple(flags), internal_date=moment, zone=zone))
    return new


def _appended(done: Sequence[Appended]) -> bytes:
    uids = format_set(appended.uid for appended in done)
    return ok("Appended.", b"APPENDUID %d %s" % (done[0].uid_validity, uids))
