"""`bitmask keys`: OpenPGP keys of the account and of its correspondents: the lists, and what is known of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from leap.bitmask.cli import contacts, key_files
from leap.bitmask.cli.autocrypt import autocrypt
from leap.bitmask.cli.key_options import account_option, shown_groups
from leap.bitmask.cli.key_sources import refresh, sources
from leap.bitmask.cli.mail import one_account
from leap.bitmask.cli.output import answer, json_option, pass_home, run, table
from leap.bitmask.cli.own_keys import add_own_key_commands
from leap.bitmask.cli.setup_messages import setup_messages
from leap.bitmask.cli.user import ADDRESS
from leap.bitmask.control import ask
from leap.bitmask.home import Home


@click.group()
def keys() -> None:
    """Keys of your own and of others: list, explain, find, import, compare, block, export."""


keys.add_command(setup_messages)
keys.add_command(sources)
keys.add_command(refresh)


@keys.command(name="list")
@account_option
@json_option
@pass_home
def list_(home: Home, account: str | None, as_json: bool) -> None:
    """List the keys known to the account, its own first."""

    async def work() -> Any:
        return await ask(home, "keys-list", address=one_account(home, account))

    def words(result: list[dict[str, Any]]) -> None:
        if not result:
            click.echo("No keys are known yet.")
            return
        table([row_of(key) for key in result])
        for key in result:
            for alert in key["alerts"]:
                click.echo(f"ATTENTION: {alert}")
            if key.get("problem"):
                click.echo(key["problem"])

    answer(run(work()), as_json=as_json, words=words)


def row_of(key: dict[str, Any]) -> tuple[str, ...]:
    """What the list says of one key: whose, which, how far believed, by what, and what is to be known of it."""
    if key["alerts"]:
        state = "ATTENTION"
    elif key["blocked"]:
        state = "blocked"
    elif key["revoked"]:
        state = "revoked"
    elif not key["can_encrypt"]:
        state = "cannot be encrypted to"
    elif key["offered"]:
        state = "another key is offered"
    elif key["own"]:
        state = "in use" if key["in_use"] else "opens mail only"
    else:
        state = ""
    level = "yours" if key["own"] else key["level_words"]
    return key["address"], shown_groups(key["fingerprint"]), level, key["source"], state


@keys.command()
@click.argument("wanted", metavar="ADDRESS|FINGERPRINT")
@account_option
@json_option
@pass_home
def show(home: Home, wanted: str, account: str | None, as_json: bool) -> None:
    """Show all about the key of an address: why it is believed, since when, and what was refused."""

    async def work() -> Any:
        return await ask(home, "keys-show", address=one_account(home, account), of=wanted)

    def words(result: list[dict[str, Any]]) -> None:
        for number, key in enumerate(result):
            if number:
                click.echo()
            for line in key["lines"]:
                click.echo(line)

    answer(run(work()), as_json=as_json, words=words)


@keys.command()
@click.argument("address", type=ADDRESS)
@account_option
@json_option
@pass_home
def find(home: Home, address: str, account: str | None, as_json: bool) -> None:
    """Ask all places for the key of ADDRESS now, and show what each answered."""

    async def work() -> Any:
        return await ask(home, "keys-find", address=one_account(home, account), of=address)

    def words(result: dict[str, Any]) -> None:
        for line in result["lines"]:
            click.echo(line)

    answer(run(work()), as_json=as_json, words=words)


@keys.command()
@click.argument("address", type=ADDRESS, required=False)
@account_option
@click.option("--all", "everybody", is_flag=True, help="The keys of everybody, your own first.")
@click.option("--secret", is_flag=True, help="Your own secret key. Keep what is printed safe.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a new file instead of printing.",
)
@json_option
@pass_home
def export(
    home: Home,
    address: str | None,
    account: str | None,
    everybody: bool,
    secret: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Print the key of ADDRESS (your own when none is given), armored."""
    if everybody and (address is not None or secret):
        raise click.UsageError("--all exports the public keys of everybody; name no address then.")

    async def work() -> Any:
        chosen = one_account(home, account)
        return await ask(
            home,
            "keys-export",
            address=chosen,
            of=address or chosen,
            secret=secret,
            all=everybody,
        )

    result = run(work())
    if output is not None:
        key_files.write_new(output, result["armored"], secret=secret)
        result = {**result, "file": str(output)}
        del result["armored"]

    def words(result: dict[str, Any]) -> None:
        if output is not None:
            click.echo(f"Written to {output}.")
        else:
            click.echo(result["armored"], nl=False)

    answer(result, as_json=as_json, words=words)


for _command in (
    key_files.import_,
    autocrypt,
    contacts.verify,
    contacts.policy,
    contacts.block,
    contacts.delete,
):
    keys.add_command(_command)
add_own_key_commands(keys)
