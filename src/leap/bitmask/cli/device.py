"""`bitmask device`: the devices of an account, what they are called, and letting one out."""

from __future__ import annotations

import time
from typing import Any

import click

from leap.bitmask.cli.mail import one_account
from leap.bitmask.cli.output import answer, json_option, pass_home, run, table
from leap.bitmask.cli.passphrase import read_passphrase
from leap.bitmask.cli.recovery import show_words
from leap.bitmask.cli.user import ADDRESS
from leap.bitmask.control import ask
from leap.bitmask.home import Home

_account = click.option(
    "--account", type=ADDRESS, metavar="ADDRESS", help="Which account, if there are several."
)


@click.group()
def device() -> None:
    """List, rename and remove the devices of an account."""


@device.command(name="list")
@click.argument("address", type=ADDRESS, required=False)
@json_option
@pass_home
def list_(home: Home, address: str | None, as_json: bool) -> None:
    """List the devices, and when each wrote last."""

    async def work() -> Any:
        return await ask(home, "device-list", address=one_account(home, address))

    def words(result: list[dict[str, Any]]) -> None:
        table([("DEVICE", "ID", "ADDED", "LAST WROTE", ""), *map(_row, result)])

    answer(run(work()), as_json=as_json, words=words)


def _row(device: dict[str, Any]) -> tuple[str, ...]:
    state = "this device" if device["this"] else ""
    if device["revoked"] is not None:
        state = f"removed {_day(device['revoked'])}"
    last = device["last_wrote"]
    return (
        device["name"],
        device["device_id"][:8],
        _day(device["added"]),
        "never" if last is None else _minute(last),
        state,
    )


def _day(moment: int) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(moment))


def _minute(moment: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(moment))


@device.command()
@click.argument("device")
@click.argument("name")
@_account
@json_option
@pass_home
def rename(home: Home, device: str, name: str, account: str | None, as_json: bool) -> None:
    """Call DEVICE (a name, or the beginning of an id) NAME, on all devices."""

    async def work() -> Any:
        address = one_account(home, account)
        return await ask(home, "device-rename", address=address, device=device, name=name)

    def words(result: dict[str, Any]) -> None:
        click.echo(f"{result['was']} is called {result['name']} now.")

    answer(run(work()), as_json=as_json, words=words)


@device.command()
@click.argument("device")
@_account
@click.option(
    "--keep-passphrase",
    is_flag=True,
    help="Nobody who has the device knows the passphrase: keep it, and the recovery code.",
)
@click.option(
    "--passphrase-fd", type=int, metavar="N", help="Read the passphrase from this descriptor."
)
@click.option(
    "--new-passphrase-fd",
    type=int,
    metavar="N",
    help="Read the new passphrase from this descriptor; may be the same, a line after the other.",
)
@json_option
@pass_home
def revoke(
    home: Home,
    device: str,
    account: str | None,
    keep_passphrase: bool,
    passphrase_fd: int | None,
    new_passphrase_fd: int | None,
    as_json: bool,
) -> None:
    """Remove DEVICE (a name, or the beginning of an id): it gets nothing new and can change nothing any more.

    What is on it already stays readable for whoever can unlock it. As they may have known the passphrase, a
    new one is asked for, and a new recovery code is made.
    """
    address = one_account(home, account)
    passphrase = read_passphrase(f"Passphrase for {address}", descriptor=passphrase_fd)
    new = None
    if not keep_passphrase:
        new = read_passphrase(
            f"New passphrase for {address}",
            descriptor=passphrase_fd if new_passphrase_fd is None else new_passphrase_fd,
            twice=True,
        )

    async def work() -> Any:
        return await ask(
            home,
            "device-revoke",
            address=address,
            device=device,
            passphrase=passphrase,
            new_passphrase=new,
        )

    def words(result: dict[str, Any]) -> None:
        click.echo(f"{result['name']} is removed.")
        if new is not None:
            click.echo("The new passphrase holds from now on, on all devices.")
        if result["recovery_code"]:
            show_words(result["recovery_code"], new=True)

    answer(run(work()), as_json=as_json, words=words)
