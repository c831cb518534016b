"""LOGIN, AUTHENTICATE PLAIN, ID, ENABLE, CAPABILITY (RFC 3501 6.1, 6.2; RFC 4616, 4959, 2971, 5161).

Invariants: no answer tells an unknown user from a wrong password; every failure waits, longer each time, before
it is answered; passwords are in no text, log line or exception.
"""

from __future__ import annotations

import base64
import binascii

from leap.mail.contract import AccountError
from leap.mail.imap.session.replies import Bad, Goodbye, No, ok, refusal
from leap.mail.imap.session.state import SessionState
from leap.mail.imap.wire.commands import Authenticate, Enable, Id, Login, Simple

# Only what is complete and tested stands here; docs/imap.md names the state of each.
AFTER_LOGIN = (
    b"IMAP4rev1 LITERAL+ SASL-IR ID NAMESPACE CHILDREN IDLE UIDPLUS MOVE UNSELECT SPECIAL-USE "
    b"CREATE-SPECIAL-USE LIST-EXTENDED LIST-STATUS STATUS=SIZE ESEARCH SEARCHRES WITHIN MULTIAPPEND ENABLE "
    b"CONDSTORE QRESYNC OBJECTID PREVIEW SORT SORT=DISPLAY ESORT THREAD=REFERENCES THREAD=ORDEREDSUBJECT "
    b"REPLACE SAVEDATE QUOTA QUOTA=RES-STORAGE BINARY UTF8=ACCEPT PARTIAL UIDONLY INPROGRESS "
    b"METADATA LIST-METADATA NOTIFY IMAP4rev2"
)
BEFORE_LOGIN = b"IMAP4rev1 IMAP4rev2 LITERAL+ SASL-IR ID ENABLE"
CAN_BE_ENABLED = frozenset(
    {"CONDSTORE", "QRESYNC", "UTF8=ACCEPT", "UIDONLY", "METADATA", "IMAP4REV2"}
)
FIRST_DELAY = 0.5  # seconds after the first failure; doubled each time
LONGEST_DELAY = 8.0
MOST_FAILURES = 5  # in one connection; the delays make a sixth try worth less than a new connection


def capabilities(session: SessionState) -> bytes:
    """The list for CAPABILITY, as it is in this state of the session."""
    if session.account is not None:
        return AFTER_LOGIN + b" APPENDLIMIT=%d" % session.limits.message  # RFC 7889
    return BEFORE_LOGIN + (b" AUTH=PLAIN" if session.clear_text_login else b" LOGINDISABLED")


async def capability(session: SessionState, command: Simple) -> bytes:
    session.untagged(b"CAPABILITY " + capabilities(session))
    return ok("That is all.")


async def identify(session: SessionState, command: Id) -> bytes:
    session.untagged(b'ID ("name" "leap.mail")')
    return ok("Pleased to meet you.")


async def enable(session: SessionState, command: Enable) -> bytes:
    """ENABLED names what was asked for and is enabled now; it comes also when that is nothing (RFC 5161 3.1)."""
    session.signed_in()
    known = [name for name in dict.fromkeys(command.names) if name in CAN_BE_ENABLED]
    if not {"CONDSTORE", "QRESYNC"}.isdisjoint(known):
        session.enable_condstore()  # RFC 7162 3.2.3: QRESYNC is nothing without it
    session.enabled.update(known)
    if session.rev2 and session.view is not None:
        session.view.recent.clear()  # nothing is recent any more (RFC 9051 E 12)
    session.watching.annotations |= "METADATA" in known  # RFC 5464 4.1
    told = ["IMAP4rev2" if name == "IMAP4REV2" else name for name in known]
    session.untagged(" ".join(["ENABLED", *told]).encode("ascii"))
    return ok("Enabled." if known else "Nothing of this can be enabled.")


async def login(session: SessionState, command: Login) -> bytes:
    _check_may_log_in(session)
    return await _log_in(session, command.user, command.password)


async def authenticate(session: SessionState, tag: bytes, command: Authenticate) -> None:
    """Answers by itself: without an initial response the client's next line is awaited first."""
    if command.initial is None and command.mechanism == "PLAIN" and _may_log_in(session):

        async def response(line: bytes) -> None:
            session.expected_line = None
            await session.complete(tag, _plain(session, line))

        session.expected_line = response
        session.output.write(b"+ \r\n")
        await session.output.drain()
        return

    async def work() -> bytes:
        _check_may_log_in(session)
        if command.mechanism != "PLAIN":
            raise No("Only PLAIN is known here.", b"CANNOT")
        return await _plain(session, command.initial or b"")

    await session.complete(tag, work())


async def start_tls(session: SessionState, command: Simple) -> bytes:
    raise Bad("TLS is spoken from the first octet, or not at all.")  # RFC 8314 3


def _may_log_in(session: SessionState) -> bool:
    return session.account is None and session.clear_text_login


def _check_may_log_in(session: SessionState) -> None:
    if session.account is not None:
        raise Bad("This connection is logged in already.")
    if not session.clear_text_login:
        raise No("Log in over TLS.", b"PRIVACYREQUIRED")


async def _plain(session: SessionState, response: bytes) -> bytes:
    """message = [authzid] NUL authcid NUL passwd (RFC 4616 2)"""
    if response == b"*":
        raise Bad("Cancelled.")
    try:
        authzid, user, password = (
            part.decode("utf-8")
            for part in base64.b64decode(response, validate=True).split(b"\x00")
        )
    except (binascii.Error, ValueError):
        raise Bad("The response is not what PLAIN sends.") from None
    if authzid not in ("", user):
        return await _failed(session)
    return await _log_in(session, user, password)


async def _log_in(session: SessionState, user: str, password: str) -> bytes:
    try:
        account = await session.authenticator(user, password)
    except AccountError as error:
        raise refusal(error) from None
    if account is None:
        return await _failed(session)
    session.failed_logins = 0
    session.log_in(account)
    return ok("Logged in.", b"CAPABILITY " + capabilities(session))


async def _failed(session: SessionState) -> bytes:
    session.failed_logins += 1
    await session.sleep(min(LONGEST_DELAY, FIRST_DELAY * 2 ** (session.failed_logins - 1)))
    failure = No("The user or the password is wrong.", b"AUTHENTICATIONFAILED")
    if session.failed_logins >= MOST_FAILURES:
        raise Goodbye("Too many failures.", tagged=failure.line())
    raise failure
