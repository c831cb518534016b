"""A MIME entity in a form which no transport changes, so that a signature over it stays good (RFC 3156 3).

    safe = only ASCII, CRLF line ends, lines of at most 998 octets, no white space at a line's end, none begins "From "

What is not safe is put into quoted-printable or base64, part by part; what is safe keeps its octets.

Invariants:
* What was made is read again: the tree, and what each part decodes to, are those of before (with line ends as CRLF,
  which SMTP makes of every other). Else CannotSign is raised.
* Nothing inside a part that is signed already is changed: if that is not safe, CannotSign is raised.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator

import pybase64

from leap.mail.message.compose import to_crlf
from leap.mail.message.decoding import decode_body
from leap.mail.message.scanner import Part, scan
from leap.mail.outgoing.field_lines import Field, is_plain, join_fields, split_fields

_SAFE = bytes(range(32, 127)) + b"\t\r\n"
_LONGEST = 998  # octets of a line, without its end (RFC 5322 2.1.1)
_TRAILING = re.compile(rb"[ \t]+(?=\r\n|\Z)")
_FROM_LINE = re.compile(rb"^From ([^\r\n]*)", re.MULTILINE)
_ENCODING = "content-transfer-encoding"
_IDENTITY = ("7bit", "8bit", "binary")  # RFC 2045 6.2


class CannotSign(Exception):
    """The mail cannot be brought into a form that stays as it is on the way; the text says why."""


def is_safe(octets: bytes) -> bool:
    """Whether no transport changes these octets (RFC 3156 3).

    Not 8 bits, not white space at the end of a line, which some relays take away, not "From " at the begin of one,
    which mbox files change.
    """
    ends = octets.count(b"\r\n")
    return (
        not octets.translate(None, _SAFE)
        and octets.count(b"\r") == octets.count(b"\n") == ends
        and b" \r\n" not in octets
        and b"\t\r\n" not in octets
        and not octets.endswith((b" ", b"\t"))
        and not octets.startswith(b"From ")
        and b"\nFrom " not in octets
        and max(map(len, octets.split(b"\r\n"))) <= _LONGEST
    )


def seven_bit(entity: bytes) -> bytes:
    """The entity (header, empty line, body) in safe form. Raises CannotSign."""
    entity = to_crlf(entity)
    if is_safe(entity) and not any(p.encoding in ("8bit", "binary") for p in scan(entity).walk()):
        return entity
    root = scan(entity)
    made = b"".join(_safe_part(entity, root, signed=False))
    if not is_safe(made) or list(_meaning(made, scan(made))) != list(_meaning(entity, root)):
        raise CannotSign("its parts cannot be written in 7 bits without changing what they say")
    return made


def _safe_part(raw: bytes, part: Part, *, signed: bool) -> Iterator[bytes]:
    octets = raw[part.header_start : part.end]
    if signed:
        if not is_safe(octets):
            raise CannotSign("it holds a signed message which is not in 7 bits")
        yield octets
        return
    header, body = raw[part.header_start : part.body_start], raw[part.body_start : part.end]
    if part.children:
        yield _safe_header(header, "7bit" if part.encoding in ("8bit", "binary") else None)
        inside = part.content_type == "multipart/signed"
        position = part.body_start
        for child in part.children:
            yield _safe_gap(raw[position : child.header_start], first=position == part.body_start)
            yield from _safe_part(raw, child, signed=inside)
            position = child.end
        yield _safe_gap(raw[position : part.end], last=True)
    elif is_safe(body):
        yield _safe_header(header, "7bit" if part.encoding in ("8bit", "binary") else None)
        yield body
    else:
        encoding, encoded = _encoded(decode_body(raw, part), part)
        yield _safe_header(header, encoding)
        yield encoded


def _safe_header(header: bytes, encoding: str | None) -> bytes:
    """A part's header, with that transfer encoding, and without white space at the ends of its lines."""
    empty = b"\r\n" if header.endswith(b"\r\n\r\n") or header == b"\r\n" else b""
    fields = split_fields(header[: len(header) - len(empty)])
    if not is_plain(fields):
        raise CannotSign("the header of a part cannot be read beyond doubt")
    if encoding is not None:
        line = f"Content-Transfer-Encoding: {encoding}\r\n".encode("ascii")
        places = [at for at, field in enumerate(fields) if field.name == _ENCODING]
        at = places[0] if places else len(fields)
        fields = [one for one in fields if one.name != _ENCODING]
        fields.insert(at, Field(_ENCODING, line))
    return _TRAILING.sub(b"", join_fields(fields)) + empty


def _safe_gap(octets: bytes, *, first: bool = False, last: bool = False) -> bytes:
    """What stands around children: boundary lines, and text which nobody sees (RFC 2046 5.1.1)."""
    octets = _TRAILING.sub(b"", octets)
    if is_safe(octets):
        return octets
    if first:
        start = octets.rfind(b"\n--") + 1
        return octets[start:]
    if last:
        end = octets.find(b"\r\n", 2)
        return octets[: end + 2] if end >= 0 else octets
    return octets


def _encoded(data: bytes, part: Part) -> tuple[str, bytes]:
    """The transfer encoding to use, and the data in it."""
    if part.type == "text":
        quoted = binascii.b2a_qp(to_crlf(data), istext=True)
        while (changed := _FROM_LINE.sub(_hidden_from, quoted)) != quoted:
            quoted = changed
        if len(quoted) <= 2 * len(data) + 80 and is_safe(quoted):
            return "quoted-printable", quoted
    return "base64", pybase64.encodebytes(data).replace(b"\n", b"\r\n")


def _hidden_from(found: re.Match[bytes]) -> bytes:
    rest = found[1]
    # RFC 2045 6.7 (5): at most 76 characters in a line
    return b"=46rom " + rest if len(rest) <= 69 else b"=46rom =\r\n" + rest


def _meaning(raw: bytes, root: Part) -> Iterator[tuple[str, bytes]]:
    """What each part is, and what it decodes to."""
    for part in root.walk():
        if part.children:
            yield part.content_type, b""
        else:
            data = decode_body(raw, part)
            yield part.content_type, to_crlf(data) if part.type == "text" else data
