"""`leap-provider alias add|list|remove`: on the folder of a provider, whether it runs or not."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import click

T = TypeVar("T")
_data = click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder of the provider, which may be running.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Answer with one line of JSON.")


@click.group()
def alias() -> None:
    """Further addresses of accounts: mail to them arrives, and may be sent as them."""


@alias.command()
@_data
@_json
@click.argument("address")
@click.argument("account")
def add(data: Path, address: str, account: str, as_json: bool) -> None:
    """Give ACCOUNT the further ADDRESS. It holds at once."""
    from leap.provider.aliases import NotAnAlias, add_alias
    from leap.provider.upkeep import edit_folder

    try:
        made = _told(
            lambda: edit_folder(
                data, lambda db, domain: add_alias(db, domain, address, account, now=time.time())
            )
        )
    except NotAnAlias as error:
        click.echo(f"leap-provider: {error}", err=True)
        sys.exit(1)
    _answer([made], as_json=as_json)


@alias.command("list")
@_data
@_json
@click.argument("account", required=False)
def list_(data: Path, account: str | None, as_json: bool) -> None:
    """Show all aliases, or those of ACCOUNT."""
    from leap.provider.aliases import list_aliases
    from leap.provider.upkeep import edit_folder

    found = _told(lambda: edit_folder(data, lambda db, _: list_aliases(db, account)))
    _answer(found, as_json=as_json)


@alias.command()
@_data
@click.argument("address")
def remove(data: Path, address: str) -> None:
    """Take the alias ADDRESS away. Mail to it is refused from then on; what arrived stays."""
    from leap.provider.aliases import remove_alias
    from leap.provider.upkeep import edit_folder

    if not _told(lambda: edit_folder(data, lambda db, _: remove_alias(db, address))):
        click.echo(f"leap-provider: {address} is no alias", err=True)
        sys.exit(1)


def _told(work: Callable[[], T]) -> T:
    from leap.provider.daemon import CannotServe

    try:
        return work()
    except CannotServe as error:
        click.echo(f"leap-provider: {error}", err=True)
        sys.exit(1)


def _answer(found: Sequence[tuple[str, str]], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([{"address": address, "account": of} for address, of in found]))
    else:
        for address, of in found:
            click.echo(f"{address}  {of}")
