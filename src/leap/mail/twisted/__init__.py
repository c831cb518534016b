"""`leap.mail` for Twisted: the same names, with Deferreds. `import leap.mail` never imports this.

It needs `leap-mail[twisted]` and Twisted's asyncio reactor; docs/twisted.md shows a complete program.
"""

try:
    import twisted.internet.defer as _defer  # noqa: F401
except ImportError as error:
    raise ImportError(
        "leap.mail.twisted needs Twisted: install it with `pip install 'leap-mail[twisted]'`."
    ) from error

from leap.mail.twisted.account import Account, Message, MessageCollection
from leap.mail.twisted.bridge import WrongReactor, install
from leap.mail.twisted.servers import ImapService, Logins, SmtpService
from leap.mail.twisted.stream import Stream, StreamEnded

__all__ = [
    "Account",
    "ImapService",
    "Logins",
    "Message",
    "MessageCollection",
    "SmtpService",
    "Stream",
    "StreamEnded",
    "WrongReactor",
    "install",
]
