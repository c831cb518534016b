"""What every command of an SMTP conversation needs: octets in and out, what is asked now, and when it is over."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from leap.mail.delivery_wishes import DeliveryNotice
from leap.mail.smtp import replies
from leap.mail.smtp.auth import Mechanism
from leap.mail.smtp.body import Body
from leap.mail.smtp.contract import Session, SmtpConfig
from leap.mail.smtp.events import Event, MailReceived, StartTls
from leap.mail.smtp.scram import ScramServer
from leap.mail.smtp.text import ChunkReader, TextReader
from leap.mail.smtp.wire import LineReader, Reply


@dataclass(slots=True)
class Transaction:
    """A mail on its way, from MAIL on (RFC 5321 3.3)."""

    sender: str
    params: Mapping[str, str]
    recipients: list[str] = field(default_factory=list)
    notices: dict[str, DeliveryNotice] = field(default_factory=dict)
    chunks: ChunkReader | None = None  # from the first BDAT on

    @property
    def smtputf8(self) -> bool:
        return "SMTPUTF8" in self.params


class Turns:
    """The state of a conversation, and what is said in it."""

    def __init__(
        self,
        config: SmtpConfig,
        session: Session,
        has_room: Callable[[], bool] = lambda: True,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._config = config
        self.session = session
        self._has_room = has_room
        self._random = random
        session.lmtp = config.lmtp
        self._input = bytearray()
        self._lines = LineReader(self._input)
        self._text: TextReader | None = None  # after DATA
        self._chunks: ChunkReader | None = None  # after BDAT, until the chunk is whole
        self._exchange: Mechanism | ScramServer | None = None
        self._transaction: Transaction | None = None
        self._asked: Event | None = None  # an event without its answer
        self._ended = False
        self._quitted = False
        self._output: list[bytes] = []
        self._errors = 0
        self._idle_commands = 0
        self._refused_recipients = 0
        self.auth_failures = 0
        self.commands = 0  # lines and mails read so far: says whether the client gets on

    # -- octets ---------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Octets from the client."""
        if not self._ended and not isinstance(self._asked, StartTls):
            self._input += data

    def take_output(self) -> bytes:
        """Octets for the client; they are given once."""
        output = b"".join(self._output)
        self._output.clear()
        return output

    @property
    def waiting(self) -> int:
        """Octets received and not looked at yet."""
        return len(self._input)

    @property
    def reading_mail(self) -> int | None:
        """How much of a mail has come while one is coming, also between its chunks, else None."""
        if self._text is not None:
            return self._text.mail.size
        chunks = self._chunks
        if chunks is None and self._transaction is not None and self._asked is None:
            chunks = self._transaction.chunks
        return None if chunks is None else chunks.mail.size

    @property
    def body(self) -> Body | None:
        """The mail that is coming or waits for a decision; who has a place for it may `spill` it."""
        if isinstance(self._asked, MailReceived):
            return self._asked.body
        if self._text is not None:
            return self._text.mail.body
        chunks = None if self._transaction is None else self._transaction.chunks
        return None if chunks is None else chunks.mail.body

    def end(self, reply: Reply) -> None:
        """Says a last word; the next event is Closed."""
        if not self._ended:
            self._say(reply)
        self._ended = True
        self._asked = None
        self._text = self._chunks = self._transaction = None
        self._input.clear()

    def _cut_off_when_hopeless(self) -> None:
        limits = self._config.limits
        if self._errors > limits.errors:
            self.end(replies.TOO_MANY_ERRORS)
        elif self._idle_commands > limits.idle_commands:
            self.end(replies.TOO_MANY_COMMANDS)
        elif self._refused_recipients > limits.refused_recipients:
            self.end(replies.TOO_MANY_REFUSED)
        elif self.auth_failures >= limits.auth_failures:
            self.end(replies.TOO_MANY_LOGINS)

    def _say(self, reply: Reply) -> Event | None:
        self._output.append(reply.encode())
        return None

    def _wrong(self, reply: Reply) -> Event | None:
        self._errors += 1
        return self._say(reply)
