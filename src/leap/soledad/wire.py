"""What client and provider say to each other over HTTPS: every request and reply body, as values.

Pure: both sides import it. Bodies are MessagePack maps; a missing or mistyped field is refused by
`decode`. Bytes from outside raise `WireError` and nothing else. The paths are in `docs/formats/http.md`.

Invariants:
* Nothing here is secret to the provider, except that sealed bytes are opaque to it.
* `seq` counts log items of one account: the i-th item (from 0) of a commit on parent seq P has seq
  P + 1 + i, and the commit's head has seq P + number of items.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

API = "/1"
CONTENT_TYPE = "application/msgpack"

MAX_COMMIT_ITEMS = 2_000
MAX_COMMIT_BYTES = 2 * 1024 * 1024
MAX_BATCH_BLOBS = 500
MAX_BATCH_BYTES = 8 * 1024 * 1024
MAX_CLAIM_BYTES = 16 * 1024 * 1024  # each batch of mail costs some round trips, so they are larger
MAX_LISTED_BLOBS = 5_000  # about 400 kB of reply
MAX_BLOB_BYTES = 2 * 1024 * 1024 * 1024
MAX_MESSAGE_BYTES = 50 * 1024 * 1024  # one mail, as SMTP SIZE counts it (RFC 1870)

Bytes32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Counter = Annotated[int, Meta(ge=0, lt=2**53)]
BlobId = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}$")]
Name = Annotated[str, Meta(min_length=1, max_length=320)]
Token = Annotated[str, Meta(min_length=1, max_length=200)]

T = TypeVar("T")


class WireError(ValueError):
    """Bytes from the other side are not what the protocol says."""


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all bodies; tokens, verifiers and sealed bytes are in them, so that no log shows more than their kind."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


# --- accounts and log-in -------------------------------------------------------------------------


class KdfParams(Body, frozen=True, kw_only=True):
    """Argon2id parameters (RFC 9106); floors and ceilings are checked in `secrets`."""

    salt: Annotated[bytes, Meta(min_length=16, max_length=64)]
    time_cost: Counter
    memory_kib: Counter
    lanes: Counter


class Verifier(Body, frozen=True, kw_only=True):
    """What the provider keeps to check a log-in by SRP-6a (RFC 5054, 4096-bit group, SHA-256)."""

    kdf: KdfParams
    srp_salt: bytes
    srp_verifier: bytes


class Wraps(Body, frozen=True, kw_only=True):
    """The account's secrets, sealed under the passphrase and under the recovery code."""

    passphrase: bytes
    recovery: bytes


class Signup(Body, frozen=True, kw_only=True):
    address: Name
    passphrase: Verifier
    recovery: Verifier
    wraps: Wraps
    keyset: bytes


class LoginStart(Body, frozen=True, kw_only=True):
    """`identity` is the address; `with_recovery` logs in by the recovery code's verifier."""

    identity: Name
    srp_a: bytes
    with_recovery: bool = False


class LoginChallenge(Body, frozen=True, kw_only=True):
    session: Token
    kdf: KdfParams
    srp_salt: bytes
    srp_b: bytes


class LoginProof(Body, frozen=True, kw_only=True):
    session: Token
    srp_m1: bytes
    device_id: Token
    device_name: Name


class LoginReply(Body, frozen=True, kw_only=True):
    """`token` goes into `Authorization: Bearer`; it belongs to one device."""

    srp_m2: bytes
    token: Token


class SecretsReply(Body, frozen=True, kw_only=True):
    wraps: Wraps
    keyset: bytes
    keyset_version: Counter


class KeysetPut(Body, frozen=True, kw_only=True):
    """Replaces the keyset if the stored version is `expected_version`, else 409 `keyset-moved`.

    What else is given is replaced in the same step. With `head`, the SHA-256 of the log's newest head (b"" if there
    is none), it is done only while that is so, else 409 `head-moved`.
    """

    expected_version: Counter
    keyset: bytes
    wraps: Wraps | None = None
    passphrase: Verifier | None = None
    recovery: Verifier | None = None
    head: bytes | None = None


class ErrorReply(Body, frozen=True, kw_only=True):
    """Every refusal: `error` is a stable word for programs, `message` a sentence for people."""

    error: str
    message: str


# --- the log ---------------------------------------------------------------------------------------


class Item(Body, frozen=True, kw_only=True):
    item_id: Bytes32
    version: Counter
    sealed: bytes


class LoggedItem(Body, frozen=True, kw_only=True):
    seq: Counter
    item_id: Bytes32
    version: Counter
    sealed: bytes


class PullRequest(Body, frozen=True, kw_only=True):
    """Items with seq above `since`, in order of seq.

    With `stream`, the reply may be frames (`frames`) of pages, one after the other until the end of the log.
    """

    since: Counter
    max_items: Counter = MAX_COMMIT_ITEMS
    max_bytes: Counter = MAX_COMMIT_BYTES
    stream: bool = False


class PullPage(Body, frozen=True, kw_only=True):
    """`head` is the head at `head_seq`, read in one transaction with the items; b"" before any commit.

    Only the newest version of each item is in the log. `more` says that items above the last one
    of this page and up to `head_seq` remain.
    """

    items: list[LoggedItem]
    head: bytes
    head_seq: Counter
    more: bool


class StageRequest(Body, frozen=True, kw_only=True):
    """Adds items to a push that is not committed yet; `first` is the index of the first one here.

    Repeating a request changes nothing. Staged pushes expire after a day.
    """

    push_id: Token
    first: Counter
    items: list[Item]


class StageReply(Body, frozen=True, kw_only=True):
    """How many items of this push the provider holds without a gap."""

    staged: Counter


class CommitRequest(Body, frozen=True, kw_only=True):
    """Compare-and-swap of the head: 409 `head-moved` unless `parent` is SHA-256 of the current head.

    Commits the staged items of `push_id` (if any) followed by `items`; `count` is their total number and
    `head_seq` = parent's seq + count. Repeating a commit whose `head` is the current head succeeds.

    `purged` items go. With `founding`, the generation of the stored keyset, everything that is in the log goes first,
    whatever `parent` says, once for each generation; `head_seq` is then at least the current seq + count.
    """

    parent: bytes
    head: bytes
    head_seq: Counter
    count: Counter
    items: list[Item] = []
    push_id: Token | None = None
    purged: Annotated[list[Bytes32], Meta(max_length=MAX_COMMIT_ITEMS)] = []
    founding: Counter | None = None


class CommitReply(Body, frozen=True, kw_only=True):
    head_seq: Counter


# --- blobs -----------------------------------------------------------------------------------------


class Blob(Body, frozen=True, kw_only=True):
    blob_id: BlobId
    sealed: bytes


class BlobsPut(Body, frozen=True, kw_only=True):
    """Stores each durably; a blob that is there already with other bytes is refused (`blob-differs`)."""

    blobs: list[Blob]


class BlobsGet(Body, frozen=True, kw_only=True):
    blob_ids: list[BlobId]


class BlobsFound(Body, frozen=True, kw_only=True):
    """Those which exist, in the order asked, until `MAX_BATCH_BYTES` is reached (at least one)."""

    blobs: list[Blob]
    missing: list[BlobId]
    more: bool


class BlobsDelete(Body, frozen=True, kw_only=True):
    """Forgets blobs; with `min_age` only those stored at least so many seconds ago and not put or renewed since."""

    blob_ids: list[BlobId]
    min_age: Counter = 0


class BlobsList(Body, frozen=True, kw_only=True):
    """Asks what is stored: blobs with ids above `after`, in order of their ids, `MAX_LISTED_BLOBS` at most.

    With `only` (500 at most) those of them which are stored; `renew` makes these as new, with an age of 0.
    """

    after: Annotated[str, Meta(pattern=r"^(?:[0-9a-f]{32})?$")] = ""
    limit: Counter = MAX_LISTED_BLOBS
    only: list[BlobId] | None = None
    renew: bool = False


class ListedBlob(Body, frozen=True, kw_only=True):
    """`size` and `sha256` are of the sealed bytes; `age` is how many seconds ago they were stored."""

    blob_id: BlobId
    size: Counter
    sha256: Bytes32
    age: Counter


class BlobsListed(Body, frozen=True, kw_only=True):
    """`more` says that there are blobs above the last one of these."""

    blobs: list[ListedBlob]
    more: bool


class UploadState(Body, frozen=True, kw_only=True):
    """How many octets of a blob have come; `sha256` is of all of them once it is stored, b"" before."""

    stored: Counter
    sha256: bytes = b""


# --- inbox -----------------------------------------------------------------------------------------


class InboxClaim(Body, frozen=True, kw_only=True):
    """Leases up to `limit` of the oldest items for `ttl` seconds; ones leased to other devices are not given.

    What this device had leased before is given again: it takes one batch at a time.
    """

    limit: Counter = 100
    max_bytes: Counter = MAX_CLAIM_BYTES
    ttl: Counter = 120


class InboxItem(Body, frozen=True, kw_only=True):
    """One mail sealed by the MX; `received` is seconds since 1970."""

    inbox_id: Token
    key_id: Token
    sealed: bytes
    received: Counter


class InboxItems(Body, frozen=True, kw_only=True):
    items: list[InboxItem]
    waiting: Counter


class InboxIds(Body, frozen=True, kw_only=True):
    inbox_ids: list[Token]


# --- directory -------------------------------------------------------------------------------------


class CertificatePut(Body, frozen=True, kw_only=True):
    certificate: bytes


class CertificateReply(Body, frozen=True, kw_only=True):
    address: Name
    certificate: bytes


class AliasesReply(Body, frozen=True, kw_only=True):
    """The addresses an account has beside the one it was signed up with."""

    addresses: list[Name]


class ProviderInfo(Body, frozen=True, kw_only=True):
    """What `GET /provider` says to anyone."""

    domain: str
    api_version: int
    submission_host: str
    submission_port: Counter
    max_message_bytes: Counter
    signup_open: bool


def encode(body: Any) -> bytes:
    """MessagePack of a body."""
    return msgspec.msgpack.encode(body)


def decode(data: bytes, kind: type[T]) -> T:
    """A body of `kind`; raises WireError for anything else."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise WireError(f"not a valid {kind.__name__}: {error}") from error
