"""A message without the octets nobody asked for: the headers of its parts, and the bodies that are wanted.

All that `leap.mail.message` tells of a message (names of files, which part is the body, texts) works on such an
outline as on the whole, because its tree has offsets of its own. A message of 30 MB with a page of text and three
films is so read in some kilobytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

from leap.mail.answers import PartTree
from leap.mail.message import Message, Part, scan
from leap.mail.message.attachments import is_attachment
from leap.mail.message.decoding import UU_ENCODINGS

SMALL = (
    256 * 1024
)  # octets; such a message is read whole: fewer requests, and still only a few chunks
NEAR = 16 * 1024  # octets between two ranges that are read in one go
MANY_OCTETS = 4 * 1024 * 1024  # read in one request at most, unless one range is larger
INLINE = 128 * 1024  # octets looked at on the event loop; about 2 ms
_BEGINNING = 512  # octets of a uuencoded part, which has its name there

Read = Callable[[int, int], Awaitable[bytes]]  # start, length
Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Outline:
    """A message made of parts of a message; `origin` has for each of its parts the part it stands for."""

    message: Message
    origin: dict[int, PartTree]  # by id() of the parts in `message.root`

    def place(self, part: Part) -> PartTree:
        """Where a part of the outline lies in the real message."""
        return self.origin[id(part)]


async def read_outline(tree: PartTree, read: Read, *, texts: bool = False) -> Outline:
    """The headers of all parts of a message, and with `texts` the bodies of those that may be its text."""
    if tree.end <= SMALL:
        return whole_outline(tree, await read(tree.header_start, tree.end - tree.header_start))
    parts = list(tree.walk())
    wanted = [(part.header_start, part.body_start) for part in parts]
    for part in parts:
        if part.children:
            continue
        if part.encoding in UU_ENCODINGS:
            wanted.append((part.body_start, min(part.end, part.body_start + _BEGINNING)))
    found = await _read_ranges(wanted, read)
    if texts:
        # Only what its header does not call a file: an attached log may be large
        bodies = [
            (part.body_start, part.end)
            for part in parts
            if not part.children and part.content_type.startswith("text/")
            and not _is_file(part, found)
        ]  # fmt: skip
        found |= await _read_ranges(bodies, read)
    return await _off_loop(_assemble, tree, found)


def whole_outline(tree: PartTree, raw: bytes) -> Outline:
    """The same of a message that is at hand whole."""
    message = Message(raw)
    origin: dict[int, PartTree] = {}
    stack = [(message.root, tree)]
    while stack:
        part, place = stack.pop()
        origin[id(part)] = place
        stack += zip(part.children, place.children, strict=False)
    return Outline(message, origin)


async def _off_loop(
    work: Callable[[PartTree, dict[Range, bytes]], Outline],
    tree: PartTree,
    found: dict[Range, bytes],
) -> Outline:
    if sum(map(len, found.values())) <= INLINE:
        return work(tree, found)
    return await asyncio.to_thread(work, tree, found)


async def _read_ranges(ranges: Iterable[Range], read: Read) -> dict[Range, bytes]:
    """The octets of each range; neighbours are read together."""
    out: dict[Range, bytes] = {}
    batch: list[Range] = []

    async def flush() -> None:
        start, end = batch[0][0], max(last for _, last in batch)
        data = await read(start, end - start)
        for one in batch:
            out[one] = data[one[0] - start : one[1] - start]

    for one in sorted(set(ranges)):
        if batch and (one[0] - batch[-1][1] > NEAR or one[1] - batch[0][0] > MANY_OCTETS):
            await flush()
            batch = []
        batch.append(one)
    if batch:
        await flush()
    return out


def _is_file(part: PartTree, found: dict[Range, bytes]) -> bool:
    header = found[part.header_start, part.body_start]
    return is_attachment(header, _typed(part, header, 0))


def _typed(place: PartTree, header: bytes, start: int) -> Part:
    """The part of a header that begins at `start` of the outline; what the whole message said of it counts."""
    seen = scan(header)
    kind, _, subtype = place.content_type.partition("/")
    same = (seen.type, seen.subtype) == (kind, subtype)
    return Part(
        start,
        start + len(header),
        start + len(header),
        type=kind,
        subtype=subtype,
        params=seen.params if same else {},
        encoding=place.encoding,
        typed=seen.typed and same,
    )


def _assemble(tree: PartTree, found: dict[Range, bytes]) -> Outline:
    pieces: list[bytes] = []
    length = 0
    origin: dict[int, PartTree] = {}

    def add(data: bytes) -> int:
        nonlocal length
        pieces.append(data)
        length += len(data)
        return length

    def build(place: PartTree) -> Part:  # the scanner bounded the depth
        header = found[place.header_start, place.body_start]
        part = _typed(place, header, length)
        add(header)
        if place.children:
            part.children = [build(child) for child in place.children]
        else:
            whole = found.get((place.body_start, place.end))
            beginning = (place.body_start, min(place.end, place.body_start + _BEGINNING))
            add(found.get(beginning, b"") if whole is None else whole)
        part.end = length
        origin[id(part)] = place
        return part

    root = build(tree)
    message = Message(b"".join(pieces))
    message.__dict__["root"] = root  # what `Message.root` keeps
    return Outline(message, origin)
