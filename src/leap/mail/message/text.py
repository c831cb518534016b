"""What a message says, as text: the body a person reads, and a preview."""

from __future__ import annotations

import re

from leap.mail.message.attachments import disposition
from leap.mail.message.decoding import decode_text
from leap.mail.message.flowed import unflow
from leap.mail.message.html import html_to_text
from leap.mail.message.scanner import Part

PREVIEW_LENGTH = 160  # characters; two lines on a screen
_PREVIEW_WINDOW = 32 * 1024  # octets of a part looked at: HTML begins with kilobytes of style
_PREVIEW_BEGINNING = 2048  # characters of its text, which are nearly always enough
_PREVIEW_PARTS = 4
_BOTH = ("plain", "html")
_QUOTE = re.compile(r"^>.*\n?", re.MULTILINE)


def preview(raw: bytes, root: Part) -> str:
    """The first words of what a person reads, in one line; quoted lines only when there is nothing else."""
    quoted = ""
    for part in _body_parts(raw, root, _BOTH)[:_PREVIEW_PARTS]:
        text = _text_of(raw, part, _PREVIEW_WINDOW)
        beginning = _own_words(text[:_PREVIEW_BEGINNING])
        if len(beginning) < PREVIEW_LENGTH:
            beginning = _own_words(text)
        if beginning:
            return beginning[:PREVIEW_LENGTH]
        quoted = quoted or _printable(_one_line(text))
    return quoted[:PREVIEW_LENGTH]


def _own_words(text: str) -> str:
    """A text in one line, without quoted lines."""
    return _printable(_one_line(_QUOTE.sub("", text)))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def body_text(raw: bytes, root: Part) -> str:
    """The body as plain text, HTML turned into text where there is no other; texts between files are joined."""
    texts = [_text_of(raw, part) for part in _body_parts(raw, root, _BOTH)]
    if len(texts) == 1:
        return texts[0]
    return "\n\n".join(shown for text in texts if (shown := text.strip("\n")))


def body_html(raw: bytes, root: Part) -> str | None:
    """The body as HTML, as it was sent and not made safe; None when there is none."""
    parts = _body_parts(raw, root, ("html",))
    return decode_text(raw, parts[0]) if parts else None


def _text_of(raw: bytes, part: Part, limit: int | None = None) -> str:
    text = decode_text(raw, part, limit)
    if part.subtype == "html":
        return html_to_text(text, quotes=True)
    if part.params.get("format", b"").lower() == b"flowed":
        return unflow(text, delete_space=part.params.get("delsp", b"").lower() == b"yes")
    return text


def _body_parts(raw: bytes, part: Part, wanted: tuple[str, ...]) -> list[Part]:
    """The leaves that hold the body, in order: of alternatives the one wanted most, of multipart/related the page
    (RFC 2387), of others all that are no files. The scanner bounds the depth of this recursion."""
    if not part.children:
        return [part] if part.type == "text" and part.subtype in wanted else []
    if part.is_message or part.subtype in ("encrypted", "digest"):
        return []
    if part.subtype == "alternative":
        for subtype in wanted:
            for child in part.children:
                if found := _body_parts(raw, child, (subtype,)):
                    return found
        return []
    out: list[Part] = []
    for child in part.children:
        if child.type in ("text", "multipart") and not _is_file(raw, child):
            out += _body_parts(raw, child, wanted)
            if out and part.subtype == "related":
                break
    return out


def _is_file(raw: bytes, part: Part) -> bool:
    parsed = disposition(raw, part)
    return parsed is not None and parsed[0] == "attachment"


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(c for c in text if c.isprintable())
