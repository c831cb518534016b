"""What a message says, as text: the body a person reads, and a preview."""

from __future__ import annotations

import re

from leap.mail.message.decoding import decode_text
from leap.mail.message.html import html_to_text
from leap.mail.message.scanner import MAX_DEPTH, Part

PREVIEW_LENGTH = 160  # characters; two lines on a screen
_PREVIEW_WINDOW = 32 * 1024  # octets of a part looked at: HTML begins with kilobytes of style
_PREVIEW_BEGINNING = 2048  # characters of its text, which are nearly always enough
_QUOTE = re.compile(r"^>.*\n?", re.MULTILINE)


def preview(raw: bytes, root: Part) -> str:
    """The first words of what a person reads, in one line; quoted lines only when there is nothing else."""
    part = _body_part(root, ("plain", "html")) or _body_part(root, ("html", "plain"))
    if part is None:
        return ""
    text = decode_text(raw, part, _PREVIEW_WINDOW)
    text = html_to_text(text) if part.subtype == "html" else text
    beginning = _own_words(text[:_PREVIEW_BEGINNING])
    if len(beginning) < PREVIEW_LENGTH:
        beginning = _own_words(text) or _printable(_one_line(text))
    return beginning[:PREVIEW_LENGTH]


def _own_words(text: str) -> str:
    """A text in one line, without quoted lines."""
    return _printable(_one_line(_QUOTE.sub("", text)))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def body_text(raw: bytes, root: Part) -> str:
    """The body as plain text; HTML is turned into text when there is no other."""
    part = _body_part(root, ("plain", "html"))
    if part is None:
        return ""
    text = decode_text(raw, part)
    if part.subtype == "html":
        return html_to_text(text)
    if part.params.get("format", b"").lower() == b"flowed":
        return unflow(text, delete_space=part.params.get("delsp", b"").lower() == b"yes")
    return text


def body_html(raw: bytes, root: Part) -> str | None:
    """The body as HTML, as it was sent and not made safe; None when there is none."""
    part = _body_part(root, ("html",))
    return None if part is None else decode_text(raw, part)


def unflow(text: str, *, delete_space: bool = False) -> str:
    """format=flowed made into paragraphs (RFC 3676 4.2): lines that end in a space go on in the next."""
    out: list[str] = []
    open_depth = -1
    for line in text.split("\n"):
        content = line.lstrip(">")
        depth = len(line) - len(content)
        if content.startswith(" "):
            content = content[1:]  # space-stuffing, RFC 3676 4.4
        flows = content.endswith(" ") and content != "-- "  # signature, RFC 3676 4.3
        if flows and delete_space:
            content = content[:-1]
        if open_depth == depth and content != "-- ":
            out[-1] += content
        else:
            out.append((">" * depth + " " if depth else "") + content)
        open_depth = depth if flows else -1
    return "\n".join(out)


def _body_part(part: Part, wanted: tuple[str, ...], depth: int = 0) -> Part | None:
    """The leaf that holds the body: the best alternative, the first of mixed and related; never an attachment
    that follows (those come later in the order of the message)."""
    if depth > MAX_DEPTH:
        return None
    if not part.children:
        return part if part.type == "text" and part.subtype in wanted else None
    if part.is_message or part.subtype in ("encrypted", "digest"):
        return None
    if part.subtype == "alternative":
        for subtype in wanted:
            for child in part.children:
                if found := _body_part(child, (subtype,), depth + 1):
                    return found
        return None
    for child in part.children:
        if found := _body_part(child, wanted, depth + 1):
            return found
    return None


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(c for c in text if c.isprintable())
