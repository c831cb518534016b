#!/usr/bin/env python3
"""Writes docs/formats/vectors/*.json anew. Run it after a format was changed; the diff shows what became different."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.formats.making import FOLDER, MAKERS  # noqa: E402


def main() -> int:
    FOLDER.mkdir(exist_ok=True)
    for name, make in MAKERS.items():
        text = json.dumps(make(), indent=1, ensure_ascii=False) + "\n"
        path = FOLDER / f"{name}.json"
        changed = not path.exists() or path.read_text() != text
        path.write_text(text)
        print(f"{'written' if changed else 'as it was'}: {path.relative_to(ROOT)}")
    for path in FOLDER.glob("*.json"):
        if path.stem not in MAKERS:
            path.unlink()
            print(f"removed: {path.relative_to(ROOT)}")
    return 0


sys.exit(main())
