"""The key manager's documents in Soledad, what it asks of the store, and how two devices' edits become one.

    openpgp-certificate   one per certificate: everything ever learnt of it, merged
    openpgp-binding       one per address: which certificate, how far believed, by what evidence, its history
    openpgp-contact       one per address: what the person decided about it (`contacts`)
    openpgp-secret        one per key of one's own, the old ones too
    openpgp-publication   one per own address: what the directory was given, and whether it still waits

Invariants:
* Document ids are made with the account's id key (`row_key`): the provider cannot tell which address or key it is.
* Merging loses no certificate part, no secret and no history; `merges` has the merges of all.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from leap.keymanager.openpgp import Certificate, SecretKey, TooLarge

CERTIFICATE: Literal["openpgp-certificate"] = "openpgp-certificate"
BINDING: Literal["openpgp-binding"] = "openpgp-binding"
CONTACT: Literal["openpgp-contact"] = "openpgp-contact"
SECRET: Literal["openpgp-secret"] = "openpgp-secret"  # noqa: S105 - a document's type
PUBLICATION: Literal["openpgp-publication"] = "openpgp-publication"

MAX_EVIDENCE = 32  # the first and the newest of a binding; more would only grow
MAX_HISTORY = 64
MAX_REFUSED = 8  # offers that were refused: the most believed, then the newest
PERSON = "person"  # the source of what the person decided

T = TypeVar("T")
Content = dict[str, Any]


class StoredDocument(Protocol):
    """What of a Soledad document is looked at."""

    @property
    def content(self) -> Content | None: ...


class DocumentTransaction(Protocol):
    """What of a Soledad transaction is used."""

    def get(self, doc_id: str, /) -> Content | None: ...
    def put(self, doc_id: str, content: Content, /) -> object: ...
    def delete(self, doc_id: str, /) -> object: ...


class DocumentStore(Protocol):
    """What of `leap.soledad.store.Soledad` is used."""

    def row_key(self, name: bytes, /) -> str: ...
    async def get_doc(self, doc_id: str, /) -> StoredDocument | None: ...
    async def get_docs(
        self, doc_ids: Sequence[str], check_for_conflicts: bool, /
    ) -> Sequence[StoredDocument]: ...
    async def find_docs(self, type: str, /) -> Sequence[StoredDocument]: ...
    async def transact(self, job: Callable[[Any], T], /, durable: bool = False) -> T: ...
    def on_change(self, callback: Callable[[Any], None], /) -> Callable[[], None]: ...


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Why a key is believed to be of an address: `source` names a module of `discovery`, or "person".

    `url`: where it was fetched; `mail`: the Message-ID of the mail that brought it; `authentication`: what vouched for
    that mail, as in "signature good" or "signed by the attached key".
    """

    source: str
    when: int
    level: str
    detail: str = ""
    url: str = ""
    mail: str = ""
    authentication: str = ""


def decisive(evidence: Sequence[Evidence], level: str) -> Evidence | None:
    """The newest evidence that gives a level, else the newest of all; None when there is none."""
    given = [one for one in evidence if one.level == level] or list(evidence)
    return given[-1] if given else None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a binding's history: which key came, or was refused, from which source, and why.

    `replaced` is the fingerprint of the key that went.
    """

    when: int
    fingerprint: str
    level: str
    reason: str
    source: str = ""
    replaced: str = ""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """Another key than the verified one was offered; until the person decides, mail to the address is refused."""

    fingerprint: str
    level: str
    source: str
    when: int
    reason: str
    detail: str = ""


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """Which key an address has; times in seconds since 1970.

    `refused`: offers that were not taken, one for each key. `declined`: fingerprints which the person refused in
    favour of this key, so that they raise no alert again.
    """

    address: str
    fingerprint: str
    level: str
    first_seen: int
    last_seen: int
    encrypted_to: bool = False
    signature_seen: bool = False
    evidence: tuple[Evidence, ...] = ()
    history: tuple[Change, ...] = ()
    refused: tuple[Change, ...] = ()
    alert: Alert | None = None
    declined: tuple[str, ...] = ()
    type: Literal["openpgp-binding"] = BINDING


class Block(msgspec.Struct, frozen=True, kw_only=True):
    """A key the person does not want used for an address."""

    fingerprint: str
    when: int
    reason: str = ""


class Contact(msgspec.Struct, frozen=True, kw_only=True):
    """What the person decided about an address. `policy`: "prefer", "require", "never", or "" for the account's.

    `sign`: whether readable mail to it is signed: "on", "off", or "" for the account's.
    """

    address: str
    policy: str = ""
    sign: str = ""
    blocked: tuple[Block, ...] = ()
    type: Literal["openpgp-contact"] = CONTACT

    def blocks(self, fingerprint: str) -> bool:
        """Whether a key must not be used for this address."""
        return any(one.fingerprint == fingerprint for one in self.blocked)


class CertificateDocument(msgspec.Struct, frozen=True, kw_only=True):
    """`issuers`: fingerprints and key ids by which signatures may name it."""

    fingerprint: str
    certificate: str
    issuers: tuple[str, ...]
    type: Literal["openpgp-certificate"] = CERTIFICATE


class SecretDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A key of one's own; only ever inside the encrypted store.

    `revocation`: armored, made with the key, for when its secret is lost; it is a secret as long as the key is good.
    """

    address: str
    fingerprint: str
    created: int
    secret: str
    revocation: str = ""
    type: Literal["openpgp-secret"] = SECRET

    def __repr__(self) -> str:
        return f"<SecretDocument {self.fingerprint}>"


class Publication(msgspec.Struct, frozen=True, kw_only=True):
    """`published`: SHA-256 (hex) of the certificate the directory took last; `error`: why it has not the newest."""

    address: str
    published: str = ""
    when: int = 0
    attempts: int = 0
    error: str = ""
    type: Literal["openpgp-publication"] = PUBLICATION


def pack(octets: bytes) -> str:
    """Octets as a document holds them: documents are JSON-like."""
    return base64.b64encode(octets).decode("ascii")


def unpack(text: str) -> bytes:
    return base64.b64decode(text)


def content_of(value: msgspec.Struct) -> Content:
    """The document of a value, just as it reads when it comes back: lists, no tuples."""
    content: Content = msgspec.json.decode(msgspec.json.encode(value))
    return content


def value_of(content: Mapping[str, Any], kind: type[T]) -> T:
    """The value in a document; fields of newer programs are passed over."""
    return msgspec.convert(content, kind)


def parse_certificate(text: str) -> Certificate:
    """A certificate as a document holds it; its signatures are checked when it is asked something."""
    return Certificate.from_bytes(unpack(text))


def certificate_document(certificate: Certificate) -> CertificateDocument:
    return CertificateDocument(
        fingerprint=certificate.fingerprint,
        certificate=pack(certificate.binary),
        issuers=tuple(dict.fromkeys((*certificate.fingerprints, *certificate.key_ids))),
    )


def secret_document(address: str, key: SecretKey, revocation: str = "") -> SecretDocument:
    return SecretDocument(
        address=address,
        fingerprint=key.fingerprint,
        created=key.certificate.created,
        secret=pack(key.to_bytes()),
        revocation=revocation,
    )


# --- merging: what a device did, applied to what another device pushed first -------------------------

Merge = Callable[[Content | None, Content | None, Content | None], Content | None]


def _edits_first(merge: Callable[[Content, Content], Content]) -> Merge:
    """The plain cases of a three-way merge; an edit beats a deletion, so that no key is lost."""

    def merged(
        base: Content | None, local: Content | None, remote: Content | None
    ) -> Content | None:
        if local in (base, remote):
            return remote
        if remote == base:
            return local
        if local is None or remote is None:
            return remote if local is None else local
        return merge(local, remote)

    return merged


def _merge_certificates(local: Content, remote: Content) -> Content:
    mine, theirs = (value_of(c, CertificateDocument) for c in (local, remote))
    one, other = parse_certificate(theirs.certificate), parse_certificate(mine.certificate)
    try:
        return content_of(certificate_document(one.merge(other)))
    except TooLarge:  # somebody who fills his own key must not stop the sync; a revocation counts more than the rest
        return local if other.revoked and not one.revoked else remote


def _merge_secrets(local: Content, remote: Content) -> Content:
    mine, theirs = (value_of(c, SecretDocument) for c in (local, remote))
    one, other = (SecretKey.from_bytes(unpack(d.secret)) for d in (theirs, mine))
    revocation = max(theirs.revocation, mine.revocation)  # one of them, the same on all devices
    return content_of(secret_document(theirs.address, one.merge(other), revocation))


def _merge_publications(local: Content, remote: Content) -> Content:
    newest = max(remote, local, key=lambda content: int(content.get("when", 0)))
    if local.get("published") == remote.get("published"):
        return newest
    return {**newest, "published": ""}  # which of both the directory took last, no clock knows


Timed = TypeVar("Timed", Evidence, Change)


def trimmed(entries: tuple[Timed, ...], most: int) -> tuple[Timed, ...]:
    """The first and the newest: how it began is the best evidence there is."""
    return entries if len(entries) <= most else entries[:1] + entries[1 - most :]


MERGES: Mapping[str, Merge] = {
    CERTIFICATE: _edits_first(_merge_certificates),
    SECRET: _edits_first(_merge_secrets),
    PUBLICATION: _edits_first(_merge_publications),
}
