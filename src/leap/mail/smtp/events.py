"""What an SMTP conversation asks its surroundings to do or to decide, one thing at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from leap.mail.delivery_wishes import DeliveryNotice
from leap.mail.smtp.auth import Credentials
from leap.mail.smtp.body import Body
from leap.mail.smtp.contract import Envelope


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Answer with `authenticated`."""

    credentials: Credentials


@dataclass(frozen=True, slots=True)
class FindVerifiers:
    """SCRAM begins. Answer with `verifiers_found`."""

    user: str


@dataclass(frozen=True, slots=True)
class LoginFailed:
    """SCRAM's proof was wrong. Answer with `authenticated(None)`, after a while."""


@dataclass(frozen=True, slots=True)
class SenderGiven:
    """Answer with `decide`."""

    address: str
    params: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RecipientGiven:
    """Answer with `decide`."""

    address: str
    notice: DeliveryNotice = field(default_factory=DeliveryNotice)


@dataclass(frozen=True, slots=True)
class MailReceived:
    """Answer with `decide`."""

    envelope: Envelope
    body: Body = field(repr=False)


@dataclass(frozen=True, slots=True)
class StartTls:
    """Send the output, make the handshake, then call `tls_started`; nothing is read until then."""


@dataclass(frozen=True, slots=True)
class Closed:
    """Send the output and close the connection; `agreed` when the client asked for it (QUIT)."""

    agreed: bool = False


Event = (
    Authenticate
    | FindVerifiers
    | LoginFailed
    | SenderGiven
    | RecipientGiven
    | MailReceived
    | StartTls
    | Closed
)
