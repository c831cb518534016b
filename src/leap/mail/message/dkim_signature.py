"""DKIM-Signature fields (RFC 6376 3.5): what one says of itself. Pure; nothing is verified here.

Invariant: nothing here raises but `BadSignature`, and that says only that the field cannot be used.
"""

from __future__ import annotations

import re
from binascii import Error as NotBase64
from collections.abc import Iterable
from dataclasses import dataclass, field

import pybase64

from leap.mail.message.tag_list import tag_list

FIELD = "dkim-signature"
MAX_FIELD = 16 * 1024  # octets; a signature of 4096 bits over 100 fields has some 3 kB
MAX_SIGNED_FIELDS = 512  # names in h=

_DOMAIN = re.compile(
    r"(?=.{3,253}\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
)
_SELECTOR = re.compile(
    r"(?=.{1,200}\Z)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
_NAME = re.compile(r"[!-9;-~]+")
_DIGITS = re.compile(r"[0-9]{1,12}")
_LENGTH = re.compile(r"[0-9]{1,76}")
_WHITE = re.compile(r"[ \t\r\n]+")


class BadSignature(Exception):
    """The field is no signature that can be verified; the text says why."""


@dataclass(frozen=True, slots=True)
class DkimSignature:
    """One signature. Times in seconds since 1970; names in lower case, `fields` in the order signed.

    `identity` is the domain of i=, which is `domain` or below it. `length` is l=: how much of the body is covered.
    """

    algorithm: str
    domain: str
    selector: str
    fields: tuple[str, ...]
    relaxed_header: bool
    relaxed_body: bool
    identity: str
    body_hash: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    length: int | None = None
    created: int | None = None
    expires: int | None = None

    def covers(self, name: str, times: int) -> bool:
        """Whether all of `times` fields of a (lower-case) name are signed: the uppermost ones are left out first."""
        return self.fields.count(name) >= times


def parse_signature(value: bytes) -> DkimSignature:
    """The signature of a field's value, folded or not. Raises BadSignature."""
    if len(value) > MAX_FIELD:
        raise BadSignature("the field is too long")
    tags = tag_list(value.decode("ascii", "surrogateescape"))
    if tags is None:
        raise BadSignature("the field is no list of tags")
    if tags.get("v") != "1":
        raise BadSignature("the version is not 1")
    missing = [name for name in ("a", "b", "bh", "d", "h", "s") if not tags.get(name)]
    if missing:
        raise BadSignature(f"{missing[0]}= is missing")
    header, body = _canonicalization(tags.get("c", "simple"))
    domain, selector = tags["d"].lower(), tags["s"].lower()
    if not _DOMAIN.fullmatch(domain) or not _SELECTOR.fullmatch(selector):
        raise BadSignature("d= or s= is no name")
    methods = [one.strip() for one in tags.get("q", "dns/txt").lower().split(":")]
    if "dns/txt" not in methods:
        raise BadSignature("q= names no way to the key")
    identity = tags.get("i", f"@{domain}").rpartition("@")[2].lower()
    if identity != domain and not identity.endswith(f".{domain}"):  # RFC 6376 3.5, i=
        raise BadSignature("i= is not of d=")
    fields = tuple(one.strip(" \t\r\n").lower() for one in tags["h"].split(":"))
    if len(fields) > MAX_SIGNED_FIELDS or not all(_NAME.fullmatch(one) for one in fields):
        raise BadSignature("h= is no list of names")
    if "from" not in fields:  # RFC 6376 5.4
        raise BadSignature("From is not signed")
    created, expires = _number(tags, "t", _DIGITS), _number(tags, "x", _DIGITS)
    if created is not None and expires is not None and expires <= created:
        raise BadSignature("x= is not after t=")
    return DkimSignature(
        algorithm=tags["a"].lower(),
        domain=domain,
        selector=selector,
        fields=fields,
        relaxed_header=header,
        relaxed_body=body,
        identity=identity,
        body_hash=base64(tags["bh"]),
        signature=base64(tags["b"]),
        length=_number(tags, "l", _LENGTH),
        created=created,
        expires=expires,
    )


def all_cover(values: Iterable[bytes], domains: Iterable[str], name: str, times: int) -> bool:
    """Whether every signature of these domains, of the fields whose values are given, covers all fields of a name.

    Which of them was verified is not asked: a forged one can only make the answer no.
    """
    of = frozenset(domains)
    found = False
    for value in values:
        try:
            signature = parse_signature(value)
        except BadSignature:
            continue  # then it was not the one that passed
        if signature.domain in of:
            if not signature.covers(name, times):
                return False
            found = True
    return found


def base64(text: str) -> bytes:
    """The octets, white space aside. Raises BadSignature."""
    try:
        return pybase64.b64decode(_WHITE.sub("", text).encode("ascii"), validate=True)
    except (NotBase64, UnicodeEncodeError, ValueError):
        raise BadSignature("a value is not base64") from None


def _canonicalization(text: str) -> tuple[bool, bool]:
    """Whether header and body are relaxed."""
    header, _, body = text.lower().partition("/")
    body = body or "simple"  # RFC 6376 3.5, c=
    if {header, body} - {"simple", "relaxed"}:
        raise BadSignature("c= is not known")
    return header == "relaxed", body == "relaxed"


def _number(tags: dict[str, str], name: str, form: re.Pattern[str]) -> int | None:
    text = tags.get(name)
    if text is None:
        return None
    if not form.fullmatch(text):
        raise BadSignature(f"{name}= is no number")
    return int(text)
