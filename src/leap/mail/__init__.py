"""leap.mail: receive, keep, read and send mail. Names are imported when first used: `import leap.mail` is light.

What `__all__` names is the public interface; docs/api.md says what that promises.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from leap.mail.version import __version__ as __version__

if TYPE_CHECKING:
    from leap.mail.account import Account
    from leap.mail.answers import PartTree, QueryCount
    from leap.mail.collection import MessageCollection
    from leap.mail.contacts.model import ContactUse
    from leap.mail.contract import (
        AccountError,
        AccountUnavailable,
        Appended,
        Change,
        ContentUnavailable,
        DkimCheck,
        FoundMessage,
        InvalidName,
        MailboxExists,
        MailboxId,
        MailboxInfo,
        MailboxStatus,
        MessageId,
        MessageMetadata,
        MessageRow,
        NewMessage,
        NoSuchMailbox,
        NoSuchMessage,
        NotPermitted,
        OutboxEntry,
        PartSecurity,
        ProviderChecks,
        QueryError,
        RowId,
        SearchResult,
        SecurityStatus,
        SignatureVerdict,
        StorageFull,
        SyncDevice,
        SyncStatus,
        TooLarge,
        TooManyAnnotations,
        Transferred,
        Uid,
    )
    from leap.mail.delivery_wishes import DeliveryNotice, DeliveryWishes
    from leap.mail.draft import Draft
    from leap.mail.envelope import Envelope, Person
    from leap.mail.found_messages import FoundMessages
    from leap.mail.message.new_message import File
    from leap.mail.messages import Message
    from leap.mail.outbox_contract import RecipientResult, SendingRules
    from leap.mail.parts import MessagePart
    from leap.mail.sending import Outbox, OutboxProgress, SyncProgress
    from leap.mail.sent_fields import SentTo
    from leap.mail.threads.model import ThreadId, ThreadSummary

_MODULES = {
    "account": ("Account",),
    "answers": ("PartTree", "QueryCount"),
    "collection": ("MessageCollection",),
    "draft": ("Draft",),
    "envelope": ("Envelope", "Person"),
    "found_messages": ("FoundMessages",),
    "message.new_message": ("File",),
    "messages": ("Message",),
    "parts": ("MessagePart",),
    "contacts.model": ("ContactUse",),
    "outbox_contract": ("RecipientResult", "SendingRules"),
    "delivery_wishes": ("DeliveryNotice", "DeliveryWishes"),
    "sending": ("Outbox", "OutboxProgress", "SyncProgress"),
    "sent_fields": ("SentTo",),
    "threads.model": ("ThreadId", "ThreadSummary"),
}  # all others: `contract`
_HOME = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Account",
    "AccountError",
    "AccountUnavailable",
    "Appended",
    "Change",
    "ContactUse",
    "ContentUnavailable",
    "DeliveryNotice",
    "DeliveryWishes",
    "DkimCheck",
    "Draft",
    "Envelope",
    "File",
    "FoundMessage",
    "FoundMessages",
    "InvalidName",
    "MailboxExists",
    "MailboxId",
    "MailboxInfo",
    "MailboxStatus",
    "Message",
    "MessageCollection",
    "MessageId",
    "MessageMetadata",
    "MessagePart",
    "MessageRow",
    "NewMessage",
    "NoSuchMailbox",
    "NoSuchMessage",
    "NotPermitted",
    "Outbox",
    "OutboxEntry",
    "OutboxProgress",
    "PartSecurity",
    "PartTree",
    "Person",
    "ProviderChecks",
    "QueryCount",
    "QueryError",
    "RecipientResult",
    "RowId",
    "SearchResult",
    "SecurityStatus",
    "SendingRules",
    "SentTo",
    "SignatureVerdict",
    "StorageFull",
    "SyncDevice",
    "SyncProgress",
    "SyncStatus",
    "ThreadId",
    "ThreadSummary",
    "TooLarge",
    "TooManyAnnotations",
    "Transferred",
    "Uid",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"leap.mail.{_HOME.get(name, 'contract')}"), name)
