"""`bitmask sync`: how sync is, sync now, what is kept here, comparing two devices, going on after an alarm."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from leap.bitmask.cli.mail import one_account
from leap.bitmask.cli.output import Failure, answer, json_option, pass_home, run
from leap.bitmask.cli.passphrase import read_passphrase
from leap.bitmask.cli.size import SIZE, show_size
from leap.bitmask.cli.user import ADDRESS
from leap.bitmask.control import ask
from leap.bitmask.home import Home


@click.group()
def sync() -> None:
    """How sync is; sync now; what is kept here; compare devices; go on after an alarm."""


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
    "--all", "all_", is_flag=True, help="Keep the contents of all mail here (the default)."
)
@click.option("--on-demand", is_flag=True, help="Fetch a mail's content when it is read.")
@click.option(
    "--keep",
    type=SIZE,
    help="Keep at most so many bytes here (20G, 500M): the newest mail, and what was read lately.",
)
@json_option
@pass_home
def contents(
    home: Home,
    address: str | None,
    all_: bool,
    on_demand: bool,
    keep: int | None,
    as_json: bool,
) -> None:
    """Show or decide which contents of mail are kept on this device.

    What is not here lies at the provider, encrypted, and comes when it is read. What goes to save room goes
    only when the provider has it. The lists of mail are always kept. Without an option nothing is changed.
    --on-demand and --keep may stand together: then of what was read, at most so much stays.
    """
    if all_ and (on_demand or keep is not None):
        raise click.UsageError("--all keeps everything: it cannot stand with the others.")
    mode = "all" if all_ else "on-demand" if on_demand else None
    result = _ask(home, "sync-contents", address, contents=mode, keep_bytes=keep)
    answer(result, as_json=as_json, words=_say_contents)


def _say_contents(result: dict[str, Any]) -> None:
    kept = result["keep_bytes"]
    if result["contents"] == "on-demand":
        click.echo("A mail's content is fetched when it is read, and kept.")
    elif kept is None:
        click.echo("The contents of all mail are kept on this device.")
    else:
        click.echo("The contents of the newest mail are kept on this device.")
    if kept is not None:
        click.echo(f"At most {show_size(kept)} stay here; the lists of mail stay in any case.")
    here, evicted, absent = result["here"], result["evicted"], result["absent"]
    click.echo(f"Here, with the lists: {here['blobs']} contents, {show_size(here['bytes'])}.")
    if absent["blobs"]:
        click.echo(f"Not fetched: {absent['blobs']} contents, {show_size(absent['bytes'])}.")
    if evicted["blobs"]:
        click.echo(
            f"Gone from here to save room: {evicted['blobs']} contents, {show_size(evicted['bytes'])}."
        )


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
