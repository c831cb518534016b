"""Every text in a message, decoded: what search may find.

Decoded text only, never base64: all text parts (HTML as its visible words), the fields that people see of messages
inside, names of attachments. Armored OpenPGP and uuencoded blocks are left out, and so is HTML that says no more than
the plain text before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from leap.mail.message.attachments import attachment_name, without_uuencoded
from leap.mail.message.decoding import decode_body, decode_text
from leap.mail.message.flowed import unflow
from leap.mail.message.header import iter_fields
from leap.mail.message.html import html_to_text
from leap.mail.message.scanner import Part, scan

MAX_PART = 4_000_000  # octets to decode of one part for an index: HTML may be nine tenths markup
_MAX_ENCODED = (
    3  # messages inside messages, transfer-encoded against RFC 2046 5.2.1, and opened nevertheless
)
_SPACE = re.compile(r"\s+")
_SHOWN = frozenset({"from", "to", "cc", "bcc", "reply-to", "subject", "date", "sender"})
_ARMOR_BEGIN = re.compile(r"^-----BEGIN PGP (?!SIGNED)[A-Z ]{3,30}-----[ \t]*$", re.MULTILINE)


def all_texts(
    raw: bytes, root: Part, limit: int | None = None, depth: int = 0
) -> Iterator[tuple[Literal["name", "body"], str]]:
    """The texts and the names of files that `root` holds, the header of `root` itself apart; of each part only about
    the first `limit` octets when that is given."""
    plain = ""  # the last plain text: HTML behind it is often the same again
    stack = [root]
    while stack:
        part = stack.pop()
        encoded = part.is_message and part.encoding in ("base64", "quoted-printable")
        if not encoded:
            stack.extend(reversed(part.children))
        if part.is_multipart:
            continue
        if part.type != "text" or part is not root:
            name = attachment_name(raw, part)
            if name:
                yield "name", name
        if part.is_message and part.children:
            if not encoded:
                yield "body", _shown_fields(raw, part.children[0])
            elif depth < _MAX_ENCODED:
                # against RFC 2046 5.2.1, but a person sees a message
                inner = decode_body(raw, part, limit)
                tree = scan(inner)
                yield "body", _shown_fields(inner, tree)
                yield from all_texts(inner, tree, limit, depth + 1)
        elif part.type == "text" and not part.children:
            text = decode_text(raw, part, limit)
            if part.subtype == "html":
                text = html_to_text(text)
                before, plain = plain, ""  # compared once: thousands of parts may follow
                if before and _flat(text) in _flat(before):
                    continue
            else:
                if part.params.get("delsp", b"").lower() == b"yes":
                    text = unflow(text, delete_space=True)  # else its lines would cut words apart
                text, files = without_uuencoded(text)
                for name in files:
                    yield "name", name
                plain = text = _without_armor(text)
            yield "body", text


def contains(raw: bytes, root: Part, needle: str, *, headers: bool) -> bool:
    """Whether `needle` occurs in the text of a message, letter case aside (RFC 9051 6.4.4); `headers` adds all of
    its own header."""
    wanted = needle.casefold()
    if not wanted:
        return True
    flat = _SPACE.sub(" ", wanted)
    for text in texts(raw, root, headers=headers):
        folded = text.casefold()
        # also across line ends: a person does not see where a line was broken
        if wanted in folded or (" " in flat and flat in _SPACE.sub(" ", folded)):
            return True
    return False


def texts(raw: bytes, root: Part, *, headers: bool) -> Iterator[str]:
    """Every text and name of a file in a message, decoded; with `headers` the whole of its own header first."""
    if headers:
        fields = iter_fields(raw, root.header_start, root.body_start)
        yield "\n".join(f"{field.name}: {field.text}" for field in fields)
    for _, text in all_texts(raw, root):
        yield text


def _shown_fields(raw: bytes, part: Part) -> str:
    fields = iter_fields(raw, part.header_start, part.body_start)
    return "\n".join(f"{field.name}: {field.text}" for field in fields if field.key in _SHOWN)


def _without_armor(text: str) -> str:
    """A text without its armored blocks, whose base64 nobody searches for; signed text stays."""
    if "-----BEGIN PGP" not in text:
        return text
    out: list[str] = []
    position = 0
    while begin := _ARMOR_BEGIN.search(text, position):
        end = text.find("-----END PGP", begin.end())
        if end < 0:
            break
        out.append(text[position : begin.start()])
        newline = text.find("\n", end)
        position = len(text) if newline < 0 else newline + 1
    out.append(text[position:])
    return "".join(out)


def _flat(text: str) -> str:
    return " ".join(text.split())
