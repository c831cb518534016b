"""format=flowed (RFC 3676): text whose paragraphs any program may wrap anew, and quotations of any depth.

flowed line = *">" [" "] text " "        ; goes on in the next line of the same depth
fixed line  = *">" [" "] text            ; ends a paragraph
signature   = "-- "                      ; fixed, in spite of its space (RFC 3676 4.3)
"""

from __future__ import annotations

import re

WIDTH = 72  # RFC 3676 4.2 asks for 78 at most, quotation marks included
_QUOTED = re.compile(r"(?:> ?)*+")
_WORD = re.compile(r"[^ ]* +|[^ ]+")
_SIGNATURE = "-- "


def unflow(text: str, *, delete_space: bool = False) -> str:
    """Flowed text made into paragraphs (RFC 3676 4.2), one a line; `delete_space` is the parameter DelSp=yes."""
    out: list[str] = []
    pieces: list[str] = []
    open_depth = -1
    for line in text.split("\n"):
        content = line.lstrip(">")
        depth = len(line) - len(content)
        if content.startswith(" "):
            content = content[1:]  # space-stuffing, RFC 3676 4.4
        flows = content.endswith(" ") and content != _SIGNATURE
        if flows and delete_space:
            content = content[:-1]
        if open_depth == depth and content != _SIGNATURE:
            pieces.append(content)
        else:
            if pieces:
                out.append("".join(pieces))
            pieces = [">" * depth + (" " if depth and content else "") + content]
        open_depth = depth if flows else -1
    out.append("".join(pieces))
    return "\n".join(out)


def flow(text: str) -> str:
    """`text`, with one paragraph a line and quotations marked by ">", as flowed text. White space at the end of lines
    is not kept: there it has a meaning."""
    return "\n".join(line for paragraph in text.split("\n") for line in _wrapped(paragraph))


def _wrapped(paragraph: str) -> list[str]:
    if paragraph == _SIGNATURE:
        return [paragraph]
    found = _QUOTED.match(paragraph)
    mark = found[0] if found else ""
    depth = mark.count(">")
    content = paragraph[len(mark) :].rstrip(" ")
    width = max(20, WIDTH - depth - 1)
    lines: list[str] = []
    line = ""
    for word in _WORD.findall(content):
        # a line "-- " in the middle would be read as a signature
        if line and len(line) + len(word.rstrip(" ")) > width and line != _SIGNATURE:
            lines.append(line)
            line = ""
        line += word
    lines.append(line)
    if depth:
        return [f"{'>' * depth} {each}".rstrip(" " if not each else "") for each in lines]
    # RFC 3676 4.4: what begins like a quotation, like mbox's separator or with a space is stuffed
    return [f" {each}" if each.startswith((" ", ">", "From ")) else each for each in lines]
