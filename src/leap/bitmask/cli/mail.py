"""`bitmask mail`: settings for mail programs, the state of the mail; import and export stand in `cli.porting`."""

from __future__ import annotations

import importlib
from typing import Any

import click

from leap.bitmask.cli.output import Failure, answer, json_option, pass_home, run
from leap.bitmask.cli.user import ADDRESS
from leap.bitmask.control import ask
from leap.bitmask.home import Home


class _Mail(click.Group):
    """Commands that stand in other files are imported when they are named, for those import this one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*super().list_commands(ctx), *_ELSEWHERE]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module, attribute = _ELSEWHERE[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command


_ELSEWHERE = {
    "import": ("leap.bitmask.cli.porting", "import_"),
    "export": ("leap.bitmask.cli.porting", "export"),
    "search": ("leap.bitmask.cli.mail_reading", "search"),
    "queue": ("leap.bitmask.cli.mail_queue", "queue"),
    "quarantine": ("leap.bitmask.cli.mail_quarantine", "quarantine"),
    "show": ("leap.bitmask.cli.mail_reading", "show"),
}


@click.group(cls=_Mail)
def mail() -> None:
    """Settings for your mail program, state of the mail, import and export."""


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
        tls = "TLS" if s.get("tls") else "no TLS (it never leaves this computer)"
        click.echo(f"  {protocol.upper()}  {s['host']} port {s['port']}, {tls},")
        click.echo(f"        user {s['user']}, password {s['password']}")
    if certificate := result.get("certificate"):
        click.echo(f"  Certificate  {certificate}")
        click.echo(f"        SHA-256 {result['certificate_sha256']}")
    if url := result.get("autoconfig"):
        click.echo(f"  Programs can read these settings, without the password, at {url}")


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
            if entry["state"] not in ("sent", "cancelled"):
                click.echo(_outbox_words(entry))
        if result["quarantine"]:
            click.echo(
                f"{result['quarantine']} mails could not be opened yet; `bitmask mail quarantine list` says why."
            )

    answer(run(work()), as_json=as_json, words=words)


def _outbox_words(entry: dict[str, Any]) -> str:
    """A mail that is not sent yet, or never will be: to whom, and why."""
    to = ", ".join(entry["recipients"])
    tried = "once" if entry["attempts"] == 1 else f"{entry['attempts']} times"
    why = "; ".join(dict.fromkeys(words for _, words in entry["results"]))
    return f"Outbox: {entry['state']} to {to}, tried {tried}: {why}"
