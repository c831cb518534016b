"""`leap.mail` for Twisted: the same names, with Deferreds. `import leap.mail` never imports this.

It needs `leap-mail[twisted]` and Twisted's asyncio reactor; docs/twisted.md shows a complete program.
"""

try:
    import twisted.internet.defer as _defer  # noqa: F401
except ImportError as error:
    raise ImportError(
        "leap.mail.twisted needs Twisted: install it with `pip install 'leap-mail[twisted]'`."
    ) from error

from leap.mail.twisted.account import Account
from leap.mail.twisted.bridge import WrongReactor, install
from leap.mail.twisted.draft import Draft
from leap.mail.twisted.found_messages import FoundMessages
from leap.mail.twisted.message import Message
from leap.mail.twisted.message_collection import MessageCollection
from leap.mail.twisted.message_part import MessagePart
from leap.mail.twisted.outbox import Outbox
from leap.mail.twisted.servers import ImapService, Logins, SmtpService
from leap.mail.twisted.stream import Stream, StreamEnded

__all__ = [
    "Account",
    "Draft",
    "FoundMessages",
    "ImapService",
    "Logins",
    "Message",
    "MessageCollection",
    "MessagePart",
    "Outbox",
    "SmtpService",
    "Stream",
    "StreamEnded",
    "WrongReactor",
    "install",
]
