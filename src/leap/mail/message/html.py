"""HTML to the text that a person would read: for search, previews, quoting and terminals. No network, never raises.

What is hidden is left out everywhere: scripts, styles, embedded objects, and elements with the attribute `hidden` or a
style of `display:none`, `visibility:hidden` or `mso-hide:all`. So nobody finds, previews or quotes what they cannot
see. Style sheets are not applied: what only a class hides is shown.

Time is linear in the size, 1 to 4 µs for each tag; behind `MAX_TAGS` tags the source is not read on.
"""

from __future__ import annotations

import html
import re

MAX_TAGS = 200_000  # the largest newsletters have some thousands

# A whole tag, when its quotes are in order; else `_TAG_NAME` and `_after_tag`
_TAG = re.compile(
    r"<(/?)([A-Za-z][A-Za-z0-9:-]{0,30})"
    r"([^<>\"']*+(?:\"[^\"<>]*+\"[^<>\"']*+|'[^'<>]*+'[^<>\"']*+)*+)>"
)
_TAG_NAME = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9:-]{0,30})")
_SPACE = re.compile(r"[ \t\r\n\f\xa0]+")
_SPACE_IN_LINE = re.compile(r"[ \t\r\f\xa0]+")
_LINES = re.compile(r"\n\n\n+")
_LONG_NUMBER = re.compile(r"&#(?:[0-9]{9,}|[xX][0-9a-fA-F]{9,});?")
_HIDDEN = re.compile(
    r"display\s{0,9}:\s{0,9}none|visibility\s{0,9}:\s{0,9}hidden|mso-hide\s{0,9}:\s{0,9}all"
    r"|(?:^|[\s\"'])hidden(?=[\s=/]|$)"
)
_MAX_QUOTES = (
    20  # marks before a line; without a limit the text could grow with the square of the source
)
_QUOTE, _END_QUOTE = "\x01", "\x02"  # stand for quotations while the text is put together
_DROPPED = frozenset({
    "script", "style", "title", "template", "svg", "math", "object", "select", "iframe", "canvas", "audio", "video",
    "applet", "textarea",
})  # fmt: skip
_ENDS = {name: re.compile(f"</{name}(?![a-z0-9])", re.IGNORECASE) for name in _DROPPED}
_VOID = frozenset({
    "area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr",
})  # fmt: skip
_ENDED_BY_NEXT = frozenset(
    {"p", "li", "dt", "dd", "td", "th", "tr"}
)  # their end tags may be absent
_BREAKS = frozenset({"br", "tr", "li", "dt", "dd", "hr", "option"})
_BLOCKS = frozenset({
    "p", "div", "table", "ul", "ol", "dl", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre", "section",
    "article", "header", "footer", "address", "form", "center", "figure", "main", "nav", "aside",
})  # fmt: skip
_SEPARATORS = {
    **dict.fromkeys(_BREAKS, "\n"),
    **dict.fromkeys(_BLOCKS, "\n\n"),
    "td": " ",
    "th": " ",
}


def html_to_text(source: str, *, quotes: bool = False) -> str:
    """The visible words of `source`, blocks as lines; `quotes` marks the lines of quotations with "> " as plain text
    does."""
    out: list[str] = []
    if quotes and (_QUOTE in source or _END_QUOTE in source):
        source = source.replace(_QUOTE, " ").replace(_END_QUOTE, " ")
    position, length, tags, pre = 0, len(source), 0, 0
    open_quotes: list[bool] = []  # of each open blockquote: whether it quotes
    while position < length and tags < MAX_TAGS:
        mark = source.find("<", position)
        if mark < 0:
            mark = length
        if mark > position:
            text = source[position:mark]
            if "&" in text:
                text = unescape(text)
            out.append(_SPACE_IN_LINE.sub(" ", text) if pre else _SPACE.sub(" ", text))
        if mark >= length:
            break
        tags += 1
        tag = _TAG.match(source, mark)
        if tag is not None:
            position = tag.end()
            attributes = tag[3]
        elif tag := _TAG_NAME.match(source, mark):
            position = _after_tag(source, tag.end())
            attributes = source[tag.end() : position - 1]
        else:
            position = _after_other(source, mark)
            if position == mark + 1:
                out.append("<")  # "a < b"
            continue
        name, closing = tag[2].lower(), bool(tag[1])
        if not closing and name in _DROPPED:
            if not attributes.endswith("/"):
                end = _ENDS[name].search(source, position)
                position = _after_tag(source, end.end()) if end else length
            continue
        if attributes and not closing and name not in _VOID and _is_hidden(attributes):
            position, more = _after_hidden(source, position, name, MAX_TAGS - tags)
            tags += more
        elif quotes and name == "blockquote":
            if not closing:
                open_quotes.append("cite" in attributes or "quote" in attributes)
            ends = closing and bool(open_quotes) and open_quotes.pop()
            if ends or (not closing and open_quotes[-1]):
                out.append(f"\n{_END_QUOTE if closing else _QUOTE}\n")
        elif name == "pre":
            pre = max(0, pre - 1) if closing else pre + 1
        if separator := _SEPARATORS.get(name):
            out.append(separator)
    lines = [_SPACE.sub(" ", line).strip() for line in "".join(out).split("\n")]
    if quotes:
        lines = _quoted(lines)
    return _LINES.sub("\n\n", "\n".join(lines)).strip()


def unescape(text: str) -> str:
    """Character references resolved (HTML 13.5); a number too long to be one is U+FFFD."""
    if "&#" in text:
        text = _LONG_NUMBER.sub("\ufffd", text)  # int() refuses 4300 digits
    return html.unescape(text)


def _is_hidden(attributes: str) -> bool:
    lower = attributes.lower()
    return ("none" in lower or "hidden" in lower or "mso-hide" in lower) and _HIDDEN.search(
        lower
    ) is not None


def _after_hidden(source: str, position: int, name: str, room: int) -> tuple[int, int]:
    """Behind the element `name` whose start tag ends at `position`, and how many tags were passed."""
    depth, tables, count, length = 1, 0, 0, len(source)
    while count < room:
        mark = source.find("<", position)
        if mark < 0:
            return length, count
        count += 1
        tag = _TAG.match(source, mark) or _TAG_NAME.match(source, mark)
        if tag is None:
            position = _after_other(source, mark)
            continue
        position = tag.end() if tag.lastindex == 3 else _after_tag(source, tag.end())
        inner, closing = tag[2].lower(), bool(tag[1])
        if not closing and inner in _ENDS:
            end = _ENDS[inner].search(source, position)
            position = end.start() if end else length
        if name in _ENDED_BY_NEXT:
            if tables == 0 and (
                inner == name or (closing and inner in ("table", "ul", "ol", "tr"))
            ):
                return (position if closing and inner == name else mark), count
            if inner == "table":
                tables += -1 if closing else 1
        elif inner == name:
            depth += -1 if closing else 1
            if depth == 0:
                return position, count
    return length, count


def _quoted(lines: list[str]) -> list[str]:
    out: list[str] = []
    depth = before = 0
    blank = False
    for line in lines:
        if line == _QUOTE:
            depth += 1
        elif line == _END_QUOTE:
            depth -= 1
        if line in ("", _QUOTE, _END_QUOTE):
            blank = True
            continue
        shown = min(depth, _MAX_QUOTES)
        if blank and out:
            out.append(">" * min(before, shown))
        out.append(f"{'>' * shown} {line}" if shown else line)
        blank, before = False, shown
    return out


def _after_other(source: str, mark: int) -> int:
    """Behind a comment or declaration at `mark`; behind the "<" alone when it is only that."""
    if source.startswith("<!--", mark):
        end = source.find("-->", mark + 4)
        return len(source) if end < 0 else end + 3
    if source.startswith(("<!", "<?", "</"), mark):
        end = source.find(">", mark)
        return len(source) if end < 0 else end + 1
    return mark + 1


def _after_tag(source: str, position: int) -> int:
    """Behind the ">" of a tag, minding quotes around attribute values; a tag without end takes the rest."""
    length = len(source)
    end = source.find(">", position)
    if end < 0:
        return length
    for quote in ('"', "'"):
        if source.count(quote, position, end) % 2:
            # ">" inside a quoted value, as in <img alt="a > b">: go on behind the closing quote
            closing = source.find(quote, end, end + 4096)
            again = source.find(">", closing, closing + 4096) if closing >= 0 else -1
            if again >= 0:
                return again + 1
    return end + 1
