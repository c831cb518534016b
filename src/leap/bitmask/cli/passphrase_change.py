"""`bitmask passphrase`: changing it."""

from __future__ import annotations

from typing import Any

import click

from leap.bitmask.cli.mail import one_account
from leap.bitmask.cli.output import answer, json_option, pass_home, run
from leap.bitmask.cli.passphrase import read_passphrase
from leap.bitmask.cli.recovery import show_words
from leap.bitmask.cli.user import ADDRESS
from leap.bitmask.control import ask
from leap.bitmask.home import Home


@click.group()
def passphrase() -> None:
    """Change the passphrase of an account."""


@passphrase.command()
@click.argument("address", type=ADDRESS, required=False)
@click.option(
    "--leaked",
    is_flag=True,
    help="Others may know the old one: make new keys and a new recovery code too.",
)
@click.option(
    "--passphrase-fd", type=int, metavar="N", help="Read the old passphrase from this descriptor."
)
@click.option(
    "--new-passphrase-fd",
    type=int,
    metavar="N",
    help="Read the new passphrase from this descriptor; may be the same, a line after the other.",
)
@json_option
@pass_home
def change(
    home: Home,
    address: str | None,
    leaked: bool,
    passphrase_fd: int | None,
    new_passphrase_fd: int | None,
    as_json: bool,
) -> None:
    """Change the passphrase of ADDRESS. Other devices stay logged in; they unlock with the old one until then.

    With --leaked, who knows the old passphrase and has copies of what the provider kept can read nothing
    that is written from now on.
    """
    address = one_account(home, address)
    old = read_passphrase(f"Passphrase for {address}", descriptor=passphrase_fd)
    new = read_passphrase(
        f"New passphrase for {address}",
        descriptor=passphrase_fd if new_passphrase_fd is None else new_passphrase_fd,
        twice=True,
    )

    async def work() -> Any:
        return await ask(
            home,
            "passphrase-change",
            address=address,
            passphrase=old,
            new_passphrase=new,
            leaked=leaked,
        )

    def words(result: dict[str, Any]) -> None:
        click.echo(f"The new passphrase of {address} holds from now on.")
        click.echo(
            "Your other devices unlock with the one before until you give them the new one:\n"
            f"unlock there, then run `bitmask user auth {address}` once more with the new one."
        )
        if result["recovery_code"]:
            show_words(result["recovery_code"], new=True)

    answer(run(work()), as_json=as_json, words=words)
