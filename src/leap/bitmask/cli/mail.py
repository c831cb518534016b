"""`bitmask mail`: settings for mail programs, the state of the mail, import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from leap.bitmask.cli.mail_reading import search, show
from leap.bitmask.cli.output import Failure, answer, json_option, pass_home, run
from leap.bitmask.cli.user import ADDRESS
from leap.bitmask.control import ask
from leap.bitmask.home import Home


@click.group()
def mail() -> None:
    """Settings for your mail program, state of the mail, import."""


def one_account(home: Home, address: str | None) -> str:
    """The account meant: the one named, or the only one there is."""
    accounts = home.accounts()
    if address is not None:
        if address not in accounts:
            raise Failure("unknown-account", f"There is no account {address} here.")
        return address
    if not accounts:
        raise Failure(
            "unknown-account",
            "There is no account here yet; `bitmask user create` makes one, `bitmask user auth` logs in to one.",
        )
    if len(accounts) > 1:
        raise Failure("which-account", f"Say which account you mean (here: {', '.join(accounts)}).")
    return accounts[0]


def show_settings(result: dict[str, Any]) -> None:
    for protocol in ("imap", "smtp"):
        s = result[protocol]
        click.echo(
            f"  {protocol.upper()}  {s['host']} port {s['port']}, no TLS (it never leaves this computer),"
        )
        click.echo(f"        user {s['user']}, password {s['password']}")


@mail.command()
@click.argument("address", type=ADDRESS, required=False)
@click.option("--new-password", is_flag=True, help="Make a new app password; the old one ends.")
@json_option
@pass_home
def settings(home: Home, address: str | None, new_password: bool, as_json: bool) -> None:
    """Show host, port, user and password for your mail program."""

    async def work() -> Any:
        chosen = one_account(home, address)
        return await ask(home, "mail-settings", address=chosen, new_password=new_password)

    answer(run(work()), as_json=as_json, words=show_settings)


@mail.command()
@click.argument("address", type=ADDRESS, required=False)
@json_option
@pass_home
def status(home: Home, address: str | None, as_json: bool) -> None:
    """Show mailboxes, sync, outbox and quarantine."""

    async def work() -> Any:
        chosen = one_account(home, address)
        return await ask(home, "mail-status", address=chosen)

    def words(result: dict[str, Any]) -> None:
        for box in result["mailboxes"]:
            click.echo(f"{box['name']:<24} {box['messages']:>7} messages, {box['unseen']} unread")
        sync = result["sync"]
        click.echo(sync["sentence"])
        for entry in result["outbox"]:
            if entry["state"] != "sent":
                click.echo(_outbox_words(entry))
        if result["quarantine"]:
            click.echo(
                f"{result['quarantine']} mails could not be opened yet; they are kept and retried."
            )

    answer(run(work()), as_json=as_json, words=words)


def _outbox_words(entry: dict[str, Any]) -> str:
    """A mail that is not sent yet, or never will be: to whom, and why."""
    to = ", ".join(entry["recipients"])
    tried = "once" if entry["attempts"] == 1 else f"{entry['attempts']} times"
    why = "; ".join(dict.fromkeys(words for _, words in entry["results"]))
    return f"Outbox: {entry['state']} to {to}, tried {tried}: {why}"


@mail.command(name="import")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--account", "address", type=ADDRESS, help="Into which account.")
@click.option(
    "--mailbox", default="INBOX", show_default=True, help="Into which mailbox; made if missing."
)
@json_option
@pass_home
def import_(home: Home, path: Path, address: str | None, mailbox: str, as_json: bool) -> None:
    """Import PATH: one message, a Maildir, or an mbox file."""

    async def work() -> dict[str, Any]:
        from leap.bitmask.importing import import_mail

        chosen = one_account(home, address)
        return await import_mail(home, chosen, path, mailbox)

    def words(result: dict[str, Any]) -> None:
        click.echo(f"{result['imported']} messages imported into {mailbox}.")
        for odd in result["refused"]:
            click.echo(f"  not imported: {odd['what']}: {odd['why']}")

    answer(run(work()), as_json=as_json, words=words)


mail.add_command(search)
mail.add_command(show)
