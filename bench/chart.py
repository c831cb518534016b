"""Draws measured numbers as bars: `python -m bench.chart NUMBERS.json PICTURE.svg`.

NUMBERS is a list of charts, each with `title`, `unit`, `bars` (label -> number) and perhaps `limit`, a line that the
bars should reach or stay below.
"""

from __future__ import annotations

import json
import sys
from html import escape
from pathlib import Path
from typing import Any

WIDTH, LABELS, VALUES = 920, 360, 90  # pixels: the picture, its labels, its numbers
BAR, GAP, HEAD = 16, 6, 46


def _chart(chart: dict[str, Any], top: int) -> tuple[list[str], int]:
    """The lines of one chart, and where the next one begins."""
    bars: dict[str, float] = chart["bars"]
    limit = chart.get("limit")
    scale = (WIDTH - LABELS - VALUES) / max([*bars.values(), limit or 0])
    lines = [f'<text class="title" x="0" y="{top + 24}">{escape(chart["title"])}</text>']
    y = top + HEAD - 8
    for label, value in bars.items():
        lines += [
            f'<text class="label" x="{LABELS - 8}" y="{y + 12}">{escape(label)}</text>',
            f'<rect x="{LABELS}" y="{y}" width="{max(1.0, value * scale):.1f}" height="{BAR}"/>',
            f'<text x="{LABELS + value * scale + 6:.1f}" y="{y + 12}">'
            f"{value:,g} {escape(chart['unit'])}</text>",
        ]
        y += BAR + GAP
    if limit:
        x = LABELS + limit * scale
        lines.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top + HEAD - 12}" y2="{y - 4}"/>')
        lines.append(f'<text class="limit" x="{x:.1f}" y="{y + 8}">demanded: {limit:,g}</text>')
    return lines, y + 20


def draw(charts: list[dict[str, Any]]) -> str:
    """One picture, the charts below each other."""
    body: list[str] = []
    top = 0
    for chart in charts:
        lines, top = _chart(chart, top)
        body += lines
    style = (
        "text{font:13px sans-serif;fill:#222}.title{font-weight:bold;font-size:15px}.label{text-anchor:end}"
        ".limit{text-anchor:middle;font-size:11px;fill:#a33}rect{fill:#47739e}"
        "line{stroke:#a33;stroke-dasharray:4 3}"
    )
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}"'
            f' viewBox="0 0 {WIDTH} {top}">',
            f"<style>{style}</style>",
            f'<rect width="{WIDTH}" height="{top}" style="fill:#fff"/>',
            *body,
            "</svg>\n",
        ]
    )


if __name__ == "__main__":
    numbers = json.loads(Path(sys.argv[1]).read_text())
    Path(sys.argv[2]).write_text(draw(numbers))
