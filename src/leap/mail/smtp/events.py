"""What an SMTP conversation asks its surroundings to do or to decide, one thing at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from leap.mail.smtp.auth import Credentials
from leap.mail.smtp.contract import Envelope


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Answer with `authenticated`."""

    credentials: Credentials


@dataclass(frozen=True, slots=True)
class SenderGiven:
    """Answer with `decide`."""

    address: str
    params: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RecipientGiven:
    """Answer with `decide`."""

    address: str


@dataclass(frozen=True, slots=True)
class MailReceived:
    """Answer with `decide`."""

    envelope: Envelope
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StartTls:
    """Send the output, make the handshake, then call `tls_started`; nothing is read until then."""


@dataclass(frozen=True, slots=True)
class Closed:
    """Send the output and close the connection; `agreed` when the client asked for it (QUIT)."""

    agreed: bool = False


Event = Authenticate | SenderGiven | RecipientGiven | MailReceived | StartTls | Closed
