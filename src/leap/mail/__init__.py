"""leap.mail: receive, keep, read and send mail. Names are imported when first used: `import leap.mail` is light."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leap.mail.account import Account, Message, MessageCollection, MessagePart
    from leap.mail.contract import (
        AccountError,
        AccountUnavailable,
        Change,
        MailboxInfo,
        NewMessage,
        SecurityStatus,
    )

__all__ = [
    "Account",
    "AccountError",
    "AccountUnavailable",
    "Change",
    "MailboxInfo",
    "Message",
    "MessageCollection",
    "MessagePart",
    "NewMessage",
    "SecurityStatus",
]
_IN_ACCOUNT = {"Account", "Message", "MessageCollection", "MessagePart"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(
        import_module("leap.mail.account" if name in _IN_ACCOUNT else "leap.mail.contract"), name
    )
