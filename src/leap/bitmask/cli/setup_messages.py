"""`bitmask keys setup-messages`: offers the keys which other mail programs sent to oneself."""

from __future__ import annotations

from typing import Any

import click

from leap.bitmask.cli.key_options import account_option
from leap.bitmask.cli.mail import one_account
from leap.bitmask.cli.output import answer, json_option, pass_home, run
from leap.bitmask.home import Home

_SHORT_ID = 10


@click.command()
@account_option
@json_option
@pass_home
def setup_messages(home: Home, account: str | None, as_json: bool) -> None:
    """Show the Autocrypt Setup Messages in your mail: keys of your own from other mail programs.

    Take one in with `bitmask keys restore --mail ID`, and the Setup Code which the other program showed.
    """
    address = one_account(home, account)

    async def work() -> Any:
        from leap.bitmask.setup_messages import find_setup_messages

        return {"messages": await find_setup_messages(home, address)}

    def words(result: dict[str, Any]) -> None:
        for one in result["messages"]:
            begins = f", its code begins with {one['code_begins']}" if one["code_begins"] else ""
            click.echo(
                f"{one['id'][:_SHORT_ID]}  {one['date'][:10]}  from {one['sent_by']}{begins}"
            )
        if not result["messages"]:
            click.echo("There is no Setup Message in your mail.")
            return
        if any(one["sent_by"] == "somebody" for one in result["messages"]):
            click.echo(
                "\nAnybody can send a message that says it is from you: take in only what you made just now."
            )
        click.echo(
            "\nbitmask keys restore --mail ID takes the key in; --use makes it the one in use."
        )

    answer(run(work()), as_json=as_json, words=words)
