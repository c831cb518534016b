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
    from leap.mail.sending import Outbox, OutboxProgress, SyncProgress

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
    "Outbox",
    "OutboxProgress",
    "SecurityStatus",
    "SyncProgress",
]
_ELSEWHERE = {
    **dict.fromkeys(("Account", "Message", "MessageCollection", "MessagePart"), "account"),
    **dict.fromkeys(("Outbox", "OutboxProgress", "SyncProgress"), "sending"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"leap.mail.{_ELSEWHERE.get(name, 'contract')}"), name)
