"""GETMETADATA and SETMETADATA (RFC 5464): annotations of mailboxes and of the server, which is the account here.

Invariant: /private and /shared are both the person's own, for an account has one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from leap.mail.annotations.rules import MAX_VALUE
from leap.mail.contract import InvalidName, MailboxId, MailboxInfo, TooLarge, TooManyAnnotations
from leap.mail.imap.session.replies import Bad, No, ok
from leap.mail.imap.session.state import SessionState
from leap.mail.imap.wire.metadata import (
    INFINITY,
    GetMetadata,
    SetMetadata,
    format_entry,
    format_place,
    format_value,
)

_READ_ONLY = (
    "/shared/admin"  # of the server; nobody administers it, so it has no value (RFC 5464 3.2.1.1)
)


async def get_metadata(session: SessionState, command: GetMetadata) -> bytes:
    annotations = await session.signed_in().annotations(await _place(session, command.mailbox))
    wanted = _wanted(annotations, command)
    limit = command.max_size
    fits = {
        name: value
        for name, value in wanted.items()
        if value is None or limit is None or len(value) <= limit
    }
    if fits:
        session.untagged(_line(session, command.mailbox, fits))
        await session.output.drain()
    longest = max((len(v) for v in wanted.values() if v is not None), default=0)
    if limit is not None and longest > limit:  # RFC 5464 4.2.1
        return ok("Those that are short enough.", b"METADATA LONGENTRIES %d" % longest)
    return ok("Those are the annotations.")


def _line(session: SessionState, place: str | None, values: Mapping[str, bytes | None]) -> bytes:
    pairs = b" ".join(format_entry(n) + b" " + format_value(v) for n, v in values.items())
    return b"METADATA " + format_place(place, session.utf8) + b" (" + pairs + b")"


async def metadata_line(session: SessionState, info: MailboxInfo, entries: Sequence[str]) -> bytes:
    """METADATA of one mailbox with the entries asked for (RFC 9590 3). Raises NoSuchMailbox."""
    annotations = await session.signed_in().annotations(info.mailbox_id)
    return _line(session, info.name, {entry: annotations.get(entry) for entry in entries})


def _wanted(annotations: Mapping[str, bytes], command: GetMetadata) -> dict[str, bytes | None]:
    """The entries named, with NIL for those without a value, and what lies below them (RFC 5464 4.2.2)."""
    found: dict[str, bytes | None] = {}
    for entry in command.entries:
        if entry in annotations or not command.depth:
            found[entry] = annotations.get(entry)
        if not command.depth:
            continue
        below = entry + "/"
        for name in sorted(annotations):
            deeper = name.startswith(below)
            if deeper and (command.depth == INFINITY or "/" not in name[len(below) :]):
                found[name] = annotations[name]
    return found


async def set_metadata(session: SessionState, command: SetMetadata) -> bytes:
    account = session.signed_in()
    place = await _place(session, command.mailbox)
    values = dict(command.values)
    session.watching.annotated(place, values)
    if command.mailbox is None and _READ_ONLY in values:
        raise No("This annotation cannot be changed.", b"NOPERM")
    try:
        await account.annotate(place, values)
    except InvalidName as error:  # RFC 5464 3.2
        raise Bad(str(error)) from None
    except TooLarge as error:
        raise No(str(error), b"METADATA MAXSIZE %d" % MAX_VALUE) from None
    except TooManyAnnotations as error:
        raise No(str(error), b"METADATA TOOMANY") from None
    return ok("Annotated.")


async def _place(session: SessionState, name: str | None) -> MailboxId | None:
    session.signed_in()
    return None if name is None else (await session.find_mailbox(name)).mailbox_id
