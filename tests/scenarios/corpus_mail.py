"""Which mails of the shared corpus travel in the scenario, how they are prepared, and how they are compared.

Line ends become CRLF, From becomes the sender's, and a marker field that is nowhere else goes on top.
What SMTP cannot carry (NUL, bare CR, lines over 998 octets; RFC 5321 2.3.8, 4.5.3.1.6) goes in by IMAP APPEND.
"""

from __future__ import annotations

import csv
import hashlib
import re
import secrets
from dataclasses import dataclass, field
from email import message_from_bytes
from pathlib import Path

from leap.mail.outgoing.names import DROPPED_ON_SUBMISSION, OUR_FIELDS, TRACE_FIELDS
from leap.mail.outgoing.telltale import is_telltale

MAX_LINE = 998  # octets without CRLF, RFC 5322 2.1.1
_FIELD = re.compile(rb"[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*")
_ENCRYPTED = frozenset(
    {"multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"}
)


@dataclass
class Travelling:
    """One mail as it is handed in."""

    name: str
    raw: bytes
    marker: bytes
    by_append: bool
    encrypted_already: bool


@dataclass
class Selection:
    mails: list[Travelling]
    excluded: dict[str, str] = field(default_factory=dict)


def with_crlf(data: bytes) -> bytes:
    return re.sub(rb"(?<!\r)\n", b"\r\n", data)


def split(raw: bytes) -> tuple[bytes, bytes]:
    """Header section and the rest, from the empty line on."""
    if raw.startswith(b"\r\n"):
        return b"", raw
    end = raw.find(b"\r\n\r\n")
    return (raw, b"") if end < 0 else (raw[: end + 2], raw[end + 2 :])


def header_lines(header: bytes) -> list[bytes]:
    """Fields with their folded lines, as they stand."""
    return _FIELD.findall(header)


def field_name(line: bytes) -> bytes:
    return line.partition(b":")[0].strip().lower()


def prepare(name: str, data: bytes, sender: str) -> Travelling:
    """The corpus file as `sender` would send it."""
    raw = with_crlf(data)
    if raw.startswith(b"From "):  # an mbox line is no header field
        raw = raw.partition(b"\r\n")[2]
    header, rest = split(raw)
    marker = b"marker" + secrets.token_hex(12).encode()
    lines = [line for line in header_lines(header) if field_name(line) != b"from"]
    top = b"X-Corpus-Marker: " + marker + b"\r\nFrom: " + sender.encode() + b"\r\n"
    raw = top + b"".join(lines) + (rest or b"\r\n")
    if not raw.endswith(b"\r\n"):
        raw += b"\r\n"  # SMTP has whole lines only (RFC 5321 4.1.1.4)
    bare_cr = re.search(rb"\r(?!\n)", raw) is not None
    long_line = any(len(line) > MAX_LINE for line in raw.split(b"\r\n"))
    return Travelling(
        name=name,
        raw=raw,
        marker=marker,
        by_append=b"\0" in raw or bare_cr or long_line,
        encrypted_already=message_from_bytes(raw).get_content_type() in _ENCRYPTED,
    )


def select(corpus: Path, count: int, sender: str, seed: str) -> Selection:
    """`count` mails: first one of every tag and source, then others in an order that `seed` decides."""
    with (corpus / "MANIFEST.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    rows.sort(key=lambda row: hashlib.sha256((seed + row["file"]).encode()).digest())
    chosen: dict[str, None] = {}
    kinds: set[str] = set()
    for row in rows:
        shapes = {row["file"].partition("/")[0], *(row["tags"] or "").split(",")} - kinds
        if shapes and int(row["bytes"]) < 3_000_000:
            kinds |= shapes
            chosen[row["file"]] = None
    for row in rows:
        if int(row["bytes"]) < 300_000:
            chosen.setdefault(row["file"])
    selection = Selection([])
    for name in chosen:
        if len(selection.mails) == count:
            break
        data = (corpus / name).read_bytes()
        if not data.strip():
            selection.excluded[name] = "empty file"
            continue
        selection.mails.append(prepare(name, data, sender))
    return selection


def difference(sent: bytes, served: bytes) -> str | None:
    """None if `served` is `sent`, in order and to the octet, but for fields listed by name.

    Those are: fields which we or the transport add, and fields which are dropped on submission; of mail which its
    program signed or encrypted the tell-tale ones may be there, as they were.
    """
    added = {name.lower().encode() for name in (*OUR_FIELDS, *TRACE_FIELDS)}
    dropped = {name.lower().encode() for name in DROPPED_ON_SUBMISSION}
    sent_header, sent_rest = split(sent)
    served_header, served_rest = split(served)
    if sent_rest != served_rest:
        return f"body: {len(sent_rest)} octets sent, {len(served_rest)} served"
    lines = [line for line in header_lines(sent_header) if field_name(line) not in dropped]
    telltale = [line for line in lines if is_telltale(field_name(line).decode("latin-1"))]
    expected = [line for line in lines if line not in telltale]
    position = 0
    for line in header_lines(served_header):
        if position < len(expected) and line == expected[position]:
            position += 1
        elif field_name(line) not in added and line not in telltale:
            return f"header field added or out of place: {line[:200]!r}"
    if position < len(expected):
        return f"header field lost or changed: {expected[position][:200]!r}"
    return None
