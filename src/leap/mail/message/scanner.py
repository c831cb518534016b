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
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import msgspec

from leap.mail.answers import PartTree
from leap.mail.message.defects import Defect, DefectKind
from leap.mail.message.header_lines import header_end
from leap.mail.message.parameters import decoded_parameter, parse_content_type

MAX_DEPTH = 64  # the deepest real mail seen has 12; deeper is an attack on recursion
MAX_PARTS = 10_000  # a digest of a busy list has some hundreds; more is an attack on memory

# The fields of these names that `header.iter_fields` finds, in one search. It begins with the line end before the
# field, for one known octet at the start is what makes searching fast; of the first field there is `_FIRST`.
_MIME = re.compile(
    rb"\n[Cc][Oo][Nn][Tt][Ee][Nn][Tt]-"
    rb"(?:([Tt][Yy][Pp][Ee])|[Tt][Rr][Aa][Nn][Ss][Ff][Ee][Rr]-[Ee][Nn][Cc][Oo][Dd][Ii][Nn][Gg])"
    rb"[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)"
)
_FIRST = re.compile(_MIME.pattern[2:])
_ENCODING = re.compile(rb"[ \t\r\n]*\"?([!#-'*+\-.0-9A-Z^-~]+)")
# delimiter := CRLF "--" boundary; transport-padding := *LWSP-char (RFC 2046 5.1.1)
_REST = re.compile(rb"(--)?[ \t]*+(?:\r?\n|\r?\Z)")
_NO_PARAMETERS: Mapping[str, bytes] = MappingProxyType({})


class Part(msgspec.Struct, gc=False):  # a tree has no cycles
    """One part: its header is [header_start, body_start), its body [body_start, end).

    `children` are the parts of a multipart, or the one message in a
    message/rfc822. `type`, `subtype`, `encoding` and the names in `params` are lower-case; values are raw octets.
    """

    header_start: int
    body_start: int
    end: int
    type: str = "text"
    subtype: str = "plain"
    params: Mapping[str, bytes] = _NO_PARAMETERS
    encoding: str = "7bit"
    children: Sequence[Part] = ()
    defects: tuple[Defect, ...] = ()
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


def part_tree(part: Part) -> PartTree:
    """The tree below a part as plain values. The scanner bounds the depth of this recursion."""
    return PartTree(
        header_start=part.header_start,
        body_start=part.body_start,
        end=part.end,
        content_type=part.content_type,
        encoding=part.encoding,
        children=tuple(part_tree(child) for child in part.children),
    )


def scan(raw: bytes) -> Part:
    """The MIME tree of `raw`. Never raises; what is odd is told in `defects`."""
    root = _part(raw, 0, len(raw), "plain")
    if not (root.is_message or root.is_multipart):
        return root
    stack = [(root, 0)]
    count = 1
    while stack:
        part, depth = stack.pop()
        if _too_much(part, depth, count):
            continue
        if part.is_message:
            if part.encoding not in ("7bit", "8bit", "binary"):
                part.defects += (Defect(DefectKind.ENCODED_MESSAGE, part.header_start),)
            ranges = [(part.body_start, part.end)]
            default = "plain"
        else:
            ranges = _split(raw, part, MAX_PARTS - count)
            default = "rfc822" if part.subtype == "digest" else "plain"  # RFC 2046 5.1.5
            if not ranges:
                part.defects += (Defect(DefectKind.NO_PARTS, part.body_start),)
                part.children = (Part(part.body_start, part.body_start, part.end),)
                count += 1
                continue
        part.children = [_part(raw, start, end, default) for start, end in ranges]
        count += len(ranges)
        stack += [
            (child, depth + 1) for child in part.children if child.is_message or child.is_multipart
        ]
    return root


def _too_much(part: Part, depth: int, count: int) -> bool:
    if depth < MAX_DEPTH and count < MAX_PARTS:
        return False
    part.type, part.subtype, part.params = "application", "octet-stream", _NO_PARAMETERS
    kind = DefectKind.TOO_DEEP if depth >= MAX_DEPTH else DefectKind.TOO_MANY_PARTS
    part.defects += (Defect(kind, part.header_start),)
    return True


def _part(raw: bytes, start: int, end: int, default: str) -> Part:
    body, defects = header_end(raw, start, end)
    part = Part(start, body, end, defects=defects)
    if default == "rfc822":
        part.type, part.subtype = "message", "rfc822"
    if body - start < 8:
        return part  # no room for any field
    encoded = False
    found = _FIRST.match(raw, start, body) or _MIME.search(raw, start, body)
    while found is not None:
        kind, value = found.groups()
        if kind is None:
            if not encoded:
                encoded = True
                if token := _ENCODING.match(value.upper()):
                    part.encoding = token[1].decode("ascii").lower()
        elif not part.typed:  # the first one counts
            parsed = parse_content_type(value)
            if parsed is not None:
                part.type, part.subtype, part.params = parsed
                part.typed = True
            elif not any(one.kind is DefectKind.BAD_CONTENT_TYPE for one in part.defects):
                part.defects += (Defect(DefectKind.BAD_CONTENT_TYPE, found.start(2)),)
                part.type, part.subtype = "text", "plain"  # RFC 2045 5.2
        if encoded and part.typed:
            break
        found = _MIME.search(raw, found.end(), body)
    return part


def _split(raw: bytes, part: Part, room: int) -> list[tuple[int, int]]:
    """The ranges between the delimiter lines of a multipart, at most `room` of them."""
    boundary = part.params.get("boundary", b"").rstrip(b" \t")
    if not boundary and (spelled := decoded_parameter(part.params, "boundary")):
        boundary = spelled.encode("utf-8").strip()  # RFC 2231 allows it, a few programs do it
    if not boundary:
        part.defects += (Defect(DefectKind.NO_BOUNDARY, part.header_start),)
        return []
    low, high = part.body_start, part.end
    search = b"\n--" + boundary
    skip = len(search) - 1
    ranges: list[tuple[int, int]] = []
    start = -1
    position = low if raw.startswith(search[1:], low, high) else raw.find(search, low, high) + 1
    while position > 0:  # a multipart's body has its header before it
        after = position + skip
        line = _REST.match(raw, after, high)
        if line is not None:
            # Two delimiter lines one behind the other: the second lacks a CRLF of its own, so nothing is between
            if 0 <= start < position:
                ranges.append((start, _before_line_end(raw, start, position)))
                start = -1
                if len(ranges) >= room:
                    part.defects += (Defect(DefectKind.TOO_MANY_PARTS, position),)
                    return ranges
            if line[1]:
                return ranges
            start = line.end()
            after = max(after, start - 1)
        position = raw.find(search, after, high) + 1
    part.defects += (Defect(DefectKind.NO_END_OF_MULTIPART, high),)
    if start >= 0:
        ranges.append((start, high))  # cut off: the last part runs to the end
    return ranges


def _before_line_end(raw: bytes, start: int, position: int) -> int:
    """The end of a part before the delimiter line at `position`."""
    end = position - 1 if position > start else position
    if end > start and raw[end - 1] == 13:
        end -= 1
    return max(start, end)
