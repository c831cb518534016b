"""`bitmask start|stop|status`: the daemon's life."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from leap.bitmask.cli.launch import Launch, ensure_daemon, unlock_each
from leap.bitmask.cli.output import answer, json_option, pass_home, run, table
from leap.bitmask.control import NotRunning, ask, daemon_record
from leap.bitmask.home import Home

_port = click.IntRange(0, 65535)


@click.command()
@click.option("--foreground", is_flag=True, help="Stay in this terminal and log here.")
@click.option("--imap-port", type=_port, help="Port of the local IMAP server (0: any free one).")
@click.option("--smtp-port", type=_port, help="Port of the local SMTP server (0: any free one).")
@click.option(
    "--autoconfig-port",
    type=_port,
    help="Port that tells mail programs the settings (0: any free one).",
)
@click.option("--tls/--no-tls", default=None, help="Speak TLS, with a certificate made here.")
@click.option(
    "--listen",
    metavar="ADDRESS",
    help="Where IMAP and SMTP listen; beyond this machine with --tls only.",
)
@click.option(
    "--passphrase-fd",
    type=int,
    metavar="N",
    help="Unlock accounts with the lines of this descriptor: the passphrase, or ADDRESS:PASSPHRASE.",
)
@json_option
@pass_home
def start(
    home: Home,
    foreground: bool,
    imap_port: int | None,
    smtp_port: int | None,
    autoconfig_port: int | None,
    tls: bool | None,
    listen: str | None,
    passphrase_fd: int | None,
    as_json: bool,
) -> None:
    """Start the daemon and unlock the accounts."""
    lines: list[str] = []
    if passphrase_fd is not None:
        try:
            with os.fdopen(passphrase_fd, "rb", closefd=False) as file:
                lines = file.read().decode("utf-8", "surrogateescape").splitlines()
        except OSError as error:
            raise click.UsageError(
                f"Cannot read descriptor {passphrase_fd}: {error.strerror}."
            ) from error
    launch = Launch(
        imap_port=imap_port,
        smtp_port=smtp_port,
        autoconfig_port=autoconfig_port,
        tls=tls,
        listen=listen,
    )
    if foreground:
        from leap.bitmask.daemon import main as daemon_main

        sys.exit(daemon_main([*launch.arguments(home), "--passphrases", str(len(lines))], lines))

    async def work() -> Any:
        started = await ensure_daemon(home, launch)
        await unlock_each(home, lines, interactive=sys.stdin.isatty() and passphrase_fd is None)
        return {"started": started, **await ask(home, "status")}

    def words(result: dict[str, Any]) -> None:
        click.echo("bitmask runs." if result["started"] else "bitmask was running already.")
        _show(result)

    answer(run(work()), as_json=as_json, words=words)


@click.command()
@json_option
@pass_home
def stop(home: Home, as_json: bool) -> None:
    """Stop the daemon; accounts are locked by that."""

    async def work() -> Any:
        from leap.bitmask.cli.launch import wait_until_gone

        record = daemon_record(home)
        try:
            await ask(home, "stop")
        except NotRunning:
            return {"stopped": False}
        await wait_until_gone(home, record)
        return {"stopped": True}

    def words(result: dict[str, Any]) -> None:
        click.echo("bitmask has stopped." if result["stopped"] else "bitmask was not running.")

    answer(run(work()), as_json=as_json, words=words)


@click.command()
@json_option
@pass_home
def status(home: Home, as_json: bool) -> None:
    """Show what the daemon does and how each account is."""

    async def work() -> Any:
        try:
            return {"running": True, **await ask(home, "status")}
        except NotRunning:
            accounts = [{"address": address, "unlocked": False} for address in home.accounts()]
            return {"running": False, "accounts": accounts}

    def words(result: dict[str, Any]) -> None:
        if not result["running"]:
            click.echo("bitmask is not running; start it with `bitmask start`.")
        else:
            _show(result)

    answer(run(work()), as_json=as_json, words=words)


def _show(result: dict[str, Any]) -> None:
    imap, smtp = result["imap"], result["smtp"]
    click.echo(
        f"IMAP on {imap['host']} port {imap['port']}, SMTP on {smtp['host']} port {smtp['port']}."
    )
    if not result["accounts"]:
        click.echo("There is no account here yet; make one with `bitmask user create`.")
        return
    table(
        [
            (a["address"], "unlocked" if a["unlocked"] else "locked", a.get("sentence", ""))
            for a in result["accounts"]
        ]
    )
    for account in result["accounts"]:
        if account.get("notice"):
            click.echo(account["notice"])
        if problem := account.get("key", {}).get("problem"):
            click.echo(f"{account['address']}: {problem}")
        for alert in account.get("key_alerts", ()):
            click.echo(f"ATTENTION: {alert}")
