"""Looks a whole message over for what is odd, for an import's report, for people who debug, and for tests.

The scanner tells what is odd about the structure; here are fields, charsets, encodings and octets besides. Each kind
is told once for each part or field, at its first place. It is made when asked for, never at storage; linear in size.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from leap.mail.message.addresses import parse_addresses
from leap.mail.message.charsets import codec_of
from leap.mail.message.dates import parse_date
from leap.mail.message.decoding import UU_ENCODINGS, decode_body
from leap.mail.message.defects import Defect, DefectKind
from leap.mail.message.header import MAX_FIELDS, Field, iter_fields, message_ids
from leap.mail.message.parameters import decoded_parameter
from leap.mail.message.scanner import Part

MAX_DEFECTS = 1000  # told of one message
_PLAIN = frozenset({"7bit", "8bit", "binary"})
_KNOWN = _PLAIN | UU_ENCODINGS | {"base64", "quoted-printable"}
_ONCE = frozenset({
    "date", "from", "sender", "reply-to", "to", "cc", "bcc", "message-id", "in-reply-to", "references", "subject",
})  # fmt: skip
_ADDRESSES = frozenset({"from", "sender", "reply-to", "to", "cc", "bcc"})
_EIGHT_BIT = re.compile(rb"[\x80-\xff]")
_BARE_CR = re.compile(rb"\r(?!\n)")
_LONG_LINE = re.compile(rb"^[^\n]{1000}", re.MULTILINE)
_WORD_CHARSET = re.compile(rb"=\?([^?*\s]{1,60})(?:\*[^?\s]{0,40})?\?[bBqQ]\?")
# Lines of base64 as they should be: whole groups, padding only at the end (RFC 2045 6.8)
_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/]++|[\r\n\t ]++)*+={0,2}[\r\n\t ]*+\Z")
_BASE64_DIGIT = re.compile(rb"[A-Za-z0-9+/=]+")


def inspect(raw: bytes, root: Part) -> list[Defect]:
    """Every oddity of the message, by its place, `MAX_DEFECTS` at most."""
    found: list[Defect] = []
    for defect in _all(raw, root):
        found.append(defect)
        if len(found) >= MAX_DEFECTS:
            break
    return sorted(found, key=lambda defect: defect.offset)


def _all(raw: bytes, root: Part) -> Iterator[Defect]:
    yield from _octets(raw)
    inside = {id(part.children[0]) for part in root.walk() if part.is_message and part.children}
    for part in root.walk():
        yield from part.defects
        yield from _header(raw, part, message=part is root or id(part) in inside)
        if not part.children:
            yield from _body(raw, part)
        elif part.is_multipart and part.encoding not in _PLAIN:
            yield Defect(DefectKind.ENCODED_MULTIPART, part.header_start)


def _octets(raw: bytes) -> Iterator[Defect]:
    if (at := raw.find(b"\0")) >= 0:
        yield Defect(DefectKind.NUL, at)
    if b"\r" in raw and (found := _BARE_CR.search(raw)):
        yield Defect(DefectKind.BARE_CR, found.start())
    if found := _LONG_LINE.search(raw):
        yield Defect(DefectKind.LONG_LINE, found.start())


def _header(raw: bytes, part: Part, *, message: bool) -> Iterator[Defect]:
    names: Counter[str] = Counter()
    for field in iter_fields(raw, part.header_start, part.body_start):
        key = field.key
        names[key] += 1
        if message and key in _ONCE:
            if names[key] == 2:
                yield Defect(DefectKind.REPEATED_FIELD, field.start)
            yield from _meaning(field)
        octets = field.raw
        if not octets.isascii():
            try:
                octets.decode("utf-8")
            except UnicodeDecodeError as error:
                yield Defect(DefectKind.RAW_HEADER_OCTETS, field.start + error.start)
        for word in _WORD_CHARSET.finditer(octets):
            if codec_of(word[1].decode("latin-1")) is None:
                yield Defect(DefectKind.BAD_ENCODED_WORD, field.start + word.start())
                break
    if names.total() >= MAX_FIELDS:
        yield Defect(DefectKind.TOO_MANY_FIELDS, part.header_start)
    if message:
        for name, kind in (("from", DefectKind.MISSING_FROM), ("date", DefectKind.MISSING_DATE)):
            if not names[name]:
                yield Defect(kind, part.header_start)


def _meaning(field: Field) -> Iterator[Defect]:
    key = field.key
    if key == "date" and parse_date(field.value) is None:
        yield Defect(DefectKind.BAD_DATE, field.start)
    elif key == "message-id" and not message_ids(field.value):
        yield Defect(DefectKind.BAD_MESSAGE_ID, field.start)
    elif key in _ADDRESSES and any(
        one.is_mailbox and not (one.local and one.domain) for one in parse_addresses(field.value)
    ):
        yield Defect(DefectKind.BAD_ADDRESS, field.start)


def _body(raw: bytes, part: Part) -> Iterator[Defect]:
    if part.encoding not in _KNOWN:
        yield Defect(DefectKind.UNKNOWN_ENCODING, part.header_start)
    if part.encoding == "7bit" and (found := _EIGHT_BIT.search(raw, part.body_start, part.end)):
        yield Defect(DefectKind.EIGHT_BIT_AS_7BIT, found.start())
    if part.encoding == "base64":
        sound = _BASE64.match(raw, part.body_start, part.end)
        digits = sum(map(len, _BASE64_DIGIT.findall(raw, part.body_start, part.end)))
        if sound is None or digits % 4:
            yield Defect(DefectKind.BAD_BASE64, part.body_start)
    if part.type == "text":
        charset = decoded_parameter(part.params, "charset")
        if charset and (codec := codec_of(charset)) is None:
            yield Defect(DefectKind.UNKNOWN_CHARSET, part.header_start)
        elif charset and codec and codec not in ("cp1252", "utf-7"):
            try:
                decode_body(raw, part).decode(codec)
            except (UnicodeError, ValueError, OverflowError):
                yield Defect(DefectKind.WRONG_CHARSET, part.body_start)
