"""Puts the project's own SVG pictures into the page itself: their text can be selected and found, and they follow the
page's light or dark colours, which an <img> could not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("doctree-resolved", _inline)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _inline(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    if app.builder.format != "html":
        return
    for image in list(doctree.findall(nodes.image)):
        path = Path(app.srcdir) / image["uri"]
        if path.suffix == ".svg" and path.is_file():
            svg = re.sub(r"<\?xml.*?\?>|<!--.*?-->", "", path.read_text("utf-8"), flags=re.DOTALL)
            raw = nodes.raw("", f'<div class="picture">{svg}</div>', format="html")
            target = image.parent if isinstance(image.parent, nodes.paragraph) else image
            target.replace_self(raw)
