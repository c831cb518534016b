"""`leap-provider dkim`: the keys with which this provider signs outgoing mail, and what belongs into the DNS."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from leap.provider.submission.dkim_keys import DkimKeys

_data = click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder of the provider.",
)


@click.group()
def dkim() -> None:
    """Keys that sign outgoing mail (DKIM), and the records that belong into the DNS."""


@dkim.command()
@_data
@click.option("--selector", default="leap1", show_default=True, help="The name of the new key.")
@click.option("--type", "kind", type=click.Choice(["rsa", "ed25519"]), default="rsa")
def make(data: Path, selector: str, kind: str) -> None:
    """Make a key and print its record. It signs nothing before `use`."""
    with _keys(data) as keys:
        keys.make(selector, "ed25519" if kind == "ed25519" else "rsa")
        _print_records(keys, selector)
    click.echo(
        f"\nWhen the record can be seen: leap-provider dkim use --data {data} --selector {selector}"
    )


@dkim.command()
@_data
@click.option("--selector", required=True, help="The key that signs from now on.")
def use(data: Path, selector: str) -> None:
    """Sign with a key whose record is in the DNS, from the next start on."""
    with _keys(data) as keys:
        keys.use(selector)
    click.echo(f"Mail is signed with {selector} once the provider is started again.")


@dkim.command()
@_data
@click.option("--json", "as_json", is_flag=True, help="Answer with one line of JSON.")
def show(data: Path, as_json: bool) -> None:
    """Show all keys and their records."""
    with _keys(data) as keys:
        in_use, selectors = keys.in_use(), keys.selectors()
        if as_json:
            rows = [
                {
                    "selector": one,
                    "in_use": one == in_use,
                    "name": keys.record_name(one),
                    "record": keys.record(one),
                }
                for one in selectors
            ]
            click.echo(json.dumps(rows))
            return
        if not selectors:
            click.echo("There is no key; mail is not signed. `leap-provider dkim make` makes one.")
        for one in selectors:
            click.echo(f"; {one}, {'in use' if one == in_use else 'not in use'}")
            _print_records(keys, one)


def _print_records(keys: DkimKeys, selector: str) -> None:
    from leap.provider.submission.dkim_keys import zone_line

    click.echo(zone_line(keys.record_name(selector), keys.record(selector)))


@contextmanager
def _keys(data: Path) -> Iterator[DkimKeys]:
    from leap.provider.folder import BadFolder, load_state
    from leap.provider.submission.dkim_keys import BadDkimKey, DkimKeys

    try:
        yield DkimKeys(data, load_state(data).domain)
    except (BadFolder, BadDkimKey) as error:
        click.echo(f"leap-provider: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        click.echo(f"leap-provider: cannot use {data}: {error.strerror}", err=True)
        sys.exit(1)
