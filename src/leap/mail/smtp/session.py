"""The server's side of an SMTP or LMTP conversation as a state machine without IO.

`receive` takes octets, `next_event` says what to decide next, an answer method carries the decision
back, `take_output` gives octets to send. Nothing is parsed between an event and its answer, so
pipelined commands (RFC 2920) are answered in order, and the outcome does not depend on the pieces in
which the octets arrive.

Invariants:
* What arrives between STARTTLS and the end of the handshake is thrown away, and so is all that was
  said before (RFC 3207 4.2): nobody can put commands in front of an encrypted conversation.
* Every command gets exactly one reply; a mail gets one, or one for each recipient (RFC 2033 4.2).
* A mail is handed on only when it came whole, and 250 comes only from the handler's answer.
* A client that only makes mistakes, asks for nothing, or guesses passwords or addresses is cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from leap.mail.smtp import replies
from leap.mail.smtp.address import BadAddress, BadSyntax, is_ascii, parse_name, parse_path
from leap.mail.smtp.auth import MECHANISMS, BadExchange, Credentials, Mechanism, decode_answer
from leap.mail.smtp.contract import SUBMISSION_KEYWORD, Envelope, Session, SmtpConfig
from leap.mail.smtp.events import (
    Authenticate,
    Closed,
    Event,
    MailReceived,
    RecipientGiven,
    SenderGiven,
    StartTls,
)
from leap.mail.smtp.parameters import check_parameters
from leap.mail.smtp.wire import (
    MAX_COMMAND_LINE,
    Line,
    LineReader,
    Reply,
    Runaway,
    Text,
    TextReader,
)

FAR_OVER = 64 * 1024 * 1024  # octets over twice the limit: a sender who does not stop is stopped
# Another protocol, sent here by a web page that the user looks at: commands would follow in the body.
_FOREIGN_VERBS = {"GET", "POST", "PUT", "HEAD", "OPTIONS", "PATCH", "DELETE", "CONNECT", "PRI"}


@dataclass(slots=True)
class _Transaction:
    sender: str
    params: Mapping[str, str]
    recipients: list[str] = field(default_factory=list)

    @property
    def smtputf8(self) -> bool:
        return "SMTPUTF8" in self.params


class SmtpDialogue:
    """One conversation. The greeting is in the output from the beginning."""

    def __init__(
        self, config: SmtpConfig, session: Session, has_room: Callable[[], bool] = lambda: True
    ) -> None:
        self._config = config
        self.session = session
        self._has_room = has_room
        session.lmtp = config.lmtp
        self._input = bytearray()
        self._lines = LineReader(self._input)
        self._text: TextReader | None = None
        self._exchange: Mechanism | None = None
        self._transaction: _Transaction | None = None
        self._asked: Event | None = None  # an event without its answer
        self._ended = False
        self._quitted = False
        self._output: list[bytes] = []
        self._errors = 0
        self._idle_commands = 0
        self._refused_recipients = 0
        self.auth_failures = 0
        self.commands = 0  # lines and mails read so far: says whether the client gets on
        self._commands: dict[str, Callable[[str], Event | None]] = {
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "RSET": self._rset,
            "NOOP": self._noop,
            "QUIT": self._quit,
            "VRFY": self._vrfy,
            "HELP": self._help,
            "AUTH": self._auth,
            "STARTTLS": self._starttls,
        }
        hello = {"LHLO": self._ehlo} if config.lmtp else {"EHLO": self._ehlo, "HELO": self._helo}
        self._commands.update(hello)
        self._say(replies.greeting(config))

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
        """How much of a mail has come while one is coming, else None."""
        return None if self._text is None else self._text.size

    @property
    def mail_held(self) -> int:
        """Octets of mail in memory here."""
        if isinstance(self._asked, MailReceived):
            return len(self._asked.raw)
        return 0 if self._text is None else min(self._text.size, self._config.max_size)

    # -- events ---------------------------------------------------------------------------------

    def next_event(self) -> Event | None:
        """What to do next; None when more octets are needed. The same again until it is answered."""
        while self._asked is None:
            if self._ended:
                return Closed(self._quitted)
            if self._text is not None:
                if not self._read_text(self._text):
                    break
                continue
            line = self._lines.next_line()
            if line is None:
                break
            self.commands += 1
            self._asked = self._read_line(line)
            self._cut_off_when_hopeless()
        return self._asked

    def decide(self, reply: Reply | Sequence[Reply] | None) -> None:
        """Answers SenderGiven, RecipientGiven and MailReceived."""
        asked, self._asked = self._asked, None
        single = reply if isinstance(reply, Reply) or reply is None else None
        if isinstance(asked, SenderGiven):
            self._sender_decided(asked, single or replies.SENDER_OK)
        elif isinstance(asked, RecipientGiven):
            self._recipient_decided(asked, single or replies.RECIPIENT_OK)
        elif isinstance(asked, MailReceived):
            self._mail_decided(reply)
        else:
            raise RuntimeError("there is nothing to decide")
        self._cut_off_when_hopeless()

    def authenticated(self, principal: str | None) -> None:
        """Answers Authenticate."""
        if not isinstance(self._asked, Authenticate):
            raise RuntimeError("there is no log-in to decide")
        self._asked = None
        if principal is None:
            self.auth_failures += 1
            self._say(replies.AUTH_FAILED)
            self._cut_off_when_hopeless()
            return
        self.session.principal = principal
        self._say(replies.AUTH_OK)

    def authentication_unavailable(self) -> None:
        """Answers Authenticate when nobody can say whether the credentials are right."""
        if not isinstance(self._asked, Authenticate):
            raise RuntimeError("there is no log-in to decide")
        self._asked = None
        self._say(replies.AUTH_UNAVAILABLE)

    def tls_started(self, version: str) -> None:
        """The handshake is done: the conversation begins anew (RFC 3207 4.2)."""
        if not isinstance(self._asked, StartTls):
            raise RuntimeError("there was no STARTTLS")
        self._asked = None
        self.session.tls = version
        self.session.helo = ""
        self.session.extended = False
        self.session.principal = None
        self._transaction = None

    def end(self, reply: Reply) -> None:
        """Says a last word; the next event is Closed."""
        if not self._ended:
            self._say(reply)
        self._ended = True
        self._asked = None
        self._input.clear()

    # -- lines ----------------------------------------------------------------------------------

    def _read_line(self, line: Line | Runaway) -> Event | None:
        if isinstance(line, Runaway):
            self.end(replies.RUNAWAY)
            return None
        if line.fault:
            self._exchange = None
            return self._wrong(replies.LINE_FAULTS[line.fault])
        if self._exchange is not None:
            return self._auth_answer(line.content)
        return self._command(line.content)

    def _command(self, content: bytes) -> Event | None:
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError:
            return self._wrong(replies.NOT_UTF8)
        verb, _, argument = text.partition(" ")
        verb = verb.upper()
        if verb in _FOREIGN_VERBS:
            self.end(replies.FOREIGN)
            return None
        if len(content) > MAX_COMMAND_LINE and verb != "AUTH":
            return self._wrong(replies.LINE_FAULTS["too-long"])
        command = self._commands.get(verb)
        if command is None:
            return self._wrong(replies.unknown(verb))
        if verb not in ("MAIL", "RCPT", "DATA", "QUIT"):
            self._idle_commands += 1
        return command(argument.rstrip(" "))

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

    # -- HELO, EHLO, STARTTLS, AUTH -------------------------------------------------------------

    def _hello(self, argument: str, extended: bool) -> bool:
        try:
            name = parse_name(argument)
        except BadSyntax as error:
            self._wrong(replies.bad_argument(error))
            return False
        self.session.helo = name
        self.session.extended = extended
        self._transaction = None  # RFC 5321 4.1.4
        return True

    def _helo(self, argument: str) -> Event | None:
        if not self._hello(argument, extended=False):
            return None
        return self._say(Reply(250, "", self._config.hostname))

    def _ehlo(self, argument: str) -> Event | None:
        if not self._hello(argument, extended=True):
            return None
        return self._say(replies.capabilities(self._config, self.session))

    def _starttls(self, argument: str) -> Event | None:
        if self._config.tls is None:
            return self._wrong(replies.NO_TLS)
        if self.session.tls:
            return self._wrong(replies.TLS_ALREADY)
        if argument:
            return self._wrong(replies.NO_ARGUMENT)
        self._input.clear()
        self._lines.reset()
        self._say(replies.TLS_READY)
        return StartTls()

    def _auth(self, argument: str) -> Event | None:
        config, session = self._config, self.session
        if config.auth == "none":
            return self._wrong(replies.NO_AUTH)
        if not session.extended:
            return self._wrong(replies.hello_first(config))
        if session.principal is not None or self._transaction is not None:
            return self._wrong(replies.AUTH_MISPLACED)
        if config.auth_needs_tls and not session.tls:
            return self._wrong(replies.AUTH_NEEDS_TLS)
        name, _, initial = argument.partition(" ")
        if name.upper() not in MECHANISMS:
            return self._wrong(replies.UNKNOWN_MECHANISM)
        self._exchange = MECHANISMS[name.upper()]()
        if initial:
            return self._auth_answer(initial.encode())
        return self._say(replies.challenge(self._exchange.first()))

    def _auth_answer(self, answer: bytes) -> Event | None:
        exchange, self._exchange = self._exchange, None
        assert exchange is not None
        if answer == b"*":  # RFC 4954 4
            return self._wrong(replies.AUTH_CANCELLED)
        try:
            step = exchange.step(decode_answer(answer))
        except BadExchange as error:
            return self._wrong(replies.bad_argument(error))
        if isinstance(step, Credentials):
            return Authenticate(step)
        self._exchange = exchange
        return self._say(replies.challenge(step))

    # -- MAIL, RCPT, DATA -----------------------------------------------------------------------

    def _mail(self, argument: str) -> Event | None:
        config, session = self._config, self.session
        if not session.helo:
            return self._wrong(replies.hello_first(config))
        if config.auth == "required" and session.principal is None:
            needs_tls = config.auth_needs_tls and not session.tls
            return self._wrong(replies.TLS_REQUIRED if needs_tls else replies.AUTH_REQUIRED)
        if self._transaction is not None:
            return self._wrong(replies.NESTED_MAIL)
        if argument[:5].upper() != "FROM:":
            return self._wrong(replies.MAIL_SYNTAX)
        try:
            address, params = parse_path(argument[5:])
        except BadSyntax as error:
            return self._wrong(replies.bad_path(error, "sender"))
        if refusal := check_parameters(params, config, session):
            return self._wrong(refusal)
        if not is_ascii(address) and "SMTPUTF8" not in params:
            return self._wrong(replies.needs_smtputf8("sender"))
        if int(params.get("SIZE", "0")) > config.max_size:
            return self._say(replies.too_large(config.max_size))
        return SenderGiven(address, params)

    def _sender_decided(self, asked: SenderGiven, reply: Reply) -> None:
        if reply.positive:
            self._transaction = _Transaction(asked.address, asked.params)
        self._say(reply)

    def _rcpt(self, argument: str) -> Event | None:
        transaction = self._transaction
        if transaction is None:
            return self._wrong(replies.MAIL_FIRST)
        if argument[:3].upper() != "TO:":
            return self._wrong(replies.RCPT_SYNTAX)
        try:
            address, params = parse_path(argument[3:])
            if not address:
                raise BadAddress("There is no recipient.")
        except BadSyntax as error:
            return self._wrong(replies.bad_path(error, "recipient"))
        if params:
            return self._wrong(replies.unknown_parameter(next(iter(params))))
        if not is_ascii(address) and not transaction.smtputf8:
            return self._wrong(replies.needs_smtputf8("recipient"))
        if len(transaction.recipients) >= self._config.limits.recipients:
            return self._say(replies.TOO_MANY_RECIPIENTS)
        return RecipientGiven(address)

    def _recipient_decided(self, asked: RecipientGiven, reply: Reply) -> None:
        assert self._transaction is not None
        recipients = self._transaction.recipients
        if not reply.positive:
            self._refused_recipients += 1
        elif self._config.lmtp or asked.address not in recipients:
            recipients.append(asked.address)
        self._say(reply)

    def _data(self, argument: str) -> Event | None:
        if self._transaction is None:
            return self._wrong(replies.MAIL_FIRST)
        if argument:
            return self._wrong(replies.NO_ARGUMENT)
        if not self._transaction.recipients:
            return self._wrong(replies.NO_RECIPIENTS)
        if not self._has_room():
            return self._say(replies.NO_ROOM)
        self._text = TextReader(self._config.max_size, self._config.limits.line)
        return self._say(replies.GO_AHEAD)

    def _read_text(self, reader: TextReader) -> bool:
        """Reads on; False when more octets are needed."""
        text = reader.feed(self._input)
        if reader.size > 2 * self._config.max_size + FAR_OVER:
            self.end(replies.FAR_TOO_LARGE)
            return True
        if text is None:
            return False
        self._text = None
        self.commands += 1
        self._asked = self._mail_came(text)
        return True

    def _mail_came(self, text: Text) -> Event | None:
        transaction = self._transaction
        assert transaction is not None
        if text.fault is not None:
            self._mail_answered(replies.text_fault(text.fault, self._config))
            return None
        submission_id = transaction.params.get(SUBMISSION_KEYWORD)
        return MailReceived(
            Envelope(
                transaction.sender,
                tuple(transaction.recipients),
                transaction.params,
                transaction.smtputf8,
                submission_id,
            ),
            text.content,
        )

    def _mail_decided(self, reply: Reply | Sequence[Reply] | None) -> None:
        if isinstance(reply, Reply):
            self._mail_answered(reply)
        elif not reply:
            self._mail_answered(replies.MAIL_OK)
        elif not self._config.lmtp:
            self._mail_answered(next((one for one in reply if not one.positive), reply[0]))
        else:
            self._mail_answered(*reply)

    def _mail_answered(self, *answers: Reply) -> None:
        transaction = self._transaction
        assert transaction is not None
        self._transaction = None
        if self._config.lmtp:  # RFC 2033 4.2: one for each recipient, in order
            wanted = len(transaction.recipients)
            if len(answers) != wanted:
                answers = (answers if len(answers) == 1 else (replies.LOCAL_ERROR,)) * wanted
        for answer in answers:
            self._say(answer)
        if any(answer.positive for answer in answers):
            self._errors = 0
            self._idle_commands = 0

    # -- the rest -------------------------------------------------------------------------------

    def _rset(self, argument: str) -> Event | None:
        if argument:
            return self._wrong(replies.NO_ARGUMENT)
        self._transaction = None
        return self._say(replies.RESET)

    def _noop(self, argument: str) -> Event | None:
        return self._say(replies.NOTHING_DONE)

    def _quit(self, argument: str) -> Event | None:
        if argument:
            return self._wrong(replies.NO_ARGUMENT)
        self._quitted = True
        self.end(replies.bye(self._config))
        return None

    def _vrfy(self, argument: str) -> Event | None:
        return self._say(replies.CANNOT_VERIFY)  # RFC 5321 7.3: says nothing of who exists

    def _help(self, argument: str) -> Event | None:
        return self._say(replies.help_text(sorted(self._commands)))
