"""`bitmask user`: accounts on this device."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from leap.bitmask.cli.key_kind import key_version_option, kind_arguments, post_quantum_option
from leap.bitmask.cli.launch import ensure_daemon
from leap.bitmask.cli.output import answer, json_option, pass_home, run, table
from leap.bitmask.cli.passphrase import read_passphrase
from leap.bitmask.cli.secret_key_file import (
    add_user_id_option,
    extend_option,
    key_passphrase_option,
    open_key_file,
    read_key_file,
)
from leap.bitmask.control import ask
from leap.bitmask.home import Home, HomeError, normal_address


class _Address(click.ParamType):  # type: ignore[type-arg]  # not generic at run time
    name = "address"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return normal_address(str(value))
        except HomeError as error:
            self.fail(str(error), param, ctx)


ADDRESS = _Address()
api_option = click.option("--api", metavar="URL", help="The provider's address, https://…")
ca_option = click.option(
    "--ca",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Certificate authority of a provider that is not publicly certified.",
)
device_option = click.option(
    "--device-name", default=platform.node() or "device", help="What to call this device."
)
_fd = click.option(
    "--passphrase-fd", type=int, metavar="N", help="Read the passphrase from this descriptor."
)


@click.group()
def user() -> None:
    """Create an account, log in on this device, log out, list accounts."""


def where(api: str | None, ca: Path | None) -> dict[str, Any]:
    """The arguments of a command that say where the provider is."""
    if api is not None:
        _check_api(api)
    return {"api": api, "ca": _read_authority(ca) if ca is not None else None}


def _check_api(api: str) -> None:
    try:
        parts = urlsplit(api)
        usable = (
            parts.scheme == "https"
            and bool(parts.hostname)
            and (parts.port is None or parts.port > 0)
        )
    except ValueError:  # a bracket or a port that is none
        usable = False
    if not usable:
        raise click.UsageError(
            f"--api takes an address like https://provider.example.org:4430, not {api!r}."
        )


def _read_authority(path: Path) -> str:
    """The file as text; what it says is judged where TLS reads it."""
    try:
        return path.read_text(encoding="ascii")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"{path} is no certificate authority in PEM form.") from error
    except OSError as error:
        raise click.UsageError(f"Cannot read {path}: {error.strerror}.") from error


@user.command()
@click.argument("address", type=ADDRESS)
@api_option
@ca_option
@device_option
@_fd
@click.option(
    "--key",
    "key_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Use the secret key in this file instead of making a new one.",
)
@key_passphrase_option
@add_user_id_option
@extend_option
@key_version_option
@post_quantum_option
@json_option
@pass_home
def create(
    home: Home,
    address: str,
    api: str | None,
    ca: Path | None,
    device_name: str,
    passphrase_fd: int | None,
    key_file: Path | None,
    key_passphrase_fd: int | None,
    add_user_id: bool,
    extend: bool,
    key_version: str | None,
    post_quantum: bool,
    as_json: bool,
) -> None:
    """Sign up ADDRESS at a provider and set it up here.

    An OpenPGP key is made for it, or, with --key, the one you have already becomes its key.
    """
    if api is None:
        raise click.UsageError("Say where the provider is: --api https://…")
    if key_file is not None and (key_version is not None or post_quantum):
        raise click.UsageError("--key-version and --post-quantum are for a key that is made here.")
    passphrase = read_passphrase(
        f"New passphrase for {address}", descriptor=passphrase_fd, twice=True
    )
    brought: dict[str, Any] = {}
    if key_file is not None:
        run(ensure_daemon(home))
        brought = open_key_file(
            home,
            read_key_file(key_file),
            str(key_file),
            address,
            descriptor=passphrase_fd if key_passphrase_fd is None else key_passphrase_fd,
            for_use=True,
            add_user_id=add_user_id,
            extend=extend,
        ).arguments()

    async def work() -> Any:
        await ensure_daemon(home)
        return await ask(
            home,
            "user-create",
            **brought,
            **kind_arguments(key_version, post_quantum),
            address=address,
            passphrase=passphrase,
            device_name=device_name,
            **where(api, ca),
        )

    def words(result: dict[str, Any]) -> None:
        click.echo(f"{address} is ready. Its OpenPGP key is {result['fingerprint']}.")
        if result["key"]["problem"]:
            click.echo(result["key"]["problem"])
        click.echo(
            "\nWrite down these 24 words and keep them away from this computer. They are the only"
        )
        click.echo("way back into the account if the passphrase is lost:\n")
        parts = result["recovery_code"].split()
        for start in range(0, len(parts), 6):
            click.echo("    " + " ".join(parts[start : start + 6]))
        click.echo("")
        _mail_program(result)

    answer(run(work()), as_json=as_json, words=words)


@user.command()
@click.argument("address", type=ADDRESS)
@api_option
@ca_option
@device_option
@_fd
@json_option
@pass_home
def auth(
    home: Home,
    address: str,
    api: str | None,
    ca: Path | None,
    device_name: str,
    passphrase_fd: int | None,
    as_json: bool,
) -> None:
    """Unlock ADDRESS; the first time on this device, log in at its provider (needs --api)."""
    if api is None and address not in home.accounts():
        raise click.UsageError(
            f"{address} is new on this device; say where its provider is: --api https://…"
        )
    passphrase = read_passphrase(f"Passphrase for {address}", descriptor=passphrase_fd)

    async def work() -> Any:
        await ensure_daemon(home)
        return await ask(
            home,
            "user-auth",
            address=address,
            passphrase=passphrase,
            device_name=device_name,
            **where(api, ca),
        )

    def words(result: dict[str, Any]) -> None:
        click.echo(f"{address} is unlocked.")
        if result["notice"]:
            click.echo(result["notice"])
        elif not result["online"]:
            click.echo(
                "The provider cannot be reached now; the mail that is here already can be read."
            )
        _mail_program(result)

    answer(run(work()), as_json=as_json, words=words)


@user.command()
@click.argument("address", type=ADDRESS)
@json_option
@pass_home
def logout(home: Home, address: str, as_json: bool) -> None:
    """Lock ADDRESS, end its mail programs' sessions and its log-in at the provider."""

    async def work() -> Any:
        return await ask(home, "user-logout", address=address)

    def words(result: dict[str, Any]) -> None:
        click.echo(f"{address} is locked.")
        if not result["revoked"]:
            click.echo(
                "The provider could not be told; the log-in ends there at the next `user auth`."
            )

    answer(run(work()), as_json=as_json, words=words)


@user.command(name="list")
@json_option
@pass_home
def list_(home: Home, as_json: bool) -> None:
    """List the accounts on this device."""

    async def work() -> list[dict[str, Any]]:
        from leap.bitmask.control import NotRunning

        try:
            result: list[dict[str, Any]] = await ask(home, "user-list")
        except NotRunning:
            result = [{"address": address, "unlocked": False} for address in home.accounts()]
        return result

    def words(result: list[dict[str, Any]]) -> None:
        if not result:
            click.echo("There is no account here yet; make one with `bitmask user create`.")
        else:
            table([(a["address"], "unlocked" if a["unlocked"] else "locked") for a in result])
        for account in result:
            if problem := account.get("key", {}).get("problem"):
                click.echo(f"{account['address']}: {problem}")

    answer(run(work()), as_json=as_json, words=words)


def _mail_program(result: dict[str, Any]) -> None:
    from leap.bitmask.cli.mail import show_settings

    click.echo("In your mail program:")
    show_settings(result)
