"""Looks at messages before they are stored: whether they are mail, their form as served, hash and flags. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from leap.mail.contract import NotPermitted, SecurityStatus
from leap.mail.flags import checked_flags
from leap.mail.porting.found import Found, Oddity, Tell
from leap.mail.porting.identity import octets_hash
from leap.mail.porting.line_ends import Served, served_form
from leap.mail.storing import Prepared, prepare_now
from leap.soledad.envelope import Epoch

LOCAL = SecurityStatus(encryption="local")
MOST_FLAGS = 100  # keywords of one message that are kept
# A mail begins with a field (RFC 5322 2.2), odd ones after some lines
_FIELD = re.compile(rb"(?m)^[!-9;-~]+[ \t]*:")


class Candidate(NamedTuple):
    """A message that may be stored."""

    found: Found
    served: Served
    sha256: bytes  # of the octets served
    flags: tuple[str, ...]


def candidates(found: Sequence[Found], limit: int, tell: Tell) -> list[Candidate]:
    """Those which are mail; what is odd is told."""
    out = []
    for one in found:
        why = _no_mail(one.raw)
        if why is not None:
            tell(Oddity("not-mail", one.where, why))
            continue
        served = served_form(one.raw)
        if len(served.raw) > limit:  # LF became CRLF
            tell(Oddity("too-large", one.where, f"It is larger than {limit // 1024**2} MiB."))
            continue
        if served.original is not None:
            tell(Oddity("mixed-lines", one.where, "Its lines end in LF and in CRLF."))
        flags = _keepable(one, tell)
        out.append(Candidate(one, served, octets_hash(served.raw), flags))
    return out


def _no_mail(raw: bytes) -> str | None:
    if not raw.strip():
        return "It is empty."
    if raw.startswith((b"\n", b"\r\n")):
        return None  # a header without fields: no good mail, but somebody's
    if _FIELD.search(raw, 0, 4096) is None:
        return "It has no header fields."
    return None


def _keepable(one: Found, tell: Tell) -> tuple[str, ...]:
    kept = []
    for flag in dict.fromkeys(one.flags):
        try:
            checked_flags([flag])
        except NotPermitted:
            if flag.lower() != "\\recent":
                tell(Oddity("flag", one.where, f"Its flag {flag[:50]!r} cannot be kept."))
            continue
        kept.append(flag)
    return tuple(kept[:MOST_FLAGS])


def prepare_all(messages: Sequence[Served], *, account: str, epoch: Epoch) -> list[Prepared]:
    """Parses and seals messages; CPU about a millisecond each, never on an event loop."""
    return [
        prepare_now(
            one.raw,
            LOCAL,
            one.original,
            account=account,
            epoch=epoch,
            imported_as=one.imported_as,
        )
        for one in messages
    ]
