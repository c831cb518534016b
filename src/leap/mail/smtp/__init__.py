"""An SMTP and LMTP server without a mail store of its own: bytes, conversation, sockets."""

from leap.mail.smtp.contract import Envelope, Limits, Session, SmtpConfig, SmtpHandler, Timeouts
from leap.mail.smtp.transport import SmtpServer, serve_smtp
from leap.mail.smtp.wire import Reply

__all__ = [
    "Envelope",
    "Limits",
    "Reply",
    "Session",
    "SmtpConfig",
    "SmtpHandler",
    "SmtpServer",
    "Timeouts",
    "serve_smtp",
]
