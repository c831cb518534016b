"""What a user of the SMTP server gives it: settings, and a handler that decides.

One handler serves one connection. Its methods are called one after the other, in the order of the
client's commands, and what they raise becomes a 451: the client tries again later, nothing is lost.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from leap.mail.delivery_wishes import NO_WISHES, DeliveryWishes
from leap.mail.smtp.scram import ScramAccount
from leap.mail.smtp.wire import Reply

SUBMISSION_KEYWORD = "X-LEAP-SUBMISSION"  # docs/formats: an id that makes a repeated submission one


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. RFC 5321 4.5.3.2.7 asks a server to wait 5 minutes for a command."""

    command: float = 300.0  # from one command to the end of the next
    data: float = 180.0  # between two pieces of a mail (RFC 5321 4.5.3.2.5)
    data_rate: float = 1_024.0  # octets a second; who sends slower than this, plus `data`, is cut
    write: float = 120.0  # for a client to read its replies
    handshake: float = 30.0
    login: float = 180.0  # where a log-in is required: from the connection to it, whatever is said
    linger: float = 1.0  # for a client that is cut off to read the last reply
    auth_failure: float = 1.0  # before the reply to a failed log-in, times the failures so far
    shutdown: float = 3.0  # for transactions under way when the server is closed


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one client may ask for."""

    recipients: int = 1_000  # RFC 5321 4.5.3.1.8 asks for 100 at least
    refused_recipients: int = 100  # in one connection: more is guessing of addresses
    line: int = 1024 * 1024  # octets of a line of text: mail with longer ones than 998 is common
    errors: int = 20  # malformed or misplaced commands between two mails
    idle_commands: int = 200  # commands other than a transaction's between two mails
    auth_failures: int = 3  # in one connection
    memory: int = 512 * 1024 * 1024  # octets of mail held in memory at once by all connections
    spool: int = 4 * 1024 * 1024 * 1024  # octets of mail in files at once
    copied: int | None = (
        None  # octets of a mail times its recipients, where each gets a copy of its own
    )
    large_mails: int = 2  # mails from files that the handler has at once, each whole in memory
    connections: int = 1_000
    strangers: int = 50  # not logged in, where a log-in is required; the oldest gives way
    connections_per_peer: int = 100  # of one network address; a unix socket has no such limit


@dataclass(frozen=True, slots=True)
class SmtpConfig:
    """How a server behaves. `max_size` counts octets of a mail as RFC 1870 does.

    `auth_needs_tls` refuses AUTH before STARTTLS. `submission_ids` offers X-LEAP-SUBMISSION. `scram` offers
    SCRAM-SHA-256: the handler must be a `ScramHandler`. `dsn` and `require_tls` (RFC 3461, RFC 8689) are
    promises which the handler keeps, the second made inside TLS only. Large mails wait in files
    without a name in `spool_folder` (the system's temporary folder by default), encrypted.
    """

    hostname: str
    max_size: int
    tls: ssl.SSLContext | None = None
    implicit_tls: bool = False
    auth: Literal["none", "required", "optional"] = "none"
    auth_needs_tls: bool = True
    lmtp: bool = False
    submission_ids: bool = False
    scram: bool = False
    dsn: bool = False
    require_tls: bool = False
    spool_folder: Path | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: Limits = field(default_factory=Limits)


@dataclass(slots=True)
class Session:
    """What is known of a connection. `peer` is a network address, or "" for a unix socket.

    `tls` is "" or the TLS version; `principal` is what `authenticate` gave.
    """

    peer: str = ""
    helo: str = ""
    extended: bool = False  # EHLO or LHLO, not HELO
    principal: str | None = None
    tls: str = ""
    lmtp: bool = False

    @property
    def protocol(self) -> str:
        """The "with" word of a Received field (RFC 3848, RFC 5321 4.4)."""
        if not self.extended:
            return "SMTP"
        name = "LMTP" if self.lmtp else "ESMTP"
        return name + ("S" if self.tls else "") + ("A" if self.principal is not None else "")


@dataclass(frozen=True, slots=True)
class Envelope:
    """Who sends a mail to whom; "" is the null sender (RFC 5321 4.5.5).

    Recipients are those accepted, each once except for LMTP. `params` are MAIL's, keys in upper case.
    """

    sender: str
    recipients: tuple[str, ...]
    params: Mapping[str, str] = field(default_factory=dict)
    smtputf8: bool = False
    submission_id: str | None = None
    wishes: DeliveryWishes = NO_WISHES


class SmtpHandler(Protocol):
    """Decides what is accepted. None means: yes, with the usual words."""

    async def authenticate(self, user: str, password: str) -> str | None:
        """The principal logged in, or None. Called only where the configuration offers AUTH."""

    async def sender(
        self, session: Session, address: str, params: Mapping[str, str]
    ) -> Reply | None: ...

    async def recipient(self, session: Session, address: str) -> Reply | None: ...

    async def message(
        self, session: Session, envelope: Envelope, raw: bytes
    ) -> Reply | Sequence[Reply]:
        """Takes responsibility for the mail (RFC 5321 6.1) or not; every line of `raw` ends in CR LF.

        For LMTP one reply for each recipient, in order, or one for all of them.
        """
        ...


class ScramHandler(SmtpHandler, Protocol):
    """A handler where SCRAM is offered."""

    async def find_verifiers(self, user: str) -> ScramAccount:
        """For a user who does not exist too: then without verifiers, with a salt that is the same each time."""
        ...
