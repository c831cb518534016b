"""What a mail account offers to IMAP, incoming, outgoing, the CLI and every other user of it.

One contract, three implementations which pass one conformance suite: `leap.mail.memory`, `leap.mail.local`
(on Soledad) and `leap.mail.remote` (the same over the daemon's unix socket). All arguments and results
are plain values, so that they can travel. `leap.mail.account` puts the comfortable objects on top.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Literal, NewType, Protocol

import msgspec

from leap.mail.answers import AccountSpace, PartTree, QueryCount
from leap.mail.contacts.model import ContactUse
from leap.mail.outbox_contract import OutboxBackend
from leap.mail.outbox_contract import OutboxEntry as OutboxEntry
from leap.mail.sorting.model import SortKey, ThreadAlgorithm, ThreadLine
from leap.mail.threads.model import ThreadId, ThreadSummary

MailboxId = NewType("MailboxId", str)
RowId = NewType("RowId", str)  # one message in one mailbox; a copy is another row
MessageId = NewType("MessageId", str)  # the message, the same in all its rows and on all devices
Uid = NewType("Uid", int)  # RFC 9051 2.3.1.1
ModSeq = NewType("ModSeq", int)  # RFC 7162 3.1, one counter a mailbox

INBOX = MailboxId("inbox")  # fixed, as are the ids of the special-use mailboxes below
Topic = Literal["messages", "mailboxes", "outbox", "sync", "annotations"]
FlagOp = Literal["set", "add", "remove"]
SearchedText = Literal["text", "body", "from", "to", "cc", "bcc", "subject"]  # RFC 9051 6.4.4
SPECIAL_USE = {  # RFC 6154: id -> (name at first, attribute)
    MailboxId("archive"): ("Archive", "\\Archive"),
    MailboxId("drafts"): ("Drafts", "\\Drafts"),
    MailboxId("junk"): ("Junk", "\\Junk"),
    MailboxId("sent"): ("Sent", "\\Sent"),
    MailboxId("trash"): ("Trash", "\\Trash"),
}


class Value(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all values that travel."""


class MailboxInfo(Value, frozen=True, kw_only=True):
    """`name` uses "/" between levels; the one whose id is `INBOX` is always called INBOX."""

    mailbox_id: MailboxId
    name: str
    special_use: str | None = None
    subscribed: bool = True


class MailboxStatus(Value, frozen=True, kw_only=True):
    mailbox_id: MailboxId
    uid_validity: int  # 1..2^32-1, RFC 9051 2.3.1.1
    uid_next: Uid
    messages: int
    unseen: int
    recent: int
    size: int
    highest_modseq: ModSeq


class MessageRow(
    Value, frozen=True, kw_only=True, gc=False
):  # many: the collector need not walk them
    """One message in a mailbox, as a list of messages shows it; flags hold system flags and keywords."""

    row_id: RowId
    message_id: MessageId
    uid: Uid
    modseq: ModSeq
    flags: tuple[str, ...]
    size: int  # octets of what `read` gives
    internal_date: int  # seconds since 1970, UTC
    zone: int = 0  # minutes east of UTC, for INTERNALDATE


class SignatureVerdict(Value, frozen=True, kw_only=True):
    """One signature: `state` is its truth, `fingerprint` the signing key when known.

    `level`: how well the key was known as the sender's when the mail came, a word of `leap.keymanager.trust.Level`;
    empty when it was not known as theirs.
    """

    state: Literal["good", "bad", "unknown-key", "expired", "revoked", "weak", "not-from"]
    fingerprint: str = ""
    signer: str = ""
    created: int = 0
    reason: str = ""
    level: str = ""


class PartSecurity(Value, frozen=True, kw_only=True):
    """What a layer below the top of a message covers: one part and what it holds, and nothing beside it.

    `section` names the part in the message as it is served, as BODY[section] does (RFC 9051 6.4.5.1).
    """

    section: str
    encryption: Literal["end-to-end", "undecryptable", "none"]
    signatures: tuple[SignatureVerdict, ...] = ()
    note: str = ""


class DkimCheck(Value, frozen=True, kw_only=True):
    """One DKIM signature as the provider judged it: a result of RFC 8601 2.7.1, and who signed (d=)."""

    result: str
    domain: str = ""


class ProviderChecks(Value, frozen=True, kw_only=True):
    """What the provider says it found when it took a mail in; its word only ("according to your provider").

    Words of RFC 8601 2.7: "pass", "fail", "softfail", "neutral", "none", "policy", "temperror", "permerror".
    `submitter`: the account of the same provider that wrote the mail, logged in; such mail is not checked further.
    """

    spf: str = "none"
    spf_domain: str = ""
    dkim: tuple[DkimCheck, ...] = ()
    dmarc: str = "none"
    dmarc_domain: str = ""
    policy: str = (
        ""  # what the From's domain asks for when DMARC fails: "none", "quarantine", "reject"
    )
    submitter: str = ""


class SecurityStatus(Value, frozen=True, kw_only=True):
    """What a person may believe of a message, found once, at arrival.

    `encryption`: "end-to-end" (OpenPGP, by the sender), "provider" (sealed on arrival only: received through
    the provider, unauthenticated), "undecryptable", "local" (put here by the person: APPEND, import), "none".
    `signatures` are those that cover all that is shown; what layers further in cover is in `parts`.
    `headers_protected`: the From, Subject and other fields that are shown stood within what is encrypted or signed
    (RFC 9788); without it, whoever passed the mail on could have written them.
    `headers_differ`: lower-case names of protected header fields which said something else outside.
    `html`: the encrypted content has HTML, which a mail program should show without loading anything.
    """

    encryption: Literal["end-to-end", "provider", "undecryptable", "local", "none"]
    signatures: tuple[SignatureVerdict, ...] = ()
    note: str = ""
    parts: tuple[PartSecurity, ...] = ()
    headers_protected: bool = False
    headers_differ: tuple[str, ...] = ()
    html: bool = False
    provider: ProviderChecks | None = None


class MessageMetadata(Value, frozen=True, kw_only=True, gc=False):
    """Made once at storage: wire bytes of ENVELOPE and BODYSTRUCTURE, and what a list shows."""

    row_id: RowId
    envelope: bytes  # RFC 9051 7.5.2, parentheses included
    body: bytes  # BODY, without extension data
    body_structure: bytes
    header_size: int  # octets up to and with the empty line
    subject: str
    preview: str
    security: SecurityStatus


class Appended(Value, frozen=True, kw_only=True):
    row_id: RowId
    uid: Uid
    uid_validity: int


class NewMessage(Value, frozen=True, kw_only=True):
    raw: bytes
    flags: tuple[str, ...] = ()
    internal_date: int | None = None
    zone: int = 0

    def __repr__(self) -> str:
        return f"NewMessage({len(self.raw)} octets)"


class Stored(Value, frozen=True, kw_only=True):
    """What `store_flags` did: the rows it was carried out on, as they are now, and the uids it left alone because
    they changed after `unchanged_since` (RFC 7162 3.1.3, MODIFIED); both ascending by uid. `modseq` is that of this
    change, which nothing else has; 0 when all was so already."""

    rows: tuple[MessageRow, ...]
    modified: tuple[Uid, ...] = ()
    modseq: ModSeq = ModSeq(0)


class Transferred(Value, frozen=True, kw_only=True):
    """COPYUID (RFC 4315): uids of the source and of the target, pairwise."""

    uid_validity: int
    source: tuple[Uid, ...]
    target: tuple[Uid, ...]


class Change(Value, frozen=True, kw_only=True):
    """Something changed, `topic` says what: the messages of one mailbox (then `modseq` is its highest now), the list
    of mailboxes, a mail in the outbox (`outbox_id`), how things stand with sync, or annotations (`entries`) of a
    mailbox or, without `mailbox_id`, of the account."""

    seq: int  # ascending over the whole account while it is open
    topic: Topic
    mailbox_id: MailboxId | None = None  # of "messages" and "annotations"
    modseq: ModSeq = ModSeq(0)
    outbox_id: str = ""
    entries: tuple[str, ...] = ()


class FoundMessage(Value, frozen=True, kw_only=True):
    """A message that fits a query, and the mailbox it is in."""

    mailbox_id: MailboxId
    row: MessageRow


class SearchResult(Value, frozen=True, kw_only=True):
    """Newest first. `more`: there are others beyond the limit; `unsearched` counts messages which might fit, but
    whose content is still at the provider."""

    found: tuple[FoundMessage, ...]
    more: bool = False
    unsearched: int = 0


class SyncDevice(Value, frozen=True, kw_only=True):
    """A device of the account, and when it last wrote (seconds since 1970; None: never, as far as is known).

    `stale`: no word from it for three days, though a running one writes daily: it is off, or the provider withholds
    what it wrote.
    """

    device_id: str
    name: str
    wrote: int | None
    this: bool
    stale: bool


class SyncStatus(Value, frozen=True, kw_only=True):
    """`provisional` until the first pull of this device is complete; `alarm` is a sentence when sync stopped
    because what the provider showed cannot be true. `contents_missing` counts contents of which the provider
    last gave nothing, or something else; they are asked for again. `running`: a sync goes on just now."""

    online: bool
    provisional: bool
    last_sync: int | None
    pending: int
    blobs_to_send: int
    blobs_to_fetch: int
    contents_missing: int = 0
    alarm: str = ""
    error: str = ""
    devices: tuple[SyncDevice, ...] = ()
    running: bool = False


class AccountError(Exception):
    """Base of what an account refuses; the text is for people."""


class NoSuchMailbox(AccountError):
    """There is no such mailbox."""


class MailboxExists(AccountError):
    """A mailbox of that name exists."""


class InvalidName(AccountError):
    """A mailbox cannot have this name, or INBOX cannot be treated so."""


class NoSuchMessage(AccountError):
    """The message was expunged, or never existed."""


class ContentUnavailable(AccountError):
    """The message's content is still at the provider, which cannot be reached; try again later."""


class StorageFull(AccountError):
    """The disk is full; nothing was changed."""


class TooLarge(AccountError):
    """The message is over the limit; the text names the limit."""


class TooManyAnnotations(AccountError):
    """There are as many annotations as there may be; the text names the limit."""


class NotPermitted(AccountError):
    """Policy forbids it; the text says what to do."""


class QueryError(AccountError):
    """The query says something that cannot be meant; the text says what."""


class AccountUnavailable(AccountError):
    """The account is locked, logged out, or its daemon has gone."""


class AccountBackend(OutboxBackend, Protocol):
    """One account. Every method may raise `AccountError`; uids that do not exist are passed over in
    silence wherever a set of them is given (RFC 9051 6.4.9)."""

    @property
    def address(self) -> str: ...

    async def list_mailboxes(self) -> list[MailboxInfo]: ...
    async def create_mailbox(self, name: str, special_use: str | None = None) -> MailboxInfo: ...
    async def rename_mailbox(self, mailbox_id: MailboxId, name: str) -> None:
        """Renames inferiors too; renaming INBOX moves its messages to a new mailbox (RFC 9051 6.3.6)."""

    async def delete_mailbox(self, mailbox_id: MailboxId) -> None: ...
    async def set_subscribed(self, mailbox_id: MailboxId, subscribed: bool) -> None: ...

    async def status(self, mailbox_id: MailboxId) -> MailboxStatus: ...
    async def rows(
        self,
        mailbox_id: MailboxId,
        *,
        first: Uid = Uid(1),
        last: Uid | None = None,
        changed_since: ModSeq = ModSeq(0),
    ) -> list[MessageRow]:
        """Ascending by uid; with `changed_since` only those whose modseq is above it."""

    async def expunged(self, mailbox_id: MailboxId, since: ModSeq) -> list[Uid]:
        """Uids that left the mailbox after `since` (RFC 7162 3.2.6), ascending.

        An account need not remember for ever: when `since` lies before what it knows, the answer is every uid below
        `uid_next` that is not in the mailbox (RFC 7162 5.3).
        """

    async def claim_recent(self, mailbox_id: MailboxId) -> list[Uid]:
        """The uids that no session has seen as \\Recent yet; they are this caller's now (RFC 3501 2.3.2)."""

    async def metadata(self, row_ids: Sequence[RowId]) -> list[MessageMetadata]:
        """In the order asked; waits for header records which are still at the provider.
        Raises NoSuchMessage, ContentUnavailable."""

    async def read(self, row_id: RowId, start: int = 0, length: int | None = None) -> bytes:
        """Octets of the message as served (CRLF line ends kept as stored)."""

    async def read_original(self, row_id: RowId) -> bytes | None:
        """The mail as it came, of one in which something was opened, and the source of an import with mixed line ends;
        None: what is served is what came. Raises NoSuchMessage, ContentUnavailable."""

    async def structure(self, row_id: RowId) -> PartTree:
        """Where the parts of a message lie; no content is read. Raises NoSuchMessage, ContentUnavailable."""

    async def rows_of(self, message_ids: Sequence[MessageId]) -> list[FoundMessage]:
        """All rows of these messages, wherever they are now, by message as asked, then by age; unknown ids are
        passed over."""

    async def read_many(self, row_ids: Sequence[RowId]) -> list[bytes]:
        """All octets of several messages, in the order asked; the caller sees to it that they are not too many.
        Raises what `read` raises if one of them cannot be had."""

    async def header_fields(self, row_ids: Sequence[RowId], names: Sequence[bytes]) -> list[bytes]:
        """The fields of these names in the header of each message, as they stand and in their order, with an empty
        line behind them (RFC 9051 6.4.5.1, HEADER.FIELDS). Raises NoSuchMessage, ContentUnavailable."""

    async def append(self, mailbox_id: MailboxId, messages: Sequence[NewMessage]) -> list[Appended]:
        """All or none, in one transaction, in order."""

    async def replace(
        self,
        mailbox_id: MailboxId,
        uid: Uid,
        message: NewMessage,
        target: MailboxId | None = None,
    ) -> Appended:
        """Puts `message` into `target` (or the same mailbox) and takes the one with `uid` away, in one durable
        transaction (as REPLACE of RFC 8508). Raises NoSuchMessage, TooLarge, StorageFull; then nothing was changed."""

    async def store_flags(
        self,
        mailbox_id: MailboxId,
        uids: Sequence[Uid],
        op: FlagOp,
        flags: Sequence[str],
        unchanged_since: ModSeq | None = None,
    ) -> Stored:
        """The rows that exist, after the change; rows already so keep their modseq. \\Recent is refused.

        With `unchanged_since` a row whose modseq is above it is left alone and named in `modified`; looking and
        changing are one transaction (RFC 7162 3.1.3).
        """

    async def copy(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], target: MailboxId
    ) -> Transferred: ...
    async def move(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], target: MailboxId
    ) -> Transferred: ...
    async def expunge(self, mailbox_id: MailboxId, uids: Sequence[Uid] | None = None) -> list[Uid]:
        """Removes those with \\Deleted (among `uids` when given); answers what went, ascending."""

    async def search_text(
        self,
        mailbox_id: MailboxId,
        uids: Sequence[Uid],
        where: SearchedText,
        needle: str,
    ) -> list[Uid]:
        """Messages whose decoded text, as `where` names it, contains `needle`: letter case, accents and the number
        of white space aside. Fetches what is still at the provider. Raises ContentUnavailable."""

    async def search_header(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], field: str, needle: str
    ) -> list[Uid]:
        """Messages with a header field of that name whose decoded text contains `needle`, compared as `search_text`
        does; "" is in every field. Fetches what is still at the provider. Raises ContentUnavailable."""

    async def search(self, query: str, limit: int = 50, offset: int = 0) -> SearchResult:
        """Messages of all mailboxes that fit `query`, in the language of docs/searching.md, newest first without the
        first `offset`. Fetches nothing. Raises QueryError."""

    async def count(self, query: str) -> QueryCount:
        """How many messages of all mailboxes fit `query`. Fetches nothing. Raises QueryError."""

    async def thread_ids(self, row_ids: Sequence[RowId]) -> list[ThreadId]:
        """The conversation each message belongs to, in the order asked; waits for header records as `metadata` does.
        Raises NoSuchMessage, ContentUnavailable."""

    async def threads(
        self, mailbox_id: MailboxId | None = None, limit: int = 50, offset: int = 0
    ) -> list[ThreadSummary]:
        """Threads of all mailboxes, or those with a message in one; the one with the newest message first."""

    async def thread_rows(self, thread_id: ThreadId) -> list[FoundMessage]:
        """All rows of a thread, of whatever mailbox, oldest first; none for a thread that is not (or no more)."""

    async def contacts(self, prefix: str = "", limit: int = 20) -> list[ContactUse]:
        """Whom the person writes to and hears from, the most used first: docs/threads.md. `prefix` is how the address
        or a word of the name begins."""

    async def annotations(self, mailbox_id: MailboxId | None = None) -> dict[str, bytes]:
        """The notes of programs on a mailbox, or on the account, by name in lower case (RFC 5464)."""

    async def annotate(
        self, mailbox_id: MailboxId | None, values: Mapping[str, bytes | None]
    ) -> None:
        """Sets some of them, and removes those with None, all or none. They go with their mailbox; INBOX keeps them
        when it is renamed. Raises InvalidName, TooLarge, TooManyAnnotations."""

    async def save_dates(self, mailbox_id: MailboxId, uids: Sequence[Uid]) -> list[int | None]:
        """When each message came into the mailbox on this device, seconds since 1970, in the order asked; None for
        what is not there (RFC 8514)."""

    async def space(self) -> AccountSpace:
        """How much room the account takes and has left."""

    async def sorted_uids(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], keys: Sequence[SortKey]
    ) -> list[Uid]:
        """Those uids in the order of the keys (RFC 5256, 5957), equal ones ascending; waits for header records as
        `metadata` does. Raises ContentUnavailable."""

    async def threaded_uids(
        self, mailbox_id: MailboxId, uids: Sequence[Uid], algorithm: ThreadAlgorithm
    ) -> list[ThreadLine]:
        """The forest of those messages (RFC 5256 3). Raises ContentUnavailable."""

    def changes(self) -> AsyncIterator[Change]:
        """Every change from the moment of the first `__anext__`-ready call on, from whatever source."""

    async def sync_now(self) -> None: ...
    async def sync_status(self) -> SyncStatus: ...
    async def close(self) -> None: ...
