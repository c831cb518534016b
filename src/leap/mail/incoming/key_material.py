"""What an opened mail says of keys, for the key manager. Pure; runs where mail is opened, in a thread or process.

    outer header    Autocrypt; OpenPGP, where nothing else vouches for the mail
    inner header    (only of encrypted mail whose integrity held) Autocrypt, Autocrypt-Gossip, OpenPGP
    served message  From, To, Cc, Reply-To, Date, Message-ID, application/pgp-keys parts

Invariants:
* What DKIM vouches for lies under the signature: where a field that brings a key, or says how the parts lie, was left
  out of it, anybody may have put it there.
* Gossip counts only from inside the encryption; a field of that name outside is anybody's.
* Nothing here raises for what a mail holds, and what comes out is bounded.
* A mail that says nothing of keys costs some microseconds: its header is looked through, its body is not parsed.
"""

from __future__ import annotations

import re
from collections import Counter

from leap.keymanager.autocrypt.gossip import MAX_GOSSIP
from leap.keymanager.autocrypt.header import MAX_FIELD, MAX_FIELDS
from leap.keymanager.mail_material import (
    DKIM_PASS,
    MAX_URL,
    SIGNATURE_GOOD,
    SIGNED_BY_ATTACHED,
    Authentication,
    KeyMaterial,
)
from leap.mail.contract import ProviderChecks
from leap.mail.incoming.assembly import from_address_of
from leap.mail.incoming.attached_keys import CONTENT_TYPE, attached_keys
from leap.mail.incoming.opening import Opened
from leap.mail.incoming.provider_checks import is_disowned, signs_for, vouches_for
from leap.mail.message.dkim_signature import FIELD as SIGNATURE_FIELD
from leap.mail.message.dkim_signature import all_cover
from leap.mail.message.words import unfold
from leap.mail.model import HeaderRecord
from leap.mail.outgoing.addresses import mentioned_addresses, normal
from leap.mail.outgoing.field_lines import header_fields, values_of

_MAX_HEADER = 256 * 1024  # octets looked through
_MAX_RECIPIENTS = 256
_MAX_ID = 1000  # characters

# From itself always is (RFC 6376 5.4); with another Content-Type, the same octets are other parts
_COVERED = ("from", "autocrypt", "openpgp", "content-type", "content-transfer-encoding")

_URL = re.compile(
    rb"(?:^|;)[ \t]*url[ \t]*=[ \t]*\"?(https://[!-~]+?)\"?[ \t]*(?:;|$)", re.IGNORECASE
)
# Of a header in lower case; white space and folding may stand wherever RFC 5322 lets them
_REPORT = re.compile(rb"\ncontent-type\s*:\s*multipart\s*/\s*report\b")
_REPLIED = re.compile(rb"\nauto-submitted\s*:\s*auto-replied\b")
_SPAM = re.compile(rb"\nx-spam(?:-flag|-status)?\s*:\s*yes\b")
_ADDRESS = re.compile(rb"[^\s<>()\[\],;:\"\\]+@[^\s<>()\[\],;:\"\\]+")


class _Header:
    """A header section, looked through by name; a field is what begins a line, with its folded lines."""

    def __init__(self, message: bytes) -> None:
        end = _empty_line(message)
        self._octets = b"\n" + message[:end] if end else b""
        self.said = self._octets.lower()

    def has(self, name: bytes) -> bool:
        return b"\n" + name + b":" in self.said

    def values(self, name: bytes, most: int = 2) -> list[bytes]:
        """The first values, as they stand."""
        found: list[bytes] = []
        start = b"\n" + name + b":"
        at = self.said.find(start)
        while at >= 0 and len(found) < most:
            begin = end = at + len(start)
            while True:
                end = self.said.find(b"\n", end)
                if end < 0 or self.said[end + 1 : end + 2] not in (b" ", b"\t"):
                    break
                end += 1
            found.append(self._octets[begin : end if end >= 0 else None])
            at = self.said.find(start, end) if end >= 0 else -1
        return found

    def keys(self, name: bytes, most: int) -> tuple[bytes, ...]:
        """The values of fields with keys, unfolded; those over the limit of the specification are invalid."""
        return tuple(unfold(v) for v in self.values(name, most) if len(v) < MAX_FIELD)

    @property
    def recipients(self) -> tuple[str, ...]:
        values = [unfold(v) for name in (b"to", b"cc", b"reply-to") for v in self.values(name)]
        return tuple(sorted(mentioned_addresses(values))[:_MAX_RECIPIENTS])

    @property
    def url(self) -> str:
        """That of the one OpenPGP field (draft-josefsson-openpgp-mailnews-header-07)."""
        values = self.values(b"openpgp")
        found = _URL.search(unfold(values[0])) if len(values) == 1 else None
        return found[1].decode("ascii") if found and len(found[1]) <= MAX_URL else ""

    @property
    def is_report(self) -> bool:
        """Whether a program wrote the mail; in doubt yes, since it is only passed over."""
        return self._says(_REPORT) or self._says(_REPLIED)  # RFC 6522, RFC 3834 5

    @property
    def is_spam(self) -> bool:
        """Whether a filter on the way says so."""
        return self._says(_SPAM)

    def _says(self, pattern: re.Pattern[bytes]) -> bool:
        return pattern.search(self.said) is not None


def find_key_material(raw: bytes, opened: Opened, record: HeaderRecord) -> KeyMaterial | None:
    """What the mail `raw`, opened, says of keys; None when it is from nobody. Its `received` is still to be set.

    `record` is that of the octets served.
    """
    outer = _Header(raw)
    attached = CONTENT_TYPE in opened.served
    if opened.inner_header is None and not (
        attached or outer.has(b"autocrypt") or outer.has(b"openpgp")
    ):
        return _of_plain_mail(outer, record, is_disowned(opened.security.provider))
    sender = opened.from_address or from_address_of(opened.served)
    if sender is None:
        return None
    served = _Header(opened.served)
    inside = _Header(opened.inner_header or b"")
    authentication, keys = _vouched_for(raw, opened, sender)
    vouched = bool(authentication)
    gossip = inside.keys(b"autocrypt-gossip", MAX_GOSSIP)
    return KeyMaterial(
        from_address=sender,
        date=record.date,
        message_id=record.internet_id[:_MAX_ID],
        autocrypt=outer.keys(b"autocrypt", MAX_FIELDS),
        protected_autocrypt=inside.keys(b"autocrypt", MAX_FIELDS),
        gossip=gossip,
        recipients=served.recipients if gossip else (),
        attached=keys,
        # a signature covers the payload, not the outer header
        url=""
        if authentication == SIGNED_BY_ATTACHED
        else inside.url or ("" if vouched else outer.url),
        authentication=authentication,
        is_report=outer.is_report or served.is_report,
        is_spam=outer.is_spam or is_disowned(opened.security.provider),
    )


def _vouched_for(
    raw: bytes, opened: Opened, sender: str
) -> tuple[Authentication, tuple[bytes, ...]]:
    """What vouches for the mail, and the attached keys that are worth a look then."""
    if any(one.state == "good" for one in opened.security.signatures):
        return SIGNATURE_GOOD, attached_keys(opened.served)
    if _provider_vouches(raw, opened.security.provider, sender):
        return DKIM_PASS, attached_keys(opened.served)
    if opened.attached_signer is not None:
        # the signature speaks for the key that made it, and for no other that is attached
        return SIGNED_BY_ATTACHED, (opened.attached_signer,)
    return "", attached_keys(opened.served)


def _provider_vouches(raw: bytes, checks: ProviderChecks | None, sender: str) -> bool:
    """Whether the provider says that the sender's domain stands behind what the mail says of keys."""
    # who is From inside the encryption must be who the domain let write the mail
    if checks is None or from_address_of(raw) != sender:
        return False
    if checks.submitter:
        return vouches_for(checks, sender)
    domains = signs_for(checks, sender)
    if not domains:
        return False
    fields = header_fields(raw)
    count = Counter(one.name for one in fields)
    signatures = values_of(fields, SIGNATURE_FIELD)
    return all(
        all_cover(signatures, domains, name, count[name]) for name in _COVERED if count[name]
    )


def _of_plain_mail(outer: _Header, record: HeaderRecord, disowned: bool) -> KeyMaterial | None:
    """Of mail without any key: all it can tell is that its sender, if known, wrote without one."""
    froms = outer.values(b"from")
    addresses: list[bytes] = _ADDRESS.findall(froms[0]) if len(froms) == 1 else []
    # `"bob@x" <bob@x>` names one; two different ones are nobody's mail (Autocrypt 1.1: it is ignored)
    if len({one.lower() for one in addresses}) != 1:
        return None
    return KeyMaterial(
        from_address=normal(addresses[0].decode("utf-8", "replace")),
        date=record.date,
        is_report=outer.is_report,
        is_spam=outer.is_spam or disowned,
    )


def _empty_line(message: bytes) -> int:
    """What `header_lines.empty_line` answers, for less: only the header is looked at."""
    if message.startswith((b"\n", b"\r\n")):
        return 0
    first = message.find(b"\n", 0, _MAX_HEADER)
    ends = (b"\n\r\n", b"\n\n")
    end = min(len(message), _MAX_HEADER)
    # that of the message's own line ends first: the other is then sought before it only
    for empty in ends if message[first - 1 : first] == b"\r" else reversed(ends):
        found = message.find(empty, 0, end)
        end = found + 1 if found >= 0 else end
    return end
