"""kill -9 of either daemon and of each provider while mails travel: each is there exactly once afterwards."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.scenarios.journey import Journey, one_provider, torment, two_providers

SEED = 20261127
PATIENCE = 180.0  # seconds for everything to arrive after the last kill


@pytest.mark.parametrize(
    ("way", "mails", "kills"), [(one_provider, 100, 24), (two_providers, 40, 12)]
)
def test_every_mail_survives_kills_on_its_way(
    tmp_path: Path,
    way: Callable[[Path], AbstractContextManager[Journey]],
    mails: int,
    kills: int,
) -> None:
    with way(tmp_path) as journey:
        in_transit = torment(journey, mails, kills, SEED)
        print(f"{kills} kills, {in_transit} of them with mail in transit (seed {SEED})")
        journey.check(mails, PATIENCE)
        assert in_transit * 2 >= kills
