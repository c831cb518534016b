"""NOOP, CHECK and IDLE: the moments at which a client only wants to hear (RFC 3501 6.1.2, 6.4.1; RFC 2177)."""

from __future__ import annotations

from leap.mail.imap.session.replies import Bad, ok
from leap.mail.imap.session.state import SessionState
from leap.mail.imap.wire.commands import Simple


async def noop(session: SessionState, command: Simple) -> bytes:
    session.stale = session.view is not None
    return ok("Nothing done.")


async def check(session: SessionState, command: Simple) -> bytes:
    session.selected()
    session.stale = True
    return ok("All is kept.")


async def idle(session: SessionState, tag: bytes) -> None:
    """Answers "+" and tells changes as they come, until the client says DONE."""
    session.signed_in()

    async def done(line: bytes) -> None:
        session.expected_line = None
        session.idling = False

        async def end() -> bytes:
            if line.strip().upper() != b"DONE":
                raise Bad("IDLE ends with DONE.")
            return ok("Idled.")

        await session.complete(tag, end())

    session.expected_line = done
    session.output.write(b"+ idling\r\n")
    await session.output.drain()
    session.idling = True
    await session.tell_now()
