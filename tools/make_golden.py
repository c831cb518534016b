#!/usr/bin/env python3
"""Writes tests/golden/VERSION: a store and its provider as the present program makes them.

Run it for a version that is not released yet, whenever a format was changed. A released one is never made again: that
it still opens is what the test is for.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.golden.making import FOLDER, make  # noqa: E402

RELEASED: tuple[str, ...] = ()


def main() -> int:
    version = sys.argv[1] if len(sys.argv) > 1 else "0.1"
    if version in RELEASED:
        print(f"{version} is released: its golden store is never made again", file=sys.stderr)
        return 1
    asyncio.run(make(FOLDER / version))
    for path in sorted((FOLDER / version).rglob("*")):
        if path.is_file():
            print(f"{path.stat().st_size:8} {path.relative_to(ROOT)}")
    return 0


sys.exit(main())
