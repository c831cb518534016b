"""What the server says: every reply of the engine itself, with RFC 3463 codes and a plain sentence."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from leap.mail.smtp import scram
from leap.mail.smtp.address import BadAddress
from leap.mail.smtp.auth import MECHANISMS, encode_challenge
from leap.mail.smtp.contract import SUBMISSION_KEYWORD, Session, SmtpConfig
from leap.mail.smtp.text import TextFault
from leap.mail.smtp.wire import Reply

SENDER_OK = Reply(250, "2.1.0", "Sender accepted.")
RECIPIENT_OK = Reply(250, "2.1.5", "Recipient accepted.")
MAIL_OK = Reply(250, "2.0.0", "Mail accepted.")
GO_AHEAD = Reply(354, "", "Send the mail; end it with a line that holds only a dot.")
RESET = Reply(250, "2.0.0", "Forgotten.")
NOTHING_DONE = Reply(250, "2.0.0", "Done nothing.")
CANNOT_VERIFY = Reply(252, "2.5.0", "Send a mail; it will be tried.")

TLS_READY = Reply(220, "2.0.0", "Begin TLS.")
NO_TLS = Reply(502, "5.5.1", "STARTTLS is not offered here.")
TLS_ALREADY = Reply(503, "5.5.1", "This connection is encrypted already.")
TLS_REQUIRED = Reply(530, "5.7.0", "Encrypt the connection with STARTTLS first.")

AUTH_OK = Reply(235, "2.7.0", "Logged in.")
AUTH_FAILED = Reply(535, "5.7.8", "The user name or the password is wrong.")
AUTH_UNAVAILABLE = Reply(454, "4.7.0", "Log-in cannot be checked now; try again later.")
AUTH_CANCELLED = Reply(501, "5.7.0", "Log-in cancelled.")
AUTH_REQUIRED = Reply(530, "5.7.0", "Log in first.")
AUTH_NEEDS_TLS = Reply(538, "5.7.11", "Encrypt the connection with STARTTLS before logging in.")
AUTH_MISPLACED = Reply(503, "5.5.1", "Log in once, and before a mail begins.")
NO_AUTH = Reply(503, "5.5.1", "There is nothing to log in to here.")

MAIL_FIRST = Reply(503, "5.5.1", "MAIL must come first.")
NESTED_MAIL = Reply(503, "5.5.1", "A mail has begun already; RSET forgets it.")
MAIL_SYNTAX = Reply(501, "5.5.4", "Write MAIL FROM:<address>.")
RCPT_SYNTAX = Reply(501, "5.5.4", "Write RCPT TO:<address>.")
CHUNKS_BEGUN = Reply(503, "5.5.1", "The mail comes by BDAT; finish it so, or RSET.")
BDAT_SYNTAX = Reply(421, "4.5.2", "The size behind BDAT cannot be read; the connection is closed.")
NO_ARGUMENT = Reply(501, "5.5.4", "Nothing may follow this command.")
NO_RECIPIENTS = Reply(554, "5.5.1", "No recipient was accepted.")
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients; send another mail to the rest.")
TOO_MUCH_AT_ONCE = Reply(
    552, "5.3.4", "The mail is too large for so many recipients at once; send it to fewer."
)
NO_ROOM = Reply(452, "4.3.1", "Too much mail is under way here; try again later.")
LOCAL_ERROR = Reply(451, "4.3.0", "Something failed here; try again later.")

NOT_UTF8 = Reply(500, "5.5.2", "The command is not UTF-8.")
LINE_FAULTS = {
    "too-long": Reply(500, "5.5.6", "The line is too long."),
    "bare-line-end": Reply(
        500, "5.5.2", "A bare CR or LF stands in the command; lines end in CR LF."
    ),
    "nul": Reply(500, "5.5.2", "NUL stands in the command."),
}

TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many errors; the connection is closed.")
TOO_MANY_COMMANDS = Reply(421, "4.7.0", "Too many commands and no mail; the connection is closed.")
TOO_MANY_REFUSED = Reply(421, "4.7.0", "Too many unknown recipients; the connection is closed.")
TOO_MANY_LOGINS = Reply(421, "4.7.0", "Too many failed log-ins; the connection is closed.")
TOO_MANY_CONNECTIONS = Reply(421, "4.7.0", "Too many connections; try again later.")
RUNAWAY = Reply(421, "4.7.0", "A line without an end; the connection is closed.")
FOREIGN = Reply(421, "4.7.0", "This is not a web server; the connection is closed.")
FAR_TOO_LARGE = Reply(421, "4.3.4", "The mail is far too large; the connection is closed.")
TIMED_OUT = Reply(421, "4.4.2", "Nothing came for too long; the connection is closed.")
SHUTTING_DOWN = Reply(421, "4.3.2", "The server is being stopped; try again later.")


def greeting(config: SmtpConfig) -> Reply:
    """RFC 5321 4.3.1: the first line of a conversation."""
    return Reply(220, "", f"{config.hostname} {'LMTP' if config.lmtp else 'ESMTP'} leap.mail")


def bye(config: SmtpConfig) -> Reply:
    return Reply(221, "2.0.0", f"{config.hostname} says good-bye.")


def capabilities(config: SmtpConfig, session: Session) -> Reply:
    """RFC 5321 4.1.1.1: the reply to EHLO; AUTH and STARTTLS only where they can be used."""
    words = ["PIPELINING", f"SIZE {config.max_size}", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"]
    words.append("CHUNKING")
    if config.dsn:
        words.append("DSN")
    if config.require_tls and session.tls:  # RFC 8689 2: offered inside TLS only
        words.append("REQUIRETLS")
    if config.tls is not None and not session.tls:
        words.append("STARTTLS")
    if config.auth != "none" and (session.tls or not config.auth_needs_tls):
        words.append(f"AUTH {' '.join(mechanisms(config))}")
    if config.submission_ids:
        words.append(SUBMISSION_KEYWORD)
    return Reply(250, "", "\n".join([config.hostname, *words, "HELP"]))


def mechanisms(config: SmtpConfig) -> list[str]:
    """The ways to log in, the best first."""
    return [*([scram.NAME] if config.scram else []), *MECHANISMS]


def unknown_mechanism(config: SmtpConfig) -> Reply:
    return Reply(504, "5.5.4", f"Log in with one of {', '.join(mechanisms(config))}.")


def chunk_taken(size: int) -> Reply:
    """RFC 3030 2: a chunk that is not the last one."""
    return Reply(250, "2.0.0", f"{size} octets taken.")


def challenge(octets: bytes) -> Reply:
    """The next question of a log-in (RFC 4954 4)."""
    return Reply(334, "", encode_challenge(octets))


def help_text(verbs: Iterable[str]) -> Reply:
    return Reply(214, "2.0.0", f"Commands: {' '.join(verbs)}")


def hello_first(config: SmtpConfig) -> Reply:
    return Reply(503, "5.5.1", f"Say {'LHLO' if config.lmtp else 'EHLO'} first.")


def unknown(verb: str) -> Reply:
    """RFC 5321 4.2.4: 502 for a command that is known and not done here, else 500."""
    if verb in ("EXPN", "SEND", "SOML", "SAML", "TURN", "ETRN", "HELO", "EHLO", "LHLO"):
        return Reply(502, "5.5.1", f"{verb} is not done here.")
    return Reply(500, "5.5.1", "This command is not known.")


def bad_argument(error: ValueError) -> Reply:
    return Reply(501, "5.5.2", str(error))


def bad_path(error: ValueError, whose: Literal["sender", "recipient"]) -> Reply:
    """X.1.7 is a bad sender, X.1.3 a bad recipient (RFC 3463 3.2)."""
    if not isinstance(error, BadAddress):
        return Reply(501, "5.5.4", str(error))
    return Reply(501, "5.1.7" if whose == "sender" else "5.1.3", str(error))


def needs_smtputf8(whose: Literal["sender", "recipient"]) -> Reply:
    return Reply(553, "5.6.7", f"The {whose}'s address is not ASCII; say SMTPUTF8 with MAIL.")


def unknown_parameter(keyword: str) -> Reply:
    return Reply(555, "5.5.4", f"The parameter {keyword} is not known here.")


def bad_parameter(keyword: str) -> Reply:
    return Reply(501, "5.5.4", f"The value of {keyword} cannot be read.")


def too_large(max_size: int) -> Reply:
    mebibytes = f" ({max_size / 1024 / 1024:.0f} MiB)" if max_size >= 1024 * 1024 else ""
    return Reply(552, "5.3.4", f"The mail is over the limit of {max_size} octets{mebibytes}.")


def text_fault(fault: TextFault, config: SmtpConfig) -> Reply:
    """Why the text of a mail is refused; the connection goes on."""
    if fault == "too-large":
        return too_large(config.max_size)
    if fault == "not-kept":
        return NO_ROOM
    if fault == "nul":
        return Reply(554, "5.6.0", "The mail holds a NUL, which no mail may; encode it.")
    if fault == "bare-line-end":
        return Reply(554, "5.6.0", "The mail holds a bare CR or LF; its lines must end in CR LF.")
    return Reply(554, "5.6.0", f"The mail has a line of more than {config.limits.line} octets.")
