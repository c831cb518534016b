"""`bitmask mail import` and `bitmask mail export`: mail of other programs into an account, and out of it."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from leap.bitmask.cli.mail import one_account
from leap.bitmask.cli.output import Failure, answer, json_option, pass_home, run
from leap.bitmask.cli.passphrase import read_passphrase
from leap.bitmask.cli.user import ADDRESS
from leap.bitmask.control import ControlError, ask, daemon_record
from leap.bitmask.home import Home

if TYPE_CHECKING:
    from leap.mail.local import LocalAccount

PATIENCE = 3600.0  # seconds between two lines from the daemon: a large message on a slow disk
MOST_SHOWN = 20  # oddities in words; --json has up to 200 of each kind
Tell = Callable[[dict[str, Any]], None]
Work = Callable[["LocalAccount", dict[str, Any], Tell], Awaitable[dict[str, Any]]]

_offline = click.option(
    "--offline",
    is_flag=True,
    help="Without the daemon: open the account here, with its passphrase.",
)
_fd = click.option(
    "--passphrase-fd",
    type=int,
    metavar="N",
    help="With --offline: read the account's passphrase from this descriptor.",
)


@click.command(name="import")
@click.argument("path", type=click.Path(exists=True, path_type=Path), required=False)
@click.option(
    "--imap", metavar="HOST[:PORT]", help="In place of PATH: from the account at this server."
)
@click.option("--imap-user", metavar="USER", help="Who logs in there; the password is asked for.")
@click.option(
    "--imap-password-fd", type=int, metavar="N", help="Read that password from this descriptor."
)
@click.option(
    "--imap-ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Trust this certificate, or authority, in PEM.",
)
@click.option("--imap-starttls", is_flag=True, help="TLS that begins with STARTTLS (port 143).")
@click.option(
    "--imap-no-tls", is_flag=True, help="Without TLS, for a server on this computer only."
)
@click.option("--account", "address", type=ADDRESS, help="Into which account.")
@click.option(
    "--mailbox",
    metavar="NAME",
    help="Into this mailbox, and into mailboxes below it where there are several. Made if missing.",
)
@click.option(
    "--mbox-kind",
    type=click.Choice(["mboxo", "mboxrd", "mboxcl", "mboxcl2"]),
    help="How mbox files quote; without it each file is looked at.",
)
@click.option("--again", is_flag=True, help="Also what was imported before and deleted since.")
@click.option("--dry-run", is_flag=True, help="Only say what would be imported.")
@_offline
@_fd
@json_option
@pass_home
def import_(
    home: Home,
    path: Path | None,
    imap: str | None,
    imap_user: str | None,
    imap_password_fd: int | None,
    imap_ca: Path | None,
    imap_starttls: bool,
    imap_no_tls: bool,
    address: str | None,
    mailbox: str | None,
    mbox_kind: str | None,
    again: bool,
    dry_run: bool,
    offline: bool,
    passphrase_fd: int | None,
    as_json: bool,
) -> None:
    """Import PATH: a Maildir, an mbox, a message, or a folder of these; or an account elsewhere, with --imap.

    Folders become mailboxes. What was imported before does not come in twice.
    """
    if (path is None) is (imap is None):
        raise click.UsageError("Name a PATH, or a server with --imap.")
    server = None
    if imap is not None:
        if imap_starttls and imap_no_tls:
            raise click.UsageError("Either --imap-starttls or --imap-no-tls.")
        server = _server(
            imap, imap_user, imap_password_fd, imap_ca, tls=not imap_no_tls, starttls=imap_starttls
        )
    arguments = {
        "path": None if path is None else str(path.expanduser().absolute()),
        "imap": server,
        "mailbox": mailbox,
        "kind": mbox_kind,
        "again": again,
        "dry_run": dry_run,
    }
    result = _do(home, "mail-import", address, arguments, offline, passphrase_fd, as_json)
    if not result["imported"] and result["refused"] and not result["present"]:
        what = result["refused"][0]
        raise Failure("import", f"Nothing was imported: {what['what']}: {what['why']}")

    def words(result: dict[str, Any]) -> None:
        verb = "would be imported" if dry_run else "were imported"
        _say_numbers(result, result["imported"], verb, "into")
        if result["present"]:
            click.echo(f"{result['present']} messages were here already.")
        if result["deleted"]:
            click.echo(
                f"{result['deleted']} were imported before and deleted since; --again brings them back."
            )
        _say_oddities(result)

    answer(result, as_json=as_json, words=words)


def _server(
    imap: str,
    user: str | None,
    password_fd: int | None,
    ca: Path | None,
    *,
    tls: bool,
    starttls: bool,
) -> dict[str, Any]:
    """The server as the daemon is told of it."""
    if not user:
        raise click.UsageError("Say who logs in there, with --imap-user.")
    host, colon, port = imap.rpartition(":") if imap.count(":") == 1 else (imap, "", "")
    if colon and not (port.isascii() and port.isdigit()):
        raise click.UsageError(f"{imap!r} is not HOST or HOST:PORT.")
    return {
        "host": host,
        "port": int(port) if colon else (993 if tls and not starttls else 143),
        "user": user,
        "password": read_passphrase(f"Password of {user} at {host}", descriptor=password_fd),
        "ca": None if ca is None else ca.read_text("ascii", "replace"),
        "tls": tls,
        "starttls": starttls,
    }


@click.command()
@click.argument("path", metavar="PATH", type=click.Path())
@click.option(
    "--format",
    "to",
    type=click.Choice(["maildir", "mbox"]),
    default="maildir",
    show_default=True,
    help="A Maildir++, or mbox files (mboxrd).",
)
@click.option("--account", "address", type=ADDRESS, help="Of which account.")
@click.option("--mailbox", metavar="NAME", help="Only this mailbox, into PATH itself.")
@click.option(
    "--line-ends",
    type=click.Choice(["source", "lf", "crlf"]),
    default="source",
    show_default=True,
    help="As they were imported (LF for other mail); or all the same.",
)
@click.option("--status", is_flag=True, help="mbox: write flags into the header of each message.")
@click.option("--dry-run", is_flag=True, help="Only say how much there is.")
@_offline
@_fd
@json_option
@pass_home
def export(
    home: Home,
    path: str,
    to: str,
    address: str | None,
    mailbox: str | None,
    line_ends: str,
    status: bool,
    dry_run: bool,
    offline: bool,
    passphrase_fd: int | None,
    as_json: bool,
) -> None:
    """Write all mail to PATH, not encrypted. Run again, it adds what is new."""
    if status and to != "mbox":
        raise click.UsageError("--status is for --format mbox; a Maildir has flags in its names.")
    if not path:  # which would be the working folder, to Path
        raise click.UsageError("Name a PATH.")
    arguments = {
        "path": str(Path(path).expanduser().absolute()),
        "format": to,
        "mailbox": mailbox,
        "line_ends": line_ends,
        "status": status,
        "dry_run": dry_run,
    }
    result = _do(home, "mail-export", address, arguments, offline, passphrase_fd, as_json)

    def words(result: dict[str, Any]) -> None:
        verb = "are there" if dry_run else "were exported"
        _say_numbers(result, result["exported"], verb, "of")
        if result["present"]:
            click.echo(f"{result['present']} messages were in {path} already.")
        _say_oddities(result)
        if result["exported"] and not dry_run:
            click.echo("What was exported is not encrypted.")

    answer(result, as_json=as_json, words=words)


def _do(
    home: Home,
    command: str,
    address: str | None,
    arguments: dict[str, Any],
    offline: bool,
    passphrase_fd: int | None,
    as_json: bool,
) -> dict[str, Any]:
    """Asks the daemon, or does it here; shows progress at a terminal."""
    shown = not as_json and sys.stderr.isatty()

    def tell(step: dict[str, Any]) -> None:
        if shown:
            of = f" of {step['total']}" if step["total"] else ""
            click.echo(f"\r\x1b[K{step['what']}: {step['done']}{of}", err=True, nl=False)

    passphrase = None
    if offline:
        if daemon_record(home) is not None:
            raise Failure("running", "The daemon runs and holds the account; leave out --offline.")
        passphrase = read_passphrase("Passphrase", descriptor=passphrase_fd)

    async def work() -> dict[str, Any]:
        chosen = one_account(home, address)
        if passphrase is not None:
            return await _do_here(home, command, chosen, passphrase, arguments, tell)
        result: dict[str, Any] = await ask(
            home, command, timeout=PATIENCE, on_progress=tell, address=chosen, **arguments
        )
        return result

    try:
        return run(work())
    finally:
        if shown:
            click.echo("\r\x1b[K", err=True, nl=False)


async def _do_here(
    home: Home, command: str, address: str, passphrase: str, arguments: dict[str, Any], tell: Tell
) -> dict[str, Any]:
    from leap.bitmask.local_api import CommandRefused
    from leap.bitmask.porting_commands import export_from, import_into
    from leap.mail.contract import AccountError
    from leap.mail.local import OwnedAccount
    from leap.mail.opening import open_backend

    work: Work = import_into if command == "mail-import" else export_from
    try:
        account = await open_backend(address, home.path, passphrase)
        if not isinstance(account, OwnedAccount):
            await account.close()
            raise ControlError("running", "The daemon runs and holds the account.")
        try:
            return await work(account, arguments, tell)
        finally:
            await account.close()
    except CommandRefused as error:
        raise ControlError(error.kind, str(error)) from error
    except AccountError as error:
        raise ControlError("account", str(error)) from error


def _say_numbers(result: dict[str, Any], messages: int, verb: str, where: str) -> None:
    click.echo(f"{messages} messages {verb} ({result['octets'] / 1e6:.1f} MB).")
    for name, count in result["mailboxes"].items():
        click.echo(f"  {count:>7} {where} {name}")


def _say_oddities(result: dict[str, Any]) -> None:
    for odd in result["oddities"][:MOST_SHOWN]:
        click.echo(f"{odd['kind']}: {odd['where']}: {odd['sentence']}")
    more = sum(result["odd"].values()) - min(len(result["oddities"]), MOST_SHOWN)
    if more:
        click.echo(f"And {more} more; --json tells more of them.")
