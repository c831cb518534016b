"""`bitmask sync`: how sync is, sync now, and going on after an alarm."""

from __future__ import annotations

from typing import Any

import click

from leap.bitmask.cli.mail import one_account
from leap.bitmask.cli.output import Failure, answer, json_option, pass_home, run
from leap.bitmask.cli.user import ADDRESS
from leap.bitmask.control import ask
from leap.bitmask.home import Home


@click.group()
def sync() -> None:
    """How sync is; sync now; go on after an alarm."""


def _ask(home: Home, command: str, address: str | None) -> dict[str, Any]:
    async def work() -> Any:
        return await ask(home, command, address=one_account(home, address))

    result: dict[str, Any] = run(work())
    return result


def _say(result: dict[str, Any]) -> None:
    click.echo(result["sentence"])
    if result["alarm"]:
        click.echo("Your mail here is kept. `bitmask sync resume` tries again.")


def _fail_unless_synced(result: dict[str, Any]) -> None:
    if result["alarm"]:
        raise Failure("alarm", result["sentence"])
    if result["error"]:
        kind = "refused" if result["online"] else "unreachable"
        raise Failure(kind, result["sentence"])


@sync.command()
@click.argument("address", type=ADDRESS, required=False)
@json_option
@pass_home
def status(home: Home, address: str | None, as_json: bool) -> None:
    """Show whether everything is synced, what waits, what is missing, and why sync stopped if it did."""
    answer(_ask(home, "sync-status", address), as_json=as_json, words=_say)


@sync.command()
@click.argument("address", type=ADDRESS, required=False)
@json_option
@pass_home
def now(home: Home, address: str | None, as_json: bool) -> None:
    """Sync now, and say how it went."""
    result = _ask(home, "sync-now", address)
    _fail_unless_synced(result)
    answer(result, as_json=as_json, words=_say)


@sync.command()
@click.argument("address", type=ADDRESS, required=False)
@json_option
@pass_home
def resume(home: Home, address: str | None, as_json: bool) -> None:
    """After an alarm: tell what it was, clear it, and sync again. Missing contents are asked for too.

    An alarm says that the provider showed what cannot be true. Resume when you know why, or when the
    provider says that it is mended: if it still shows the same, sync stops again.
    """
    result = _ask(home, "sync-resume", address)
    was = result["alarm_was"]
    if not as_json:
        click.echo(f"Sync had stopped: {was}" if was else "Sync had not stopped.")
    _fail_unless_synced(result)
    answer(result, as_json=as_json, words=_say)
