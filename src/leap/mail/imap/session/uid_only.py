"""UIDONLY (RFC 9586): a session in which messages have uids and no sequence numbers.

Invariants: once enabled it stays; no answer holds a sequence number (EXISTS and RECENT are counts); every command that
would need one is refused before anything of it is done.
"""

from __future__ import annotations

from leap.mail.imap.session.replies import Bad
from leap.mail.imap.wire import commands as wire
from leap.mail.imap.wire.searching import And, Not, Numbers, Or, SearchKey


def check_uids_only(command: wire.Command) -> None:
    """Raises Bad with UIDREQUIRED for a command that names messages by number (RFC 9586 3.2, 3.5, 3.7, 3.8)."""
    by_number = getattr(command, "by_uid", True) is False
    program = getattr(command, "program", None)
    if program is not None and _names_numbers(program.key):
        by_number = True
    if isinstance(command, wire.Select) and command.resync is not None:
        by_number = command.resync.match is not None
    if by_number:
        raise Bad("Here messages are named by their uids only.", b"UIDREQUIRED")


def _names_numbers(key: SearchKey) -> bool:
    match key:
        case Numbers(numbers, by_uid):
            return not by_uid and not numbers.saved
        case And(keys):
            return any(map(_names_numbers, keys))
        case Or(left, right):
            return _names_numbers(left) or _names_numbers(right)
        case Not(inner):
            return _names_numbers(inner)
        case _:
            return False
