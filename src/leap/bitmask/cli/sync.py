"""`bitmask sync`: how sync is, sync now, comparing two devices, and going on after an alarm."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from leap.bitmask.cli.mail import one_account
from leap.bitmask.cli.output import Failure, answer, json_option, pass_home, run
from leap.bitmask.cli.passphrase import read_passphrase
from leap.bitmask.cli.user import ADDRESS
from leap.bitmask.control import ask
from leap.bitmask.home import Home


@click.group()
def sync() -> None:
    """How sync is; sync now; compare devices; go on after an alarm."""


def _ask(home: Home, command: str, address: str | None, **arguments: Any) -> dict[str, Any]:
    async def work() -> Any:
        address_of = one_account(home, address)
        return await ask(home, command, on_progress=_show, address=address_of, **arguments)

    result: dict[str, Any] = run(work())
    return result


def _show(progress: dict[str, Any]) -> None:
    """One line at a terminal, which the next one replaces."""
    if sys.stderr.isatty():
        line = "{kind}: {items} of {total}".format(**progress)
        click.echo(f"\r{line:<40}", err=True, nl=progress["items"] == progress["total"])


def _say(result: dict[str, Any]) -> None:
    click.echo(result["sentence"])
    if result["alarm"]:
        click.echo(
            "Your mail here is kept. `bitmask sync resume` tries again; if it stops again, found the log anew"
            " from the device which has everything: `bitmask sync refound`."
        )


def _say_status(result: dict[str, Any]) -> None:
    _say(result)
    for device in result["devices"]:
        wrote = device["wrote"]
        when = "has not written yet" if wrote is None else f"last wrote {_moment(wrote)}"
        here = " (this one)" if device["this"] else ""
        old = ": it is off, or the provider withholds what it wrote" if device["stale"] else ""
        click.echo(f"{device['name']}{here} {when}{old}")


def _moment(seconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _say_words(result: dict[str, Any]) -> None:
    if not result["words"]:
        click.echo("Nothing was synced yet, so there is nothing to compare.")
        return
    click.echo(" ".join(result["words"]))
    if result["unsynced"]:
        click.echo(
            f"{result['unsynced']} changes here are not synced yet: another device cannot show these words"
            " before they are. Sync first (`bitmask sync now`)."
        )


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
    answer(_ask(home, "sync-status", address), as_json=as_json, words=_say_status)


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


@sync.command()
@click.argument("address", type=ADDRESS, required=False)
@json_option
@pass_home
def fingerprint(home: Home, address: str | None, as_json: bool) -> None:
    """Show eight words that are the same on two devices in step.

    Different words on two devices that both say they are synced: the provider shows them different mail.
    """
    result = _ask(home, "sync-fingerprint", address)
    answer(result, as_json=as_json, words=_say_words)


@sync.command()
@click.argument("address", type=ADDRESS, required=False)
@click.option(
    "--passphrase-fd", type=int, metavar="N", help="Read the passphrase from this descriptor."
)
@click.option(
    "--set-passphrase",
    is_flag=True,
    help="Give two passphrases: the one that the provider knows, and the one from now on.",
)
@click.option("--yes", is_flag=True, help="Do not ask whether this is the right device.")
@json_option
@pass_home
def refound(
    home: Home,
    address: str | None,
    passphrase_fd: int | None,
    set_passphrase: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Make what this device has the account's log at the provider, whatever that shows now.

    For when sync stopped because the provider lost something, as after a restore from a backup. Do it once, on the
    device which has everything; the others follow by themselves and keep what only they have.
    """
    if not yes and not as_json and passphrase_fd is None:
        click.confirm(
            "What this device has becomes the account's log. Is it the one which has everything?",
            abort=True,
        )
    passphrase = read_passphrase("Passphrase of the account", descriptor=passphrase_fd)
    new = read_passphrase("Passphrase from now on", twice=True) if set_passphrase else None
    result = _ask(home, "sync-refound", address, passphrase=passphrase, new_passphrase=new)
    _fail_unless_synced(result)
    answer(result, as_json=as_json, words=_say)
