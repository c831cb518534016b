"""Sizes as a person writes and reads them: `500M`, `2 GB`; K, M, G and T are powers of 1,000."""

from __future__ import annotations

import re
from typing import Any

import click

_UNITS = ("", "K", "M", "G", "T")
_WRITTEN = re.compile(r"^(\d{1,15}(?:\.\d{1,6})?) ?([KMGT]?)B?$")


class _Size(click.ParamType):  # type: ignore[type-arg]  # not generic at run time
    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        found = _WRITTEN.match(str(value).strip().upper())
        if found is None:
            self.fail(f"{str(value)!r} is not a size; write it as 500M or 20G.", param, ctx)
        return int(float(found[1]) * 1000 ** _UNITS.index(found[2]))


SIZE = _Size()


def show_size(octets: int) -> str:
    """Three digits and a unit."""
    size, unit = float(octets), 0
    while size >= 999.5 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    digits = 0 if unit == 0 or size >= 99.95 else 1
    name = "bytes" if unit == 0 else f"{'k' if unit == 1 else _UNITS[unit]}B"
    return f"{size:.{digits}f} {name}"
