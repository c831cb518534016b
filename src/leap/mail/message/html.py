"""HTML to plain text, for previews, search and terminals: no network, no scripts, never raises, linear time."""

from __future__ import annotations

import html
import re

_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9:-]{0,30})")
_SPACE = re.compile(r"[ \t\r\n\f\xa0]+")
_LINES = re.compile(r"\n[ \n]*\n[ \n]*")
_DROPPED = frozenset(
    {"script", "style", "title", "template", "noscript", "svg", "math", "object", "select"}
)
_BREAKS = frozenset({"br", "tr", "li", "dt", "dd", "hr", "option"})
_BLOCKS = frozenset({
    "p", "div", "table", "ul", "ol", "dl", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre", "section",
    "article", "header", "footer", "address", "form", "center", "figure", "main", "nav", "aside",
})  # fmt: skip


def html_to_text(source: str) -> str:
    """The visible words of `source`, blocks as lines."""
    out: list[str] = []
    lower = source.lower() if source.isascii() else _ascii_lower(source)
    position, length = 0, len(source)
    while position < length:
        mark = source.find("<", position)
        if mark < 0:
            mark = length
        if mark > position:
            out.append(_SPACE.sub(" ", html.unescape(source[position:mark])))
        if mark >= length:
            break
        if source.startswith("<!--", mark):
            end = source.find("-->", mark + 4)
            position = length if end < 0 else end + 3
            continue
        tag = _TAG.match(source, mark)
        if tag is None:
            if source.startswith(("<!", "<?", "</"), mark):
                end = source.find(">", mark)
                position = length if end < 0 else end + 1
            else:
                out.append("<")  # "a < b"
                position = mark + 1
            continue
        name = tag[2].lower()
        position = _after_tag(source, tag.end())
        if name in _DROPPED and not tag[1] and source[position - 2 : position] != "/>":
            end = lower.find(f"</{name}", position)
            position = length if end < 0 else _after_tag(source, end + 2)
        elif name in _BREAKS:
            out.append("\n")
        elif name in _BLOCKS:
            out.append("\n\n")
        elif name in ("td", "th"):
            out.append(" ")
    lines = (_SPACE.sub(" ", line).strip() for line in "".join(out).split("\n"))
    return _LINES.sub("\n\n", "\n".join(lines)).strip()


def _after_tag(source: str, position: int) -> int:
    """Behind the ">" of a tag, minding quotes around attribute values; a tag without end takes the rest."""
    length = len(source)
    end = source.find(">", position)
    if end < 0:
        return length
    attributes = source[position:end]
    for quote in ('"', "'"):
        if attributes.count(quote) % 2:
            # ">" inside a quoted value, as in <img alt="a > b">: go on behind the closing quote
            closing = source.find(quote, end, end + 4096)
            again = source.find(">", closing) if closing >= 0 else -1
            if again >= 0:
                return again + 1
    return end + 1


def _ascii_lower(source: str) -> str:
    """Lower case that keeps every index: str.lower() may change the length of other letters."""
    return "".join(c.lower() if c.isascii() else c for c in source)
