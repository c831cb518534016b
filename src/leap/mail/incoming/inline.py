"""OpenPGP written into plain text: where its blocks stand in it, as the lines between them are nobody's word. Pure.

    text = *( other lines / message / cleartext )
    message   = "-----BEGIN PGP MESSAGE-----" *(header) empty base64 "-----END PGP MESSAGE-----"     ; RFC 9580 6.2
    cleartext = "-----BEGIN PGP SIGNED MESSAGE-----" ... "-----END PGP SIGNATURE-----"                ; RFC 9580 7

Invariants:
* The pieces, joined, are the text; a block begins and ends with whole lines.
* What only looks like a block (quoted, cut, with words between its lines) is other text.
* Nothing raises; the number of blocks looked at is bounded, and so is the time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal

from leap.keymanager.openpgp import CleartextSigned, OpenPGPError, read_cleartext

MAX_BLOCKS = 16  # in one text; a digest of signed mails has some
_BEGIN = re.compile(rb"(?m)^-----BEGIN PGP (SIGNED )?MESSAGE-----[ \t]*\r?$")
_MESSAGE = re.compile(
    rb"-----BEGIN PGP MESSAGE-----[ \t]*\r?\n(?:[!-9;-~]++: [^\r\n]*+\r?\n){0,16}[ \t]*\r?\n"
    rb"(?:[A-Za-z0-9+/=]++[ \t]*\r?\n|[ \t]*\r?\n)++-----END PGP MESSAGE-----[ \t]*(?:\r?\n|\Z)"
)


@dataclass(frozen=True, slots=True)
class Piece:
    """Octets [start, end) of a text: other text, or a block."""

    kind: Literal["text", "message", "cleartext"]
    start: int
    end: int
    cleartext: CleartextSigned | None = field(default=None, repr=False)


def has_blocks(text: bytes) -> bool:
    """Whether a block may stand in it: a cheap look."""
    return b"-----BEGIN PGP " in text and _BEGIN.search(text) is not None


def pieces(text: bytes) -> list[Piece]:
    """What a text is made of, in order; empty for an empty one."""
    found: list[Piece] = []
    at = done = 0
    for _ in range(MAX_BLOCKS):
        begin = _BEGIN.search(text, at)
        if begin is None:
            break
        block = _cleartext(text, begin.start()) if begin[1] else _message(text, begin.start())
        if block is None:
            at = begin.end()
            continue
        if block.start > done:
            found.append(Piece("text", done, block.start))
        found.append(block)
        at = done = block.end
    if done < len(text):
        found.append(Piece("text", done, len(text)))
    return found


def only_block(text: bytes) -> Piece | None:
    """The block which the text is, but for white space around it."""
    if not has_blocks(text):
        return None
    shown = [one for one in pieces(text) if one.kind != "text" or not is_blank(text, one)]
    return shown[0] if len(shown) == 1 and shown[0].kind != "text" else None


def damaged_cleartext(text: bytes) -> str:
    """Why a text that begins as a cleartext-signed one is none; empty when it does not, or is one."""
    start = len(text) - len(text.lstrip())
    if not has_blocks(text) or not text.startswith(b"-----BEGIN PGP SIGNED MESSAGE-----", start):
        return ""
    try:
        read_cleartext(text, start)
    except OpenPGPError as error:
        return str(error)
    return ""


def is_blank(text: bytes, piece: Piece) -> bool:
    return not text[piece.start : piece.end].strip()


def _message(text: bytes, start: int) -> Piece | None:
    found = _MESSAGE.match(text, start)
    return Piece("message", start, found.end()) if found else None


def _cleartext(text: bytes, start: int) -> Piece | None:
    try:
        block = read_cleartext(text, start)
    except OpenPGPError:
        return None
    if block.start != start:
        return None
    end = text.find(b"\n", block.end) + 1 or len(text)
    return Piece("cleartext", start, end, block)
