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

import os
from collections.abc import Callable, Sequence

from leap.mail.smtp import replies, scram
from leap.mail.smtp.address import BadSyntax, parse_name
from leap.mail.smtp.auth import MECHANISMS, BadExchange, Credentials, decode_answer
from leap.mail.smtp.contract import Session, SmtpConfig
from leap.mail.smtp.events import (
    Authenticate,
    Closed,
    Event,
    FindVerifiers,
    LoginFailed,
    MailReceived,
    RecipientGiven,
    SenderGiven,
    StartTls,
)
from leap.mail.smtp.taking_mail import TakingMail
from leap.mail.smtp.wire import MAX_COMMAND_LINE, Line, Reply, Runaway

# Another protocol, sent here by a web page that the user looks at: commands would follow in the body.
_FOREIGN_VERBS = {"GET", "POST", "PUT", "HEAD", "OPTIONS", "PATCH", "DELETE", "CONNECT", "PRI"}


class SmtpDialogue(TakingMail):
    """One conversation. The greeting is in the output from the beginning."""

    def __init__(
        self,
        config: SmtpConfig,
        session: Session,
        has_room: Callable[[], bool] = lambda: True,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        super().__init__(config, session, has_room, random)
        self._commands: dict[str, Callable[[str], Event | None]] = {
            "MAIL": self._mail,
            "RCPT": self._rcpt,
            "DATA": self._data,
            "BDAT": self._bdat,
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
            if self._chunks is not None:
                if not self._read_chunk(self._chunks):
                    break
                self._cut_off_when_hopeless()
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
        """Answers Authenticate, and LoginFailed with None."""
        if not isinstance(self._asked, Authenticate | LoginFailed):
            raise RuntimeError("there is no log-in to decide")
        self._asked = None
        if principal is None:
            self.auth_failures += 1
            self._say(replies.AUTH_FAILED)
            self._cut_off_when_hopeless()
            return
        self._logged_in(principal)

    def verifiers_found(self, account: scram.ScramAccount) -> None:
        """Answers FindVerifiers."""
        if not isinstance(self._asked, FindVerifiers):
            raise RuntimeError("nobody's verifiers are wanted")
        self._asked = None
        assert isinstance(self._exchange, scram.ScramServer)
        self._say(replies.challenge(self._exchange.use(account)))

    def authentication_unavailable(self) -> None:
        """Answers Authenticate and FindVerifiers when nobody can say who may log in."""
        if not isinstance(self._asked, Authenticate | FindVerifiers):
            raise RuntimeError("there is no log-in to decide")
        self._asked = self._exchange = None
        self._say(replies.AUTH_UNAVAILABLE)

    def _logged_in(self, principal: str) -> None:
        self.session.principal = principal
        self._say(replies.AUTH_OK)

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
        if verb not in ("MAIL", "RCPT", "DATA", "BDAT", "QUIT"):
            self._idle_commands += 1
        return command(argument.rstrip(" "))

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
        if name.upper() not in replies.mechanisms(config):
            return self._wrong(replies.unknown_mechanism(config))
        if name.upper() == scram.NAME:
            self._exchange = scram.ScramServer(self._random)
        else:
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
        if isinstance(step, scram.NotProved):
            return LoginFailed()
        if isinstance(step, scram.Proved):
            self._logged_in(step.principal)
            return None
        self._exchange = exchange
        if isinstance(step, scram.WantsAccount):
            return FindVerifiers(step.user)
        return self._say(replies.challenge(step))

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
