"""Ten mail programs over sockets, the API and a second device on one account; `make soak ARGS=imap-stress` is longer.

A failure leaves its last words in .pytest_cache/imap-stress/SEED.txt; a seed that failed once is added to SEEDS.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.mail.imap.stress.run import Store, run

# 1: RECENT above EXISTS; 3: a header record kept of an expunged message (both on Soledad)
SEEDS: list[tuple[Store, int, int]] = [
    ("memory", 2, 4),
    ("soledad", 1, 2),
    ("soledad", 3, 2),
    ("promising", 14, 3),
]


@pytest.mark.parametrize(("store", "seed", "rounds"), SEEDS)
async def test_every_model_stays_true(store: Store, seed: int, rounds: int, tmp_path: Path) -> None:
    kept = ROOT / ".pytest_cache" / "imap-stress"
    report = await run(store, tmp_path, seed, rounds=rounds, seconds=6, kept=kept)
    assert report.rounds >= 1
    assert report.compared > 0
