"""`bitmask doctor`: verify, export, import, rebuild, compact. The daemon does the work, for it holds the store."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from leap.bitmask.cli.mail import one_account
from leap.bitmask.cli.output import EXIT_CODES, answer, json_option, pass_home, run
from leap.bitmask.cli.passphrase import read_passphrase
from leap.bitmask.cli.user import ADDRESS
from leap.bitmask.control import ask
from leap.bitmask.home import Home

PATIENCE = (
    3600.0  # seconds between two lines from the daemon: one step on a large store may take long
)

_address = click.argument("address", type=ADDRESS, required=False)
_account = click.option("--account", "address", type=ADDRESS, help="Which account.")
_fd = click.option(
    "--passphrase-fd",
    type=int,
    metavar="N",
    help="Read the export's passphrase from this descriptor.",
)


@click.group()
def doctor() -> None:
    """Verify, export, import, rebuild or compact the store of an account."""


def _ask(home: Home, command: str, address: str | None, as_json: bool, **arguments: Any) -> Any:
    shown = not as_json and sys.stderr.isatty()

    def tell(step: dict[str, Any]) -> None:
        of = f" of {step['total']}" if step["total"] else ""
        click.echo(f"\r\x1b[K{step['what']}: {step['done']}{of}", err=True, nl=False)

    async def work() -> Any:
        chosen = one_account(home, address)
        return await ask(
            home,
            command,
            timeout=PATIENCE,
            on_progress=tell if shown else None,
            address=chosen,
            **arguments,
        )

    try:
        return run(work())
    finally:
        if shown:
            click.echo("\r\x1b[K", err=True, nl=False)


@doctor.command()
@_address
@click.option("--local", is_flag=True, help="Do not ask the provider.")
@click.option(
    "--sample",
    type=click.IntRange(0, 1_000_000),
    default=50,
    show_default=True,
    help="How many contents to fetch from the provider and check, those not kept here first.",
)
@click.option("--repair", is_flag=True, help="Do what can be done about what is found.")
@json_option
@pass_home
@click.pass_context
def verify(
    ctx: click.Context,
    home: Home,
    address: str | None,
    local: bool,
    sample: int,
    repair: bool,
    as_json: bool,
) -> None:
    """Check that everything here is whole, and that the provider still has what was synced.

    Exit code 9: something was found that is not mended. 4: all is well here, but the provider could not be asked.
    """
    result = _ask(
        home, "doctor-verify", address, as_json, local=local, sample=sample, repair=repair
    )
    answer(result, as_json=as_json, words=_say_report)
    if result["left"]:
        ctx.exit(EXIT_CODES["findings"])
    if not local and result["provider"] != "checked":
        ctx.exit(EXIT_CODES["unreachable"])


_MENDED = {
    "no": "",
    "mended": " (mended)",
    "asked-for": " (asked for again)",
    "sent-again": " (will be sent again)",
}


def _say_report(result: dict[str, Any]) -> None:
    checked = result["checked"]
    looked = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in checked.items())
    click.echo(f"Looked at {looked}.")
    for finding in result["findings"]:
        click.echo(f"{finding['kind']}: {finding['sentence']}{_MENDED[finding['mended']]}")
    more = sum(result["counts"].values()) - len(result["findings"])
    if more:
        click.echo(f"And {more} more of these.")
    if result["provider"] not in ("checked", "not asked"):
        click.echo(f"The provider was not checked: {result['provider']}.")
    if result["clean"]:
        click.echo("Everything is as it should be.")


@doctor.command()
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@_account
@_fd
@click.option(
    "--allow-missing", is_flag=True, help="Leave out messages whose content is nowhere to be had."
)
@json_option
@pass_home
def export(
    home: Home,
    path: Path,
    address: str | None,
    passphrase_fd: int | None,
    allow_missing: bool,
    as_json: bool,
) -> None:
    """Write everything of an account into the new file PATH, encrypted under a passphrase of its own.

    It can be imported into this account, or into another one at another provider.
    """
    passphrase = read_passphrase("Passphrase of the export", descriptor=passphrase_fd, twice=True)
    whole = path.expanduser().absolute()
    result = _ask(
        home,
        "doctor-export",
        address,
        as_json,
        path=str(whole),
        passphrase=passphrase,
        allow_missing=allow_missing,
    )

    def words(result: dict[str, Any]) -> None:
        click.echo(f"{result['messages']} messages are in {whole} ({result['bytes']} bytes).")
        missing = result["left_out"].get("rows-without-contents", 0)
        if missing:
            click.echo(f"{missing} messages whose content is missing are not in it.")
        waiting = result["left_out"].get("inbox-quarantine", 0)
        if waiting:
            click.echo(
                f"{waiting} mails which could not be opened yet are not in it; they stay in the account."
            )
        if result["outbox_waiting"]:
            click.echo(
                f"{result['outbox_waiting']} mails in the outbox are not in it; they are sent from here."
            )

    answer(result, as_json=as_json, words=words)


@doctor.command(name="import")
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_account
@_fd
@json_option
@pass_home
def import_(
    home: Home, path: Path, address: str | None, passphrase_fd: int | None, as_json: bool
) -> None:
    """Take in what the export PATH holds. What is here already stays as it is; nothing is doubled."""
    passphrase = read_passphrase("Passphrase of the export", descriptor=passphrase_fd)
    whole = path.expanduser().absolute()
    result = _ask(home, "doctor-import", address, as_json, path=str(whole), passphrase=passphrase)

    def words(result: dict[str, Any]) -> None:
        click.echo(
            f"{result['messages']} messages of {result['from']} came in;"
            f" {result['present']} messages and documents were here already."
        )

    answer(result, as_json=as_json, words=words)


@doctor.command()
@_address
@json_option
@pass_home
def rebuild(home: Home, address: str | None, as_json: bool) -> None:
    """Derive indexes, counts and lists anew from what is stored.

    Mail programs are logged out and fetch their lists again: UIDs start anew.
    """
    result = _ask(home, "doctor-rebuild", address, as_json)
    answer(result, as_json=as_json, words=_say_rebuilt)


def _say_rebuilt(result: dict[str, Any]) -> None:
    click.echo(f"Indexes, counts and lists of {result['address']} were derived anew.")


@doctor.command()
@_address
@json_option
@pass_home
def compact(home: Home, address: str | None, as_json: bool) -> None:
    """Give unused space of the store back to the disk."""
    result = _ask(home, "doctor-compact", address, as_json)

    def words(result: dict[str, Any]) -> None:
        click.echo(f"{result['freed']} bytes were given back; {result['after']} are in use.")
        if result["too_large"]:
            click.echo(
                "This store was made by an older version and is too large to be rewritten;"
                " export it and import it into a new one."
            )

    answer(result, as_json=as_json, words=words)
