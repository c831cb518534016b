"""docs/tutorial.md, run as it stands: its code in order, with a real provider and bitmask, printing what is shown."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import doctest
import io
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from inspect import CO_COROUTINE
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import ROOT

TUTORIAL = ROOT / "docs" / "tutorial.md"
PATIENCE = 60.0  # seconds for all of the tutorial; it takes three
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Step(NamedTuple):
    """Code of the tutorial, the line it begins in, and what is shown below it."""

    line: int
    code: str
    shown: str


def steps(text: str) -> list[Step]:
    """The Python blocks in order; a "text" block is what the one before it prints."""
    found: list[Step] = []
    for match in _BLOCK.finditer(text):
        language, body = match.groups()
        if language == "python":
            found.append(Step(text.count("\n", 0, match.start()) + 2, body, ""))
        elif language == "text":
            found[-1] = found[-1]._replace(shown=body)
    return found


async def run(step: Step, names: dict[str, Any]) -> str:
    """Runs a block as `python -m asyncio` would, and answers what it printed."""
    code = compile(
        "\n" * (step.line - 1) + step.code,
        str(TUTORIAL),
        "exec",
        flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
    )
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        made = eval(code, names)
        if code.co_flags & CO_COROUTINE:
            await made
    return printed.getvalue()


def compared(shown: str, printed: str, line: int) -> str:
    """ "" when what was printed is what is shown, else the difference."""
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    checker = doctest.OutputChecker()
    if checker.check_output(shown, printed, options):
        return ""
    example = doctest.Example("", shown)
    return f"docs/tutorial.md:{line} prints something else\n" + checker.output_difference(
        example, printed, options
    )


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`make demo ARGS="--keep tutorial"` in the current folder, as the tutorial says."""
    assert 'make demo ARGS="--keep tutorial"' in TUTORIAL.read_text()
    monkeypatch.chdir(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "leap.bitmask.demo", "--json", "--wait", "--keep", "tutorial"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["accounts"]
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


async def test_the_tutorial_does_what_it_says(demo: None) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    async with asyncio.timeout(PATIENCE):
        for step in steps(TUTORIAL.read_text()):
            printed = await run(step, names)
            assert not (difference := compared(step.shown, printed, step.line)), difference


def test_every_block_can_be_pasted_into_an_interactive_python() -> None:
    """There a compound statement ends with an empty line, and only there."""
    for step in steps(TUTORIAL.read_text()):
        lines = step.code.splitlines()
        for statement in ast.parse(step.code).body[:-1]:
            if hasattr(statement, "body"):
                assert not lines[statement.end_lineno or 0].strip(), f"docs/tutorial.md:{step.line}"
            inside = lines[statement.lineno : statement.end_lineno]
            assert all(line.strip() for line in inside), f"docs/tutorial.md:{step.line}"


def test_what_is_not_printed_as_shown_is_noticed() -> None:
    [step] = steps("```python\nprint(1)\n```\n\n```text\n2\n```\n")
    assert step == Step(2, "print(1)\n", "2\n")
    assert "something else" in compared(step.shown, "1\n", step.line)
    assert not compared("a ... c\n", "a b c\n", 1)
