"""Docstrings of this project are plain text, as they read in a terminal; here they become reStructuredText for autodoc.

* What stands in `backticks` is code, and a link where it names something in this reference.
* An indented block behind an empty line is shown as it is; lines that begin with "* " are a list.
* Any other sign means itself: no star, bar or underscore of a docstring is markup.
* A field without a docstring takes the comment that ends its line.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from functools import cache
from pydoc import locate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_CODE = re.compile(r"``(?P<twice>[^`]+)``|`(?P<once>[^`]+)`(?P<stuck>\w?)")
_NAME = re.compile(r"[A-Za-z_][\w.]*")
_MARKUP = re.compile(r"([\\*|_`])")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("autodoc-process-docstring", _process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _process(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    if what == "attribute" and not any(lines):
        lines[:] = [_comment_of(name), ""]
    lines[:] = as_rst(lines)


def as_rst(lines: list[str]) -> list[str]:
    """The lines of a plain docstring as reStructuredText."""
    out: list[str] = []
    for block in _blocks(lines):
        if block[0].startswith(" "):
            out += [
                "::",
                "",
                *(f"    {line}" for line in textwrap.dedent("\n".join(block)).splitlines()),
            ]
        else:
            for paragraph in _items(block):
                out += [*_inline("\n".join(paragraph)).splitlines(), ""]
        out.append("")
    return out


def _blocks(lines: list[str]) -> list[list[str]]:
    """Runs of lines between empty ones; indented runs that follow each other are one."""
    runs: list[list[str]] = []
    fresh = True
    for line in lines:
        if not line.strip():
            fresh = True
            continue
        indented = line.startswith(" ")
        if fresh and indented and runs and runs[-1][0].startswith(" "):
            runs[-1] += ["", line]
        elif fresh or not runs:
            runs.append([line])
        else:
            runs[-1].append(line)
        fresh = False
    return runs


def _items(block: list[str]) -> list[list[str]]:
    """A paragraph and the items of a list that follows it without an empty line."""
    found: list[list[str]] = [[]]
    for line in block:
        if line.startswith("* "):
            found.append([])
        found[-1].append(line)
    return [one for one in found if one]


def _inline(text: str) -> str:
    mark, text = ("* ", text[2:]) if text.startswith("* ") else ("", text)
    out, end = [], 0
    for match in _CODE.finditer(text):
        out.append(_MARKUP.sub(r"\\\1", text[end : match.start()]))
        code = " ".join((match["twice"] or match["once"]).split())
        if match["once"] and _NAME.fullmatch(code):
            out.append(f":py:obj:`{code}`")
        else:
            out.append(f"``{code}``")
        if match["stuck"]:
            out.append(f"\\ {match['stuck']}")
        end = match.end()
    out.append(_MARKUP.sub(r"\\\1", text[end:]))
    return mark + "".join(out)


def _comment_of(name: str) -> str:
    """The comment that ends the line of a field of a class."""
    owner, _, field = name.rpartition(".")
    found = locate(owner)
    return _comments(found).get(field, "") if isinstance(found, type) else ""


@cache
def _comments(kind: type) -> dict[str, str]:
    try:
        source = textwrap.dedent(inspect.getsource(kind))
    except (OSError, TypeError):
        return {}
    lines = source.splitlines()
    found: dict[str, str] = {}
    for node in ast.parse(source).body[0].body:  # type: ignore[attr-defined]
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            _, mark, comment = lines[node.end_lineno - 1][node.end_col_offset or 0 :].partition(
                "# "
            )
            if mark:
                text = comment.strip()
                found[node.target.id] = text[:1].upper() + text[1:]
    return found
