"""`bitmask mail queue`: mail on its way out, calling it back, and the delay that gives time to."""

from __future__ import annotations

import time
from typing import Any

import click

from leap.bitmask.cli.mail import one_account
from leap.bitmask.cli.mail_reading import SHORT_ID, plain
from leap.bitmask.cli.output import answer, json_option, pass_home, run
from leap.bitmask.cli.user import ADDRESS
from leap.bitmask.home import Home

HOW = {
    "encrypted": "encrypted",
    "signed": "readable, signed",
    "clear": "readable",
    "as-is": "encrypted by the mail program",
}
account_option = click.option("--account", "address", type=ADDRESS, help="Of which account.")


@click.group()
def queue() -> None:
    """Mail on its way out from this device."""


@queue.command("list")
@account_option
@click.option("--all", "everything", is_flag=True, help="What was sent in two weeks, too.")
@json_option
@pass_home
def list_(home: Home, address: str | None, everything: bool, as_json: bool) -> None:
    """Show what waits, what failed and what was cancelled, newest first."""

    async def work() -> dict[str, Any]:
        from leap.bitmask.mail_queue import list_queue

        return await list_queue(home, one_account(home, address), everything=everything)

    def words(result: dict[str, Any]) -> None:
        for entry in result["entries"]:
            _show(entry)
        if not result["entries"]:
            click.echo("No mail waits.")
        if result["delay"]:
            click.echo(f"New mail waits {result['delay']} seconds before it leaves.")

    answer(run(work()), as_json=as_json, words=words)


@queue.command()
@click.argument("id")
@account_option
@json_option
@pass_home
def cancel(home: Home, id: str, address: str | None, as_json: bool) -> None:
    """Call a mail back, by the beginning of its ID. It is for all to whom it was not handed over yet.

    Refused when it is too late for everybody.
    """

    async def work() -> dict[str, Any]:
        from leap.bitmask.mail_queue import cancel_mail

        return await cancel_mail(home, one_account(home, address), id)

    def words(result: dict[str, Any]) -> None:
        entry = result["entry"]
        if entry["state"] == "cancelled":
            click.echo("Cancelled; nobody got it.")
            return
        click.echo("Cancelled for some of them:")
        _show(entry)

    answer(run(work()), as_json=as_json, words=words)


@queue.command()
@click.argument("id", required=False)
@account_option
@json_option
@pass_home
def retry(home: Home, id: str | None, address: str | None, as_json: bool) -> None:
    """Send what waits now: the mail of this ID, even one that was to leave later, or all that could not be sent."""

    async def work() -> dict[str, Any]:
        from leap.bitmask.mail_queue import retry_mail

        return await retry_mail(home, one_account(home, address), id)

    def words(result: dict[str, Any]) -> None:
        count = len(result["tried"])
        if count:
            click.echo("1 mail is tried now." if count == 1 else f"{count} mails are tried now.")
        else:
            click.echo("No mail waits to be tried again.")

    answer(run(work()), as_json=as_json, words=words)


@queue.command()
@click.argument("seconds", type=click.IntRange(0, 3600), required=False)
@account_option
@json_option
@pass_home
def delay(home: Home, seconds: int | None, address: str | None, as_json: bool) -> None:
    """Show or set how many SECONDS new mail waits on this device before it leaves; 0 at once."""

    async def work() -> dict[str, Any]:
        from leap.bitmask.mail_queue import send_delay

        return await send_delay(home, one_account(home, address), seconds)

    def words(result: dict[str, Any]) -> None:
        if result["delay"]:
            click.echo(f"New mail waits {result['delay']} seconds before it leaves.")
        else:
            click.echo("New mail leaves at once.")

    answer(run(work()), as_json=as_json, words=words)


def _show(entry: dict[str, Any]) -> None:
    tried = "once" if entry["attempts"] == 1 else f"{entry['attempts']} times"
    line = f"{entry['outbox_id'][:SHORT_ID]}  {entry['state']}, tried {tried}"
    if entry["state"] in ("queued", "sending"):
        seconds = round(entry["next_attempt"] - time.time())
        line += f", next in {_span(seconds)}" if seconds > 0 else ", next now"
    click.echo(f"{line}: {plain(entry['subject'])[:60]}")
    for one in entry["recipients_state"]:
        state = "in hand" if one["in_hand"] else one["state"]
        code = f"{one['code']} " if one["code"] else ""
        how = f"  ({HOW[one['how']]})" if one["how"] and state != "cancelled" else ""
        click.echo(
            f"    {state:<9} {plain(one['address'])}  {code}{plain(one['words'])}".rstrip() + how
        )


def _span(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} seconds"
    if seconds < 2 * 3600:
        return f"{seconds // 60} minutes"
    return f"{seconds // 3600} hours" if seconds < 2 * 86400 else f"{seconds // 86400} days"
