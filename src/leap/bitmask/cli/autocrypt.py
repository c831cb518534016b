"""`bitmask keys autocrypt`: what your own mail says about encryption to the mail programs of others."""

from __future__ import annotations

from typing import Any

import click

from leap.bitmask.cli.key_options import account_option
from leap.bitmask.cli.mail import one_account
from leap.bitmask.cli.output import answer, json_option, pass_home, run
from leap.bitmask.control import ask
from leap.bitmask.home import Home

_WORDS = {
    "mutual": "Your mail says that you prefer to have encrypted mail. Programs that prefer it as well encrypt by"
    " themselves.",
    "nopreference": "Your mail says that you can have encrypted mail, and nothing of what you prefer. Programs"
    " encrypt when their users say so, and in answer to encrypted mail.",
}


@click.command()
@click.argument("preference", type=click.Choice(["mutual", "nopreference"]), required=False)
@account_option
@json_option
@pass_home
def autocrypt(home: Home, preference: str | None, account: str | None, as_json: bool) -> None:
    """Say what the Autocrypt header of your mail asks for: mutual or nopreference.

    Your key is in it in either case. Whether your own mail is encrypted is said by `bitmask keys policy`. Without a
    preference the present one is shown; "mutual" at first.
    """

    async def work() -> Any:
        own = one_account(home, account)
        return await ask(home, "keys-autocrypt", address=own, preference=preference)

    answer(
        run(work()),
        as_json=as_json,
        words=lambda result: click.echo(_WORDS[result["prefer_encrypt"]]),
    )
