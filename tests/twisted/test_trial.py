"""Runs the tests that are trial's: on the reactor of asyncio, and on the same with uvloop."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MODULES = ["tests.twisted.trial_account", "tests.twisted.trial_servers"]


@pytest.mark.parametrize("reactor", ["asyncio", "uvloop"])
def test_trial_passes(reactor: str, tmp_path: Path) -> None:
    trial = [sys.executable, "-m", "twisted.trial", "--reactor", reactor]
    done = subprocess.run(
        [*trial, "--temp-directory", str(tmp_path / "trial"), *MODULES],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "PASSED" in done.stdout
