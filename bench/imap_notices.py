"""How soon an idling client reads of a change, from its commit on, by where the change came from."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from tests.mail.imap.notices import measure_all

ROUNDS = 50


def run() -> dict[str, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        found = asyncio.run(measure_all(Path(name), ROUNDS))
    return {
        what: {
            "median ms": median(times) * 1000,
            "p95 ms": quantiles(times, n=20)[-1] * 1000,
            "worst ms": max(times) * 1000,
        }
        for what, times in found.items()
    }
