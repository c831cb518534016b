"""`bitmask keys`: OpenPGP keys of the account and of its correspondents."""

from __future__ import annotations

from typing import Any

import click

from leap.bitmask.cli.mail import one_account
from leap.bitmask.cli.output import answer, json_option, pass_home, run, table
from leap.bitmask.cli.own_keys import add_own_key_commands
from leap.bitmask.cli.user import ADDRESS
from leap.bitmask.control import ask
from leap.bitmask.home import Home

_account = click.option(
    "--account", type=ADDRESS, help="Whose key ring; needed when there are several."
)


@click.group()
def keys() -> None:
    """List and export OpenPGP keys."""


@keys.command(name="list")
@_account
@json_option
@pass_home
def list_(home: Home, account: str | None, as_json: bool) -> None:
    """List the keys known to the account, its own first."""

    async def work() -> Any:
        return await ask(home, "keys-list", address=one_account(home, account))

    def words(result: list[dict[str, Any]]) -> None:
        if not result:
            click.echo("No keys are known yet.")
        else:
            table([(k["address"], k["fingerprint"], k["level"], k["source"]) for k in result])
        for key in result:
            if key.get("problem"):
                click.echo(key["problem"])

    answer(run(work()), as_json=as_json, words=words)


@keys.command()
@click.argument("address", type=ADDRESS, required=False)
@_account
@click.option("--secret", is_flag=True, help="Your own secret key. Keep what is printed safe.")
@json_option
@pass_home
def export(
    home: Home, address: str | None, account: str | None, secret: bool, as_json: bool
) -> None:
    """Print the key of ADDRESS (your own when none is given), armored."""

    async def work() -> Any:
        chosen = one_account(home, account)
        return await ask(home, "keys-export", address=chosen, of=address or chosen, secret=secret)

    def words(result: dict[str, Any]) -> None:
        click.echo(result["armored"], nl=False)

    answer(run(work()), as_json=as_json, words=words)


add_own_key_commands(keys)
