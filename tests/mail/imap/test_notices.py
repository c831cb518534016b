"""Changes from anywhere reach every idling client; `make bench ARGS=imap_notices` has the figures."""

from __future__ import annotations

from pathlib import Path
from statistics import median

from tests.mail.imap.notices import measure_all

BOUND = 0.25  # seconds; the promise is 20 ms, but other tests run on the same processors


async def test_changes_from_anywhere_reach_every_idling_client(tmp_path: Path) -> None:
    found = await measure_all(tmp_path, 3)
    assert len(found) == (3 + 3 + 1 + 3) * 3  # changes by source, times listeners
    late = {what: median(times) for what, times in found.items() if median(times) > BOUND}
    assert not late
