"""`bitmask mail quarantine`: mail that could not be opened yet, or never should be by this program."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from leap.bitmask.cli.mail import one_account
from leap.bitmask.cli.mail_reading import SHORT_ID, plain
from leap.bitmask.cli.output import answer, json_option, pass_home, run
from leap.bitmask.cli.user import ADDRESS
from leap.bitmask.control import ask
from leap.bitmask.home import Home

account_option = click.option("--account", "address", type=ADDRESS, help="Of which account.")
RETRY_PATIENCE = 900.0  # seconds: each mail that has to be stopped takes a minute


@click.group()
def quarantine() -> None:
    """Mail that could not be opened. It is kept, and tried again when a key or another version comes."""


@quarantine.command("list")
@account_option
@json_option
@pass_home
def list_(home: Home, address: str | None, as_json: bool) -> None:
    """Show what could not be opened, oldest first, and why."""
    result = run(ask(home, "quarantine-list", address=one_account(home, address)))

    def words(result: list[dict[str, Any]]) -> None:
        for one in result:
            click.echo(
                f"{one['id'][:SHORT_ID]}  {_day(one)}  {one['octets']} octets: {plain(one['reason'])}"
            )
        if not result:
            click.echo("Nothing is in quarantine.")

    answer(result, as_json=as_json, words=words)


@quarantine.command()
@click.argument("id")
@account_option
@json_option
@pass_home
def show(home: Home, id: str, address: str | None, as_json: bool) -> None:
    """Show all that is known of one mail, by the beginning of its ID."""
    result = run(ask(home, "quarantine-show", address=one_account(home, address), id=id))

    def words(one: dict[str, Any]) -> None:
        click.echo(f"Id        {one['id']}")
        click.echo(f"Received  {_day(one)} by the provider, {one['octets']} octets as sealed")
        click.echo(f"Reason    {plain(one['reason'])}")
        here = "which is here" if one["key_is_here"] else "which is not on this device"
        click.echo(f"Key       sealed to the inbox key {plain(one['key_id'])}, {here}")
        if one["poisoned"]:
            click.echo(
                f"Tried     by version {plain(one['tried_by'])}; again by itself when another version comes"
            )
        else:
            click.echo("Tried     again by itself when a key arrives, and at each start")

    answer(result, as_json=as_json, words=words)


@quarantine.command()
@click.argument("id", required=False)
@account_option
@json_option
@pass_home
def retry(home: Home, id: str | None, address: str | None, as_json: bool) -> None:
    """Try to open the mail of this ID now, or all."""
    chosen = one_account(home, address)
    result = run(ask(home, "quarantine-retry", timeout=RETRY_PATIENCE, address=chosen, id=id))

    def words(result: dict[str, Any]) -> None:
        count = len(result["opened"])
        if count:
            click.echo(
                "1 mail was opened and is in INBOX."
                if count == 1
                else f"{count} mails were opened and are in INBOX."
            )
        for one in result["kept"]:
            click.echo(f"{one['id'][:SHORT_ID]}  stays: {plain(one['reason'])}")
        if not count and not result["kept"]:
            click.echo("Nothing is in quarantine.")

    answer(result, as_json=as_json, words=words)


@quarantine.command()
@click.argument("id")
@click.argument("file", type=click.Path(path_type=Path))
@account_option
@json_option
@pass_home
def export(home: Home, id: str, file: Path, address: str | None, as_json: bool) -> None:
    """Write the mail of this ID to a new FILE: as it arrived when its seal can be opened here, else sealed."""
    path = str(file.expanduser().absolute())
    chosen = one_account(home, address)
    result = run(ask(home, "quarantine-export", address=chosen, id=id, path=path))

    def words(result: dict[str, Any]) -> None:
        click.echo(f"{result['octets']} octets were written to {result['path']}.")
        if result["unsealed"]:
            click.echo("It is the mail as it arrived. Whatever is wrong with it is still in it.")
        else:
            click.echo("It is sealed: the key it was sealed to is not on this device.")

    answer(result, as_json=as_json, words=words)


def _day(one: dict[str, Any]) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(one["received"]))
