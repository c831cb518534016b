"""Header protection (RFC 9788) which gives back, on arrival, exactly the bytes that were submitted.

    payload  = ours theirs
    ours     = [Content-Type with hp="cipher"]  *Autocrypt-Gossip  *HP-Outer  X-Leap-Payload  *added
    theirs   = the submitted message byte for byte, without Bcc and X-Leap-*, and where possible
               with CRLF SP hp="cipher" appended to its own Content-Type

    X-Leap-Payload: v=1; content-type=(appended / opened / fresh); added=N

`appended` and `opened` say what stands at the end of the message's own Content-Type field (";" CRLF SP
hp="cipher", or the same without ";" where theirs ended with one). `fresh`: the message has no Content-Type,
or one nobody should build upon (broken, repeated, after a line that is no field), so ours stands
first and theirs is untouched. `added` counts the lines right after the marker which the sender's leap.mail
added: Message-ID, Date or both, in that order.

Invariants:
* restore(protect(message, ...)) is the message, for any bytes (after `drop_fields` of Bcc and X-Leap-*).
* Undoing needs only the marker, which is one line of ours and the first of its name; nothing is parsed again
  that could be read in another way.
* `restore` is given bytes from outside: it answers None for what is not of this form and never raises.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from leap.keymanager.autocrypt.header import GOSSIP_NAME
from leap.mail.outgoing.content_type import ContentType, parse_content_type
from leap.mail.outgoing.field_lines import (
    Field,
    header_fields,
    is_plain,
    join_fields,
    split_header,
    with_fields,
)
from leap.mail.outgoing.names import PAYLOAD_FIELD

HP_CIPHER = b'hp="cipher"'
_APPENDED = b";\r\n " + HP_CIPHER
_OPENED = b"\r\n " + HP_CIPHER
_MARKER = re.compile(
    rb"(?:\A|(?<=\r\n))X-Leap-Payload: v=1; content-type=(appended|opened|fresh); added=(\d)\r\n"
)
# What `submitted` adds: nothing else may stand there, for it is served apart from what was submitted.
_ADDED = re.compile(
    rb"(?:Message-ID: <[ -~]*>\r\n)?(?:Date: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [+-]\d{4}\r\n)?"
)
# Where ours must have ended: 30 outer fields of 64 kB could not be longer.
_MAX_OURS = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Restored:
    """`added` are the header fields the sender's program added, `message` what was submitted."""

    added: bytes
    message: bytes


def protect(
    message: bytes,
    outer: Sequence[tuple[str, str]],
    added: Sequence[bytes] = (),
    gossip: Sequence[str] = (),
) -> bytes:
    """The payload to encrypt.

    `outer` are the fields of the outer header in their order, values unfolded ASCII; `added` are whole
    field lines with CRLF, as `submitted` writes them; `gossip` are values of Autocrypt-Gossip fields.
    """
    assert _ADDED.fullmatch(b"".join(added))
    fields, rest = split_header(message)
    place, content_type = _place(fields)
    theirs = list(fields)
    if place is None:
        how = b"fresh"
        first = fresh_content_type(content_type, rest)
    else:
        opened = content_type is not None and content_type.open
        how = b"opened" if opened else b"appended"
        first = b""
        raw = theirs[place].raw
        theirs[place] = Field(
            "content-type", raw[:-2] + (_OPENED if opened else _APPENDED) + b"\r\n"
        )
    ours = [first]
    ours += [fold(f"{GOSSIP_NAME}: {value}") for value in gossip]  # Autocrypt 1.1, "Key Gossip"
    ours += [fold(f"HP-Outer: {name}: {value}") for name, value in outer]  # RFC 9788 2.2
    ours.append(
        b"%s: v=1; content-type=%s; added=%d\r\n" % (PAYLOAD_FIELD.encode(), how, len(added))
    )
    return b"".join([*ours, *added, join_fields(theirs), rest])


def restore(payload: bytes) -> Restored | None:
    """What was submitted, or None when the payload is not one of ours."""
    marker = _MARKER.search(payload, 0, _MAX_OURS)
    if marker is None:
        return None
    # The marker must stand in the header section, not in a body that quotes one.
    ours, rest = split_header(payload[: marker.end()])
    if rest or not _are_ours(ours, fresh=marker[1] == b"fresh"):
        return None
    position = marker.end()
    for _ in range(int(marker[2])):
        end = payload.find(b"\r\n", position)
        if end < 0:
            return None
        position = end + 2
    added, message = payload[marker.end() : position], payload[position:]
    if not _ADDED.fullmatch(added):
        return None
    if marker[1] == b"fresh":
        return Restored(added, message)
    suffix = (_APPENDED if marker[1] == b"appended" else _OPENED) + b"\r\n"
    fields = header_fields(message)
    for index, field in enumerate(fields):
        if field.name == "content-type":
            if not field.raw.endswith(suffix):
                return None
            fields[index] = Field(field.name, field.raw[: -len(suffix)] + b"\r\n")
            return Restored(added, with_fields(fields, message))
    return None


def _are_ours(fields: Sequence[Field], *, fresh: bool) -> bool:
    """Whether these are exactly the fields that `protect` puts in front, in its order and forms."""
    names = [field.name for field in fields]
    first = ["content-type"] if fresh else []
    gossip = [GOSSIP_NAME.lower()] * names.count(GOSSIP_NAME.lower())
    outer = ["hp-outer"] * (len(names) - len(first) - len(gossip) - 1)
    return (
        names == [*first, *gossip, *outer, PAYLOAD_FIELD.lower()]
        and is_plain(fields)
        and (not fresh or fields[0].raw.endswith(HP_CIPHER + b"\r\n"))
    )


def _place(fields: Sequence[Field]) -> tuple[int | None, ContentType | None]:
    """Where hp="cipher" can be appended (None: nowhere), and the first meaningful Content-Type."""
    places = [index for index, field in enumerate(fields) if field.name == "content-type"]
    parsed = [parse_content_type(fields[index].value) for index in places]
    first = next((one for one in parsed if one is not None), None)
    if len(places) != 1 or first is None or "hp" in first.parameters:
        return None, first
    index = places[0]
    # A line that is no field ends the header section for some programs; lines must end in CRLF, and the
    # field must not end in an empty continuation, which RFC 5322 4.2 calls obsolete and some cannot read.
    lines = fields[index].raw.split(b"\r\n")
    clean = (
        all(field.name for field in fields[: index + 1])
        and not fields[0].raw[:1].isspace()
        and lines[-1] == b""
        and not any(b"\r" in line or b"\n" in line or not line.strip() for line in lines[:-1])
    )
    return (index if clean else None), first


def fresh_content_type(theirs: ContentType | None, rest: bytes, *, hp: str = "cipher") -> bytes:
    """A Content-Type by which programs that know nothing of ours show the message as meant; no `hp` when it is ""."""
    if theirs is not None:
        parameters = {k: v for k, v in theirs.parameters.items() if k != "hp"}
        text = theirs.media_type
        for name, value in parameters.items():
            escaped = re.sub(r'(["\\])', r"\\\1", value)
            text += f'; {name}="{escaped}"'
    else:
        # RFC 2045 5.2: no Content-Type means us-ascii text; name the charset when it clearly is not.
        text = "text/plain; charset=" + ("us-ascii" if rest.isascii() else _charset_of(rest))
    return fold(f'Content-Type: {text}; hp="{hp}"' if hp else f"Content-Type: {text}")


def _charset_of(body: bytes) -> str:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return "iso-8859-1"
    return "utf-8"


def fold(line: str, width: int = 76) -> bytes:
    """An ASCII field with CRLF, folded at white space (RFC 5322 2.1.1: 78 wished, 998 never passed)."""
    parts: list[str] = []
    while len(line) > width:
        # A fold must leave something that is not white space on both lines (RFC 5322 4.2).
        text = len(line) - len(line.lstrip())
        at = line.rfind(" ", text + 1, width)
        if at < 0 or line[:at].endswith(":"):
            at = line.find(" ", max(text, width))
        if at < 0 or not line[at:].strip():
            break
        parts.append(line[:at])
        line = line[at:]
    parts.append(line)
    return "\r\n".join(parts).encode("ascii") + b"\r\n"
