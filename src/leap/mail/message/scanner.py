"""Finds the MIME tree of a message as byte offsets; decodes nothing, copies nothing, never raises.

Invariants:
* every offset lies inside the bytes given, and `header_start <= body_start <= end` in every part;
* the ranges of children lie inside the body of their parent, ascending and disjoint;
* "multipart" always has at least one child and "message/rfc822" exactly one, so that what IMAP says
  of the tree is always valid; what cannot be split shows as one text part, with a defect;
* time is linear in the size for each level, and depth and number of parts are bounded.

A line ends with LF; a CR before it belongs to the line end; a bare CR is an ordinary octet. Of a boundary the
line end before it is part (RFC 2046 5.1.1), so it belongs to no child.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from leap.mail.message.header_lines import header_end
from leap.mail.message.parameters import decoded_parameter, parse_content_type

MAX_DEPTH = 64  # the deepest real mail seen has 12; deeper is an attack on recursion
MAX_PARTS = 10_000  # a digest of a busy list has some hundreds; more is an attack on memory

# The fields of these names that `header.iter_fields` finds, in one search.
_MIME = re.compile(
    rb"^content-(type|transfer-encoding)[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)",
    re.IGNORECASE | re.MULTILINE,
)
_ENCODING = re.compile(rb"[ \t\r\n]*\"?([!#-'*+\-.0-9A-Z^-~]+)")


@dataclass(slots=True)
class Part:
    """One part: its header is [header_start, body_start), its body [body_start, end).

    `lines` counts the line feeds of the body. `children` are the parts of a multipart, or the one message in a
    message/rfc822. `type`, `subtype`, `encoding` and the names in `params` are lower-case; values are raw octets.
    """

    header_start: int
    body_start: int
    end: int
    lines: int = 0
    type: str = "text"
    subtype: str = "plain"
    params: dict[str, bytes] = field(default_factory=dict)
    encoding: str = "7bit"
    children: list[Part] = field(default_factory=list)
    defects: tuple[str, ...] = ()
    typed: bool = False  # a usable Content-Type field is there

    @property
    def content_type(self) -> str:
        return f"{self.type}/{self.subtype}"

    @property
    def size(self) -> int:
        """Octets of the body, still encoded."""
        return self.end - self.body_start

    @property
    def is_multipart(self) -> bool:
        return self.type == "multipart"

    @property
    def is_message(self) -> bool:
        """Whether the body is a whole message, held in `children[0]`."""
        return self.type == "message" and self.subtype in ("rfc822", "global")

    def walk(self) -> Iterator[Part]:
        """This part and all below it, in the order of the message."""
        stack = [self]
        while stack:
            part = stack.pop()
            yield part
            stack.extend(reversed(part.children))


def scan(raw: bytes) -> Part:
    """The MIME tree of `raw`. Never raises; what is odd is named in `defects`."""
    root = _part(raw, 0, len(raw), "plain")
    stack = [(root, 0)]
    count = 1
    while stack:
        part, depth = stack.pop()
        part.lines = raw.count(b"\n", part.body_start, part.end)
        if part.is_message:
            if _too_much(part, depth, count):
                continue
            if part.encoding not in ("7bit", "8bit", "binary"):
                part.defects += ("encoded-message",)  # forbidden by RFC 2046 5.2.1, and seen
            ranges = [(part.body_start, part.end)]
            default = "plain"
        elif part.is_multipart:
            if _too_much(part, depth, count):
                continue
            ranges = _split(raw, part, MAX_PARTS - count)
            default = "rfc822" if part.subtype == "digest" else "plain"  # RFC 2046 5.1.5
            if not ranges:
                part.defects += ("no-parts",)
                inner = Part(part.body_start, part.body_start, part.end, lines=part.lines)
                part.children.append(inner)
                count += 1
                continue
        else:
            continue
        for start, end in ranges:
            child = _part(raw, start, end, default)
            part.children.append(child)
            stack.append((child, depth + 1))
        count += len(ranges)
    return root


def _too_much(part: Part, depth: int, count: int) -> bool:
    if depth < MAX_DEPTH and count < MAX_PARTS:
        return False
    part.type, part.subtype, part.params = "application", "octet-stream", {}
    part.defects += ("too-deep" if depth >= MAX_DEPTH else "too-many-parts",)
    return True


def _part(raw: bytes, start: int, end: int, default: str) -> Part:
    body, defects = header_end(raw, start, end)
    part = Part(start, body, end, defects=defects)
    if default == "rfc822":
        part.type, part.subtype = "message", "rfc822"
    seen_encoding = False
    for found in _MIME.finditer(raw, start, body):
        if len(found[1]) == 4:
            if part.typed:
                continue  # the first one counts
            parsed = parse_content_type(found[2])
            if parsed is None:
                if "bad-content-type" not in part.defects:
                    part.defects += ("bad-content-type",)  # RFC 2045 5.2: then it is text/plain
                    part.type, part.subtype = "text", "plain"
                continue
            part.type, part.subtype, part.params = parsed
            part.typed = True
        elif not seen_encoding:
            seen_encoding = True
            if token := _ENCODING.match(found[2].upper()):
                part.encoding = token[1].decode("ascii").lower()
    return part


def _split(raw: bytes, part: Part, room: int) -> list[tuple[int, int]]:
    """The ranges between the delimiter lines of a multipart, at most `room` of them."""
    boundary = part.params.get("boundary", b"").rstrip(b" \t")
    if not boundary and (spelled := decoded_parameter(part.params, "boundary")):
        boundary = spelled.encode("utf-8").strip()  # RFC 2231 allows it, a few programs do it
    if not boundary:
        part.defects += ("no-boundary",)
        return []
    low, high = part.body_start, part.end
    token = b"--" + boundary
    # delimiter := CRLF "--" boundary; transport-padding := *LWSP-char (RFC 2046 5.1.1)
    rest = re.compile(rb"(--)?[ \t]*(?:\r?\n|\r?\Z)")
    ranges: list[tuple[int, int]] = []
    start = -1
    position = raw.find(token, low, high)
    search = b"\n" + token
    if position != low:
        found = raw.find(search, low, high)
        position = found + 1 if found >= 0 else -1
    while position >= 0:
        after = position + len(token)
        line = rest.match(raw, after, high)
        if line is not None:
            # Two delimiter lines one behind the other: the second lacks a CRLF of its own, so nothing is between
            if 0 <= start < position:
                ranges.append((start, _before_line_end(raw, start, position)))
                start = -1
                if len(ranges) >= room:
                    part.defects += ("too-many-parts",)
                    return ranges
            if line[1]:
                return ranges
            start = line.end()
            after = max(after, start - 1)
        found = raw.find(search, after, high)
        position = found + 1 if found >= 0 else -1
    part.defects += ("no-end-of-multipart",)
    if start >= 0:
        ranges.append((start, high))  # cut off: the last part runs to the end
    return ranges


def _before_line_end(raw: bytes, start: int, position: int) -> int:
    """The end of a part before the delimiter line at `position`."""
    end = position - 1 if position > start else position
    if end > start and raw[end - 1] == 13:
        end -= 1
    return max(start, end)
