"""How commands speak: words for people, or one JSON document with `--json`; and how they fail.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 wrong passphrase, 4 provider cannot be reached,
5 the provider's certificate is not trusted, 6 the daemon does not run, 7 a port is in use, 8 the disk is full,
9 `doctor verify` found something that is not mended.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import click

from leap.bitmask.control import ControlError
from leap.bitmask.home import Home, HomeError

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

EXIT_CODES = {
    "wrong-passphrase": 3,
    "unreachable": 4,
    "bad-certificate": 5,
    "not-running": 6,
    "port-in-use": 7,
    "storage-full": 8,
    "findings": 9,
}

pass_home = click.make_pass_decorator(Home)


class Failure(click.ClickException):
    """One sentence, a word for programs, and by it an exit code; `cli.main.run` shows it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # click has it as a class variable
        return EXIT_CODES.get(self.kind, 1)


def json_option(command: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Answer with one line of JSON.")(
        command
    )


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs a command's coroutine; turns what it refuses into a Failure."""
    try:
        return asyncio.run(work)
    except ControlError as error:
        raise Failure(error.kind, str(error)) from error
    except HomeError as error:
        raise Failure("home", str(error)) from error
    except KeyboardInterrupt as error:
        raise Failure("interrupted", "Interrupted.") from error


def answer(result: Any, *, as_json: bool, words: Callable[[Any], None]) -> None:
    """Prints a result in one of the two ways."""
    if as_json:
        print(json.dumps(result, ensure_ascii=False))
    else:
        words(result)
    sys.stdout.flush()


def table(rows: list[tuple[str, ...]]) -> None:
    """Columns of text, aligned."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        click.echo(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
