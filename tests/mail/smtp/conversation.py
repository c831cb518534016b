"""A handler that decides by the address, and a way to hold a conversation without sockets."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from leap.mail.smtp import Envelope, Limits, Reply, Session, SmtpConfig, Timeouts
from leap.mail.smtp.events import (
    Authenticate,
    Closed,
    FindVerifiers,
    LoginFailed,
    MailReceived,
    RecipientGiven,
    SenderGiven,
    StartTls,
)
from leap.mail.smtp.scram import ScramAccount, make_verifier
from leap.mail.smtp.session import SmtpDialogue

HOSTNAME = "mx.example.test"
PASSWORD = "sesame"
QUICK = Timeouts(command=5, data=5, auth_failure=0, shutdown=5, linger=0.5)


def config(**changes: object) -> SmtpConfig:
    """The configuration most tests use: everything small, nothing waits."""
    settings = SmtpConfig(hostname=HOSTNAME, max_size=2_000, timeouts=QUICK)
    return replace(settings, **changes)  # type: ignore[arg-type]


@dataclass
class DecidingHandler:
    """Decides by the local part: "no" is unknown, "later" cannot be asked, "full" breaks the storing."""

    mails: list[tuple[str, tuple[str, ...], bytes]] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)
    sessions: list[str] = field(default_factory=list)
    lmtp: bool = False

    def decide_password(self, user: str, password: str) -> str | None:
        return user if password == PASSWORD else None

    def decide_sender(self, address: str) -> Reply | None:
        return Reply(550, "5.7.1", "Not you.") if address.startswith("no@") else None

    def decide_recipient(self, address: str) -> Reply | None:
        if address.startswith("no@"):
            return Reply(550, "5.1.1", "No such user.")
        return Reply(451, "4.3.0", "Cannot look.") if address.startswith("later@") else None

    def decide_mail(self, envelope: Envelope, raw: bytes) -> Reply | list[Reply]:
        if self.lmtp:
            return [self._one(address) for address in envelope.recipients]
        if any(address.startswith("full@") for address in envelope.recipients):
            return Reply(452, "4.3.1", "Full.")
        self.mails.append((envelope.sender, envelope.recipients, raw))
        self.envelopes.append(envelope)
        return Reply(250, "2.0.0", "Kept.")

    def _one(self, address: str) -> Reply:
        return (
            Reply(452, "4.2.2", "Full.") if address.startswith("full@") else Reply(250, "", "Kept.")
        )

    def decide_verifiers(self, user: str) -> ScramAccount:
        salt = b"salt of " + user.encode()
        known = user == "alice"
        return ScramAccount(user, salt, (make_verifier(PASSWORD, salt),) if known else ())

    async def find_verifiers(self, user: str) -> ScramAccount:
        return self.decide_verifiers(user)

    async def authenticate(self, user: str, password: str) -> str | None:
        return self.decide_password(user, password)

    async def sender(
        self, session: Session, address: str, params: Mapping[str, str]
    ) -> Reply | None:
        return self.decide_sender(address)

    async def recipient(self, session: Session, address: str) -> Reply | None:
        return self.decide_recipient(address)

    async def message(
        self, session: Session, envelope: Envelope, raw: bytes
    ) -> Reply | Sequence[Reply]:
        self.sessions.append(session.protocol)
        return self.decide_mail(envelope, raw)


class Conversation:
    """A dialogue whose events are answered by a DecidingHandler. `said` is all that the server said;
    a handshake is done as soon as it is wanted."""

    def __init__(self, settings: SmtpConfig, *, shake_hands: bool = True) -> None:
        self.handler = DecidingHandler(lmtp=settings.lmtp)
        self.session = Session(peer="192.0.2.7")
        self.dialogue = SmtpDialogue(settings, self.session, random=lambda size: b"\0" * size)
        self.said = b""
        self.closed = False
        self._shake_hands = shake_hands
        self._work()

    def hear(self, *pieces: bytes) -> bytes:
        """Gives the pieces to the server one by one; answers what it said to them."""
        before = len(self.said)
        for piece in pieces:
            self.dialogue.receive(piece)
            self._work()
        return self.said[before:]

    def _work(self) -> None:
        dialogue, handler = self.dialogue, self.handler
        while (event := dialogue.next_event()) is not None:
            if isinstance(event, Closed):
                self.closed = True
                break
            if isinstance(event, StartTls):
                if not self._shake_hands:
                    break
                dialogue.tls_started("TLSv1.3")
            elif isinstance(event, Authenticate):
                given = event.credentials
                dialogue.authenticated(handler.decide_password(given.user, given.password))
            elif isinstance(event, FindVerifiers):
                dialogue.verifiers_found(handler.decide_verifiers(event.user))
            elif isinstance(event, LoginFailed):
                dialogue.authenticated(None)
            elif isinstance(event, SenderGiven):
                dialogue.decide(handler.decide_sender(event.address))
            elif isinstance(event, RecipientGiven):
                dialogue.decide(handler.decide_recipient(event.address))
            elif isinstance(event, MailReceived):
                dialogue.decide(handler.decide_mail(event.envelope, event.body.read()))
        self.said += dialogue.take_output()


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    """The data in pieces, cut at these places (modulo its length)."""
    marks = sorted({place % (len(data) + 1) for place in places})
    return [data[a:b] for a, b in zip([0, *marks], [*marks, len(data)], strict=True)]


def tls_context() -> ssl.SSLContext:
    """A context without a certificate: enough for a server to offer STARTTLS."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


SMALL_LIMITS = Limits(
    recipients=3, refused_recipients=3, line=100, errors=5, idle_commands=8, auth_failures=3
)
