"""`bitmask keys sources` and `bitmask keys refresh`: where keys are looked for, and asking about them now."""

from __future__ import annotations

import sys
from typing import Any

import click

from leap.bitmask.cli.mail import one_account
from leap.bitmask.cli.output import answer, json_option, pass_home, run
from leap.bitmask.cli.user import ADDRESS
from leap.bitmask.control import ask
from leap.bitmask.home import Home

_account = click.option(
    "--account", type=ADDRESS, help="Whose key ring; needed when there are several."
)
_WORDS = {
    "ring": "your keyring",
    "autocrypt": "what mail programs say in their mail (Autocrypt)",
    "directory": "your provider's directory",
    "wkd": "the Web Key Directory of the address's domain",
    "vks": "the keyserver",
    "mail": "keys that came with mail somebody vouched for",
}


@click.command()
@_account
@click.option("--wkd", type=click.Choice(["on", "off"]), help="Web Key Directories; on at first.")
@click.option("--vks", metavar="URL|off", help="A verifying keyserver; off at first.")
@click.option(
    "--proxy", metavar="URL|off", help="A SOCKS proxy for both: socks5://127.0.0.1:9050 is Tor."
)
@json_option
@pass_home
def sources(
    home: Home,
    account: str | None,
    wkd: str | None,
    vks: str | None,
    proxy: str | None,
    as_json: bool,
) -> None:
    """Show or choose where keys of others are looked for.

    A Web Key Directory is run by the domain of an address: it learns that somebody asks for a key of it. A keyserver
    learns of every address that has no better source. With a proxy they do not learn who asks. Without an option
    nothing is changed.
    """
    chosen: dict[str, Any] = {
        "wkd": None if wkd is None else wkd == "on",
        "vks": vks,
        "proxy": proxy,
    }

    async def work() -> Any:
        return await ask(home, "keys-sources", address=one_account(home, account), **chosen)

    answer(run(work()), as_json=as_json, words=_say_sources)


def _say_sources(result: dict[str, Any]) -> None:
    click.echo("A key is looked for in this order:")
    for number, name in enumerate(result["sources"], 1):
        which = f": {result['vks']}" if name == "vks" else ""
        click.echo(f"{number}. {_WORDS.get(name, name)}{which}")
    if result["proxy"]:
        click.echo(f"Domains and keyserver are asked through {result['proxy']}.")


@click.command()
@click.argument("address", type=ADDRESS, required=False)
@_account
@json_option
@pass_home
def refresh(home: Home, address: str | None, account: str | None, as_json: bool) -> None:
    """Ask about the key of ADDRESS now (about all when none is given), and say what changed.

    This is done by itself too, about each key once in about a week, at random moments. Asking about all at once shows
    whoever watches the line with which domains you write.
    """

    async def work() -> Any:
        chosen = one_account(home, account)
        return await ask(home, "keys-refresh", on_progress=_show, address=chosen, of=address)

    answer(run(work()), as_json=as_json, words=_say_refreshed)


def _show(progress: dict[str, Any]) -> None:
    """One line at a terminal, which the next one replaces."""
    if sys.stderr.isatty():
        line = "asked about {items} of {total} keys".format(**progress)
        click.echo(f"\r{line:<40}", err=True, nl=progress["items"] == progress["total"])


def _say_refreshed(result: list[dict[str, Any]]) -> None:
    if not result:
        click.echo("No keys of others are known yet.")
    for one in result:
        changes = "; ".join(one["changes"]) or "nothing new"
        click.echo(f"{one['address']}: {changes}.")
        for failure in one["failures"]:
            click.echo(f"  Not everybody could be asked: {failure}.")
