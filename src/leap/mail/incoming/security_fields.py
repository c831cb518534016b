"""The X-Leap-* header fields: forged ones leave every mail, ours come first and say what was found.

    encryption = "X-Leap-Encryption:" SP ("decrypted" / "provider" / "undecryptable" / "none") CRLF
    signature  = "X-Leap-Signature:" SP ("none" / state *(";" SP name "=" value)) CRLF
    state      = "valid" / "bad" / "unknown-key" / "expired" / "revoked" / "weak" / "not-from"
    name       = "fingerprint" / "signer" / "created"
    html       = "X-Leap-Html:" SP "encrypted" CRLF
    differs    = "X-Leap-Differs:" SP field-name *("," SP field-name) CRLF
    part       = "X-Leap-Part:" SP "section=" number "; encryption=" word "; signature=" states CRLF
    states     = "none" / state *("," state)

"decrypted" and "valid" are the words of the original leap_mail, which filters and programs know: it was
encrypted end to end, and the signature is good. There is one encryption field, and one signature field for
each signature (or one saying "none").

Invariants:
* No X-Leap-* field of a sender or relay survives, however its line begins or ends (see `field_lines`), and
  no Authentication-Results field that speaks in our provider's name (RFC 8601 5): the one it wrote is read by
  `provider_checks`, and written anew behind ours.
* No byte from a mail gets into our fields except a signer's address of a closed form.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from leap.mail.authentication_results import results_field, without_spoken_for
from leap.mail.contract import PartSecurity, SecurityStatus, SignatureVerdict
from leap.mail.outgoing.field_lines import (
    Field,
    begins_with_continuation,
    drop_fields,
    header_fields,
    is_reserved,
    with_fields,
)
from leap.mail.outgoing.names import (
    DIFFERS_FIELD,
    ENCRYPTION_FIELD,
    GUARD,
    HTML_FIELD,
    PART_FIELD,
    SIGNATURE_FIELD,
    USER_FACING_FIELDS,
)

MAX_SIGNATURES = 8  # shown; a mail with more is made to be long
MAX_PARTS = 16  # shown likewise
MAX_FIELDS = MAX_SIGNATURES + MAX_PARTS + 4  # of ours, what the provider says included
_ENCRYPTION_WORDS = {
    "end-to-end": "decrypted",
    "provider": "provider",
    "undecryptable": "undecryptable",
    "local": "none",
    "none": "none",
}
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,255}")
_FINGERPRINT = re.compile(r"[0-9A-F]{16,64}")


def without_forged(message: bytes, own_domain: str = "") -> bytes:
    """The message without forged fields in its header section, every other byte as it was."""
    fields = header_fields(message)
    kept = drop_forged(fields, own_domain)
    return message if kept == fields else with_fields(kept, message)


def drop_forged(fields: Sequence[Field], own_domain: str) -> list[Field]:
    """The fields but for those which only we or the provider of `own_domain` ("": nobody) may write."""
    return drop_fields(without_spoken_for(fields, own_domain), is_reserved)


def security_fields(status: SecurityStatus, own_domain: str = "") -> bytes:
    """Our fields for a status, CRLF at the end of each; the last one is what the provider of `own_domain` says."""
    lines = [f"{ENCRYPTION_FIELD}: {_ENCRYPTION_WORDS[status.encryption]}"]
    lines += [f"{SIGNATURE_FIELD}: {_signature(one)}" for one in status.signatures[:MAX_SIGNATURES]]
    if not status.signatures:
        lines.append(f"{SIGNATURE_FIELD}: none")
    if status.html:
        lines.append(f"{HTML_FIELD}: encrypted")
    if differ := [one for one in status.headers_differ if one in USER_FACING_FIELDS]:
        lines.append(f"{DIFFERS_FIELD}: {', '.join(differ)}")
    lines += [f"{PART_FIELD}: {_part(one)}" for one in status.parts[:MAX_PARTS]]
    ours = "".join(f"{line}\r\n" for line in lines).encode("ascii")
    if status.provider is None or not own_domain:
        return ours
    return ours + results_field(own_domain, status.provider)


def with_security_fields(status: SecurityStatus, message: bytes, own_domain: str = "") -> bytes:
    """What is served: our fields, then the message exactly; it must have lost forged ones already."""
    guard = GUARD if begins_with_continuation(message) else b""
    return b"".join([security_fields(status, own_domain), guard, message])


def _signature(verdict: SignatureVerdict) -> str:
    text: str = "valid" if verdict.state == "good" else verdict.state
    if _FINGERPRINT.fullmatch(verdict.fingerprint):
        text += f"; fingerprint={verdict.fingerprint}"
    if _ADDRESS.fullmatch(verdict.signer):
        text += f"; signer={verdict.signer}"
    if verdict.created > 0:
        text += f"; created={verdict.created}"
    return text


def _part(known: PartSecurity) -> str:
    """A part by its number, and a word for each of its signatures: who made them is in the status."""
    words = ["valid" if one.state == "good" else one.state for one in known.signatures]
    signed = ",".join(words[:MAX_SIGNATURES]) or "none"
    encryption = _ENCRYPTION_WORDS[known.encryption]
    return f"section={known.section}; encryption={encryption}; signature={signed}"
