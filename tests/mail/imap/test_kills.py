"""A server that is killed loses nothing it answered; `make soak ARGS=imap-kills` does it more often."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mail.imap.kills import Child, torment


async def test_what_was_answered_is_there_after_kill_9_and_uids_go_on(tmp_path: Path) -> None:
    report = await torment(Child(tmp_path / "store.db"), 2, 20261126)
    assert report.kills == 2
    assert report.answered > 0


@pytest.mark.parametrize("seed", [7, 20261127])
async def test_the_same_when_small_changes_are_promised_between_mail_that_is_accepted(
    tmp_path: Path, seed: int
) -> None:
    report = await torment(Child(tmp_path / "store.db", fewest=1), 3, seed)
    assert report.kills == 3
    assert report.answered > 0
