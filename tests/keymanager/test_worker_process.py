"""Long work goes to another process from any program, also from a script that is all main module."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import asyncio
from leap.keymanager.openpgp import offload

print("the program runs", flush=True)

async def main():
    workers = offload.Workers(processes=1)
    pid = await workers._run_in_process(__import__("os").getpid)
    print(pid != __import__("os").getpid(), __import__("sys").modules["__main__"].main is main)
    await workers.close()

asyncio.run(main())
"""


def run(*arguments: str, stdin: str | None = None) -> tuple[list[str], str]:
    done = subprocess.run(
        [sys.executable, *arguments], input=stdin, capture_output=True, text=True, timeout=60
    )
    return done.stdout.splitlines(), done.stderr


def test_a_script_without_a_guard_is_run_once(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    assert run(str(tmp_path / "script.py")) == (["the program runs", "True True"], "")


def test_a_program_on_standard_input_has_processes_too() -> None:
    assert run("-", stdin=SCRIPT) == (["the program runs", "True True"], "")
