"""A slice of `make soak ARGS=porting`: in and out in all forms, with kills, and nothing is lost, changed or doubled."""

from __future__ import annotations

from pathlib import Path

from tests.mail.porting.torment import torment


async def test_mail_of_all_kinds_travels_in_and_out_through_kills(tmp_path: Path) -> None:
    report = await torment(tmp_path, 200, 20261126, 1)
    assert report.messages == 200
