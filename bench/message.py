"""The MIME structure of mail, beside the standard library on the same bytes: the shared corpus, or generated mail."""

from __future__ import annotations

import email
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.incoming import mail
from leap.mail.message import scan

CORPUS = Path(__file__).resolve().parent.parent.parent / "shared" / "corpus"
ROUNDS = 5


def _seconds(work: Callable[[bytes], object], raws: list[bytes]) -> float:
    runs = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for raw in raws:
            work(raw)
        runs.append(time.process_time() - began)
    return statistics.median(runs)


def run() -> dict[str, dict[str, Any]]:
    """MB/s of both and their ratio, medians of five rounds."""
    source, raws = "corpus", [path.read_bytes() for path in sorted(CORPUS.glob("*/*.eml"))]
    if not raws:
        source, raws = "generated", [mail(number, 10_000) for number in range(1_000)]
    megabytes = sum(map(len, raws)) / 1e6
    ours = _seconds(scan, raws)
    theirs = _seconds(email.message_from_bytes, raws)
    return {
        f"structure, {source}, {len(raws)} mails": {
            "ours MB/s": megabytes / ours,
            "standard library MB/s": megabytes / theirs,
            "times faster": theirs / ours,
        }
    }
