"""DMARC policy records (RFC 9989 4.7): what a domain asks of those who receive mail in its name. Pure.

    "v=DMARC1" *( ";" tag "=" value )      p, sp, np, psd, adkim, aspf, t; and pct of RFC 7489

Invariant: what cannot be read is no record; nothing is raised.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_VERSION = re.compile(r"v[ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")
_TAG = re.compile(r"[ \t]*([A-Za-z][A-Za-z0-9_]*)[ \t]*=[ \t]*([!-:<-~]+)[ \t]*")
_MAX_TAGS = 64
_POLICIES = ("none", "quarantine", "reject")
_MILDER = {"reject": "quarantine", "quarantine": "none", "none": "none"}


@dataclass(frozen=True, slots=True)
class DmarcRecord:
    """`subdomains` and `missing` are the policies for names below the record's, and for such that do not exist.

    `psd`: "y" the name is one under which others register, "n" it is where an organization begins, "u" not said.
    """

    policy: str
    subdomains: str
    missing: str
    psd: str
    strict_dkim: bool
    strict_spf: bool


def find_record(texts: Sequence[bytes]) -> DmarcRecord | None:
    """The one record among text records; None when there is none, or more than one (RFC 9989 4.10)."""
    found = [record for record in map(_record, texts) if record is not None]
    return found[0] if len(found) == 1 else None


def _record(text: bytes) -> DmarcRecord | None:
    said = text.decode("ascii", "surrogateescape")
    version = _VERSION.match(said)
    if version is None:
        return None
    tags: dict[str, str] = {}
    for spec in said[version.end() :].split(";")[:_MAX_TAGS]:
        # RFC 9989 4.7: what is wrong behind the version is passed over, and the default counts
        if tag := _TAG.fullmatch(spec):
            tags.setdefault(tag[1].lower(), tag[2])
    policy = tags.get("p", "").lower()
    if policy not in _POLICIES:
        # RFC 9989 4.7: with somewhere to report to, it is as p=none; else the record is void
        if "rua" not in tags:
            return None
        policy = "none"
    subdomains = _policy(tags, "sp", policy)
    missing = _policy(tags, "np", subdomains)
    psd = tags.get("psd", "u").lower()
    # t=y and pct=0 (RFC 7489 6.3) say: one step milder. Of other percentages no lot is drawn
    milder = tags.get("t", "n").lower() == "y" or tags.get("pct", "100") == "0"
    policies = [_MILDER[one] if milder else one for one in (policy, subdomains, missing)]
    return DmarcRecord(
        policy=policies[0],
        subdomains=policies[1],
        missing=policies[2],
        psd=psd if psd in ("y", "n") else "u",
        strict_dkim=tags.get("adkim", "r").lower() == "s",
        strict_spf=tags.get("aspf", "r").lower() == "s",
    )


def _policy(tags: dict[str, str], name: str, otherwise: str) -> str:
    policy = tags.get(name, "").lower()
    return policy if policy in _POLICIES else otherwise
