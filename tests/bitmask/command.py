"""The `bitmask` command as a process would run it, within the test's own: without a start of Python each time."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from leap.bitmask.cli.main import run

BITMASK = str(Path(sys.executable).parent / "bitmask")


class _Terminal(io.TextIOWrapper):
    """Standard input with a person at it."""

    def isatty(self) -> bool:
        return True


def bitmask(
    home: Path, *arguments: str, stdin: str = "", code: int = 0, terminal: bool = False
) -> subprocess.CompletedProcess[str]:
    """What the command says, after checking its exit code."""
    typed = (_Terminal if terminal else io.TextIOWrapper)(io.BytesIO(stdin.encode()), "utf-8")
    out, error = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patched, redirect_stdout(out), redirect_stderr(error):
        patched.setattr(sys, "argv", [BITMASK, *arguments])
        patched.setattr(sys, "stdin", typed)
        patched.setitem(os.environ, "BITMASK_HOME", str(home))
        with pytest.raises(SystemExit) as ended:
            run()
    said, told = (stream.buffer.getvalue().decode() for stream in (out, error))  # type: ignore[attr-defined]
    status = ended.value.code
    assert isinstance(status, int)
    assert status == code, (arguments, said, told)
    assert "Traceback" not in said + told
    return subprocess.CompletedProcess([BITMASK, *arguments], status, said, told)
