"""`bitmask recovery`: the 24 words, and getting back in by them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from leap.bitmask.cli.launch import ensure_daemon
from leap.bitmask.cli.mail import one_account, show_settings
from leap.bitmask.cli.output import answer, json_option, pass_home, run
from leap.bitmask.cli.passphrase import read_passphrase
from leap.bitmask.cli.user import ADDRESS, api_option, ca_option, device_option, where
from leap.bitmask.control import ask
from leap.bitmask.home import Home


@click.group()
def recovery() -> None:
    """Show the recovery code; get back into an account by it."""


def show_words(code: str, *, new: bool = False) -> None:
    """The words in rows of six, and what to do with them."""
    if new:
        click.echo(
            "\nThe recovery code is a new one; the one before opens nothing new. Write down these"
        )
        click.echo("24 words and keep them away from this computer:\n")
    parts = code.split()
    for start in range(0, len(parts), 6):
        click.echo("    " + " ".join(parts[start : start + 6]))


@recovery.command()
@click.argument("address", type=ADDRESS, required=False)
@click.option("--new", is_flag=True, help="Make a new code; the one before ends.")
@click.option(
    "--passphrase-fd", type=int, metavar="N", help="Read the passphrase from this descriptor."
)
@json_option
@pass_home
def show(
    home: Home, address: str | None, new: bool, passphrase_fd: int | None, as_json: bool
) -> None:
    """Show the 24 words of the recovery code again; asks for the passphrase."""
    address = one_account(home, address)
    passphrase = read_passphrase(f"Passphrase for {address}", descriptor=passphrase_fd)

    async def work() -> Any:
        return await ask(home, "recovery-show", address=address, passphrase=passphrase, new=new)

    answer(
        run(work()),
        as_json=as_json,
        words=lambda result: show_words(result["recovery_code"], new=new),
    )


@recovery.command()
@click.argument("address", type=ADDRESS)
@api_option
@ca_option
@device_option
@click.option(
    "--words-fd",
    type=int,
    metavar="N",
    help="Read the 24 words, in one line, from this descriptor.",
)
@click.option(
    "--passphrase-fd",
    type=int,
    metavar="N",
    help="Read the new passphrase from this descriptor; may be the same, a line after the other.",
)
@json_option
@pass_home
def restore(
    home: Home,
    address: str,
    api: str | None,
    ca: Path | None,
    device_name: str,
    words_fd: int | None,
    passphrase_fd: int | None,
    as_json: bool,
) -> None:
    """Set up ADDRESS here by its recovery code, and give it a new passphrase: for when the old one is lost."""
    if api is None:
        raise click.UsageError("Say where the provider is: --api https://…")
    code = read_passphrase(f"The 24 words for {address}", descriptor=words_fd)
    passphrase = read_passphrase(
        f"New passphrase for {address}",
        descriptor=words_fd if passphrase_fd is None else passphrase_fd,
        twice=True,
    )

    async def work() -> Any:
        await ensure_daemon(home)
        return await ask(
            home,
            "recovery-restore",
            address=address,
            words=code,
            passphrase=passphrase,
            device_name=device_name,
            **where(api, ca),
        )

    def words(result: dict[str, Any]) -> None:
        click.echo(f"{address} is set up here, and the new passphrase holds from now on.")
        click.echo("The recovery code stays the same. If a device is lost, remove it now:")
        click.echo("`bitmask device list` shows them, `bitmask device revoke` removes one.")
        click.echo("In your mail program:")
        show_settings(result)

    answer(run(work()), as_json=as_json, words=words)
