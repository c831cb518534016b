"""Parts of a message replaced, every other octet as it was, and the entities that take their place. Pure.

Invariants:
* What is put in cannot end, or begin, a part of the multiparts around it: what holds a line which could be one of
  their boundaries is not put in (`fits`). Decrypted text would else stand in one document with clear text.
* The same input gives the same octets: two devices that open a mail make the same of it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from leap.mail.incoming.layered import Mark
from leap.mail.message.charsets import codec_of
from leap.mail.message.header_lines import empty_line
from leap.mail.message.parameters import decoded_parameter
from leap.mail.message.scanner import Part
from leap.mail.outgoing.field_lines import begins_with_continuation, is_plain, split_header
from leap.mail.outgoing.names import GUARD

_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,40}")
_EIGHT_BIT = re.compile(r"(?:iso-8859-|windows-125|cp125|koi8-)[0-9a-z]{1,3}", re.IGNORECASE)
_BARE_LF = re.compile(rb"(?<!\r)\n")


@dataclass(frozen=True, slots=True)
class Entity:
    """A MIME entity to put in, and what is known of its parts, by their place in it."""

    octets: bytes = field(repr=False)
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Edit:
    """`entity` in the place of the octets [start, end)."""

    start: int
    end: int
    entity: Entity


def splice(message: bytes, edits: Sequence[Edit], marks: Iterable[Mark]) -> Entity:
    """The message with edits made, which do not overlap; `marks` are about parts that stay."""
    pieces: list[bytes] = []
    moved: list[Mark] = []
    staying = sorted(marks, key=lambda one: one.offset)
    done = length = 0
    for edit in (
        *sorted(edits, key=lambda one: one.start),
        Edit(len(message), len(message) + 1, Entity(b"")),
    ):
        while staying and staying[0].offset < edit.end:
            one = staying.pop(0)
            moved.append(one.moved(length - done))
        pieces += (message[done : edit.start], edit.entity.octets)
        length += edit.start - done
        moved += (one.moved(length) for one in edit.entity.marks)
        length += len(edit.entity.octets)
        done = edit.end
    return Entity(b"".join(pieces), tuple(moved))


def fits(octets: bytes, boundaries: Iterable[bytes]) -> bool:
    """Whether no line of `octets`, whatever ends a line, begins with one of the boundaries."""
    return not any(
        octets.startswith(b"--" + one)
        or re.search(rb"[\r\n]--" + re.escape(one), octets) is not None
        for one in boundaries
    )


def boundary_of(part: Part) -> bytes:
    """The boundary of a multipart, as the scanner reads it."""
    boundary = part.params.get("boundary", b"").rstrip(b" \t")
    if boundary:
        return boundary
    return (decoded_parameter(part.params, "boundary") or "").encode().strip()


# -- entities


def attached_message(message: bytes, name: str, marks: Iterable[Mark] = ()) -> Entity:
    """A message as a file beside the text: a program shows it by itself, and quotes nothing of it in a reply."""
    header = (
        b"Content-Type: message/rfc822\r\n"
        b'Content-Disposition: attachment; filename="' + name.encode("ascii") + b'"\r\n'
        b"Content-Transfer-Encoding: " + _encoding(message) + b"\r\n\r\n"
    )
    return Entity(header + message, tuple(one.moved(len(header)) for one in marks))


def text_entity(text: bytes, charset: str, marks: Iterable[Mark] = ()) -> Entity:
    """A plain text; `charset` may be empty."""
    named = f"; charset={charset}" if charset else ""
    header = (
        f"Content-Type: text/plain{named}\r\nContent-Transfer-Encoding: ".encode("ascii")
        + _encoding(text)
        + b"\r\n\r\n"
    )
    return Entity(header + text, tuple(marks))


def mixed_entity(entities: Sequence[Entity]) -> Entity:
    """Entities side by side."""
    boundary = _boundary([one.octets for one in entities])
    octets = bytearray(b'Content-Type: multipart/mixed; boundary="' + boundary + b'"\r\n\r\n')
    marks: list[Mark] = []
    for one in entities:
        octets += b"--" + boundary + b"\r\n"
        marks += (its.moved(len(octets)) for its in one.marks)
        octets += one.octets + b"\r\n"
    octets += b"--" + boundary + b"--\r\n"
    return Entity(bytes(octets), tuple(marks))


def with_content(message: bytes, entity: Entity) -> Entity:
    """The header of a message without what describes its content, and `entity` for its content.

    Lines which are no fields for every program are left behind: for some, the content would begin there.
    """
    fields, _ = split_header(message[: empty_line(message)])
    kept = [one for one in fields if is_plain([one]) and not one.name.startswith("content-")]
    typed = any(one.name == "mime-version" for one in kept)
    version = b"" if typed else b"MIME-Version: 1.0\r\n"
    header = b"".join(one.raw if one.raw.endswith(b"\n") else one.raw + b" \r\n" for one in kept)
    guard = GUARD if begins_with_continuation(header) else b""
    lead = guard + header + version
    return Entity(lead + entity.octets, tuple(one.moved(len(lead)) for one in entity.marks))


def charset_of(part: Part) -> str:
    """The charset a text part names, if it can be named again; else empty."""
    named = decoded_parameter(part.params, "charset") or ""
    return named if _TOKEN.fullmatch(named) and codec_of(named) is not None else ""


def covered_charset(text: bytes, named: str) -> str:
    """The charset of what an inline block covers; `named` is that of the part around it, which nobody signed.

    RFC 9580 5.9 has UTF-8. Old programs wrote in the charset of the mail: that is believed of text which is no UTF-8,
    where it is one in which ASCII stays ASCII: in others, words can be spelled that nobody wrote.
    """
    if text.isascii():
        return "us-ascii"
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return named if _EIGHT_BIT.fullmatch(named) else "windows-1252"
    return "utf-8"


def crlf(text: bytes) -> bytes:
    """A text with the line ends of mail."""
    return _BARE_LF.sub(b"\r\n", text)


def _encoding(octets: bytes) -> bytes:
    return b"7bit" if octets.isascii() else b"8bit"


def _boundary(contents: Sequence[bytes]) -> bytes:
    digest = hashlib.sha256(b"\0".join(contents))
    while True:  # once: nobody can write a text with its own hash in it
        boundary = b"=_leap_" + digest.hexdigest()[:32].encode("ascii")
        if fits(b"\n".join(contents), [boundary]):
            return boundary
        digest.update(b"again")
