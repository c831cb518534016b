"""Where the OpenPGP layers of a mail stand: what covers all that is shown, and what covers only a part. Pure.

    encrypted   multipart/encrypted (RFC 3156 4), or its two halves in a multipart/mixed, as Exchange leaves it
    signed      multipart/signed (RFC 3156 5) of the strict form of `signed`
    block       plain text that is one inline message, or one cleartext-signed text

Nothing here decrypts; nothing raises.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from leap.mail.incoming.inline import Piece, damaged_cleartext, only_block
from leap.mail.message.attachments import disposition
from leap.mail.message.decoding import decode_body
from leap.mail.message.scanner import Part, scan
from leap.mail.outgoing.pgp_mime import (
    ARMOR_HEAD,
    ARMOR_TAIL,
    find_ciphertext,
    is_smime_encrypted,
)

MAX_TEXT = 4 * 1024 * 1024  # octets of a text, still encoded, in which blocks are looked for
_HTML = re.compile(rb"/x?html", re.IGNORECASE)
# Where a part is one of several that are shown one below the other; of others a program shows one, or joins them
SIDE_BY_SIDE = frozenset({"mixed", "signed", "digest", "parallel", "report"})


@dataclass(frozen=True, slots=True)
class Top:
    """The layer that covers all a message shows: at most one of the first two, else none."""

    ciphertext: bytes | None = field(default=None, repr=False)
    block: Piece | None = None
    text: bytes = field(default=b"", repr=False)  # decoded; what `block` stands in
    smime: bool = False
    fault: str = ""  # of a text that begins as a cleartext-signed one, and is none


def top_of(message: bytes, root: Part) -> Top:
    """The outermost encrypted or inline layer of a message whose tree is `root`."""
    if root.is_multipart:
        if root.subtype == "encrypted":
            return Top(ciphertext=find_ciphertext(message))
        if root.subtype == "mixed" and (pair := halves(message, root.children)) is not None:
            first, ciphertext = pair
            others = [*root.children[:first], *root.children[first + 2 :]]
            if all(_shows_nothing(message, one) for one in others):
                return Top(ciphertext=ciphertext)
        return Top()
    if is_smime_encrypted(message):
        return Top(smime=True)
    text = readable(message, root)
    if text is None:
        return Top()
    block = only_block(text)
    return Top(block=block, text=text) if block else Top(fault=damaged_cleartext(text))


def readable(message: bytes, part: Part) -> bytes | None:
    """The decoded octets of a part in which inline blocks are looked for; None when it is not plain text."""
    # application/pgp is what programs of before MIME's own type wrote (RFC 2015)
    if part.content_type not in ("text/plain", "application/pgp") or part.size > MAX_TEXT:
        return None
    said = disposition(message, part)
    if said is not None and said[0] == "attachment":
        return None  # a file
    return decode_body(message, part)


def halves(message: bytes, children: Sequence[Part]) -> tuple[int, bytes] | None:
    """The first of two neighbours which are the halves of a multipart/encrypted, and the OpenPGP message.

    Exchange makes a multipart/mixed of it, with an empty text in front, and names the second ATT00001 or so.
    """
    for at, (control, content) in enumerate(pairwise(children)):
        if control.content_type != "application/pgp-encrypted":
            continue
        if content.content_type != "application/octet-stream":
            continue
        if decode_body(message, control).split() != [b"Version:", b"1"]:  # RFC 3156 4
            continue
        if (ciphertext := _openpgp_message(decode_body(message, content))) is not None:
            return at, ciphertext
    return None


def ciphertext_of(message: bytes, part: Part) -> bytes | None:
    """The OpenPGP message of a multipart/encrypted somewhere in a message."""
    return find_ciphertext(message[part.header_start : part.end])


def has_html(message: bytes) -> bool:
    """Whether a mail program could show HTML of it."""
    if _HTML.search(message) is None:
        return False  # a cheap look
    return any(
        one.content_type in ("text/html", "application/xhtml+xml") for one in scan(message).walk()
    )


def _openpgp_message(data: bytes) -> bytes | None:
    if data[:1] >= b"\x80":
        return data  # packets without armor, as the other part said what they are
    start, end = data.find(ARMOR_HEAD), data.rfind(ARMOR_TAIL)
    if start < 0 or end < start or data[:start].strip() or data[end + len(ARMOR_TAIL) :].strip():
        return None
    return data[start : end + len(ARMOR_TAIL)] + b"\r\n"


def _shows_nothing(message: bytes, part: Part) -> bool:
    return part.content_type == "text/plain" and not decode_body(message, part).strip()
