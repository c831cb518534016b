"""`bitmask keys` for the account's own keys: use, rotate, revoke, backup, restore."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from leap.bitmask.cli.key_kind import key_version_option, kind_arguments, post_quantum_option
from leap.bitmask.cli.key_options import account_option
from leap.bitmask.cli.mail import one_account
from leap.bitmask.cli.output import Failure, answer, json_option, pass_home, run
from leap.bitmask.cli.passphrase import read_passphrase
from leap.bitmask.cli.secret_key_file import (
    add_user_id_option,
    extend_option,
    open_key_file,
    read_key_file,
)
from leap.bitmask.control import ask
from leap.bitmask.home import Home

_yes = click.option("--yes", is_flag=True, help="Do not ask whether you are sure.")
_path = click.Path(dir_okay=False, path_type=Path)
_existing = click.Path(exists=True, dir_okay=False, path_type=Path)
use_option = click.option(
    "--use",
    is_flag=True,
    help="Make it the key in use: others encrypt to it, and you sign with it. Else it only opens mail.",
)


def add_own_key_commands(group: click.Group) -> None:
    """Puts the commands of this module into `bitmask keys`."""
    for command in (use, rotate, revoke, backup, restore):
        group.add_command(command)


def import_secret_keys(
    home: Home,
    address: str,
    data: bytes,
    name: str,
    *,
    use: bool,
    add_user_id: bool = False,
    extend: bool = False,
    descriptor: int | None = None,
    as_json: bool = False,
) -> None:
    """What `keys import` does with a file of secret keys."""
    opened = open_key_file(
        home,
        data,
        name,
        address,
        descriptor=descriptor,
        for_use=use,
        add_user_id=add_user_id,
        extend=extend,
    )

    async def work() -> Any:
        return await ask(home, "keys-own-import", address=address, use=use, **opened.arguments())

    answer(run(work()), as_json=as_json, words=_show_taken)


def _show_taken(result: dict[str, Any]) -> None:
    for key in result["keys"]:
        names = ", ".join(key["user_ids"]) or "no name"
        word = "imported" if key["new"] else "was here already; what is new on it was added"
        click.echo(f"{key['fingerprint']} ({names}) {word}.")
        if key["locked_parts"]:
            click.echo("  Parts of it have another passphrase and stay locked.")
    if result["in_use"]:
        click.echo(f"{result['fingerprint']} is the key in use now.")
    else:
        click.echo(
            f"The key in use stays {result['fingerprint']}; `bitmask keys use FINGERPRINT` changes that."
        )
    _show_problem(result)


def _show_problem(result: dict[str, Any]) -> None:
    if result["problem"]:
        click.echo(result["problem"])


@click.command()
@click.argument("fingerprint")
@account_option
@add_user_id_option
@extend_option
@json_option
@pass_home
def use(
    home: Home,
    fingerprint: str,
    account: str | None,
    add_user_id: bool,
    extend: bool,
    as_json: bool,
) -> None:
    """Make your own key FINGERPRINT the one in use on all devices; the others still open mail."""

    async def work() -> Any:
        return await ask(
            home,
            "keys-own-use",
            address=one_account(home, account),
            fingerprint=fingerprint,
            add_user_id=add_user_id,
            extend=extend,
        )

    def words(result: dict[str, Any]) -> None:
        click.echo(f"{result['fingerprint']} is the key in use now.")
        _show_problem(result)

    answer(run(work()), as_json=as_json, words=words)


@click.command()
@account_option
@click.option(
    "--primary",
    is_flag=True,
    help="Make a whole new key, which the present one vouches for if it can.",
)
@key_version_option
@post_quantum_option
@_yes
@json_option
@pass_home
def rotate(
    home: Home,
    account: str | None,
    primary: bool,
    key_version: str | None,
    post_quantum: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Renew the part of your key that others encrypt to. Old mail still opens.

    With --primary the whole key is a new one, with another fingerprint, which people who compared the present one
    have to compare again. What is not said about it is as with the present one.
    """
    if key_version is not None and not primary:
        raise click.UsageError("A key keeps its version; --primary makes a new one.")
    address = one_account(home, account)
    if primary:
        _sure(yes, "People who compared your fingerprint will have to compare the new one. Go on?")

    async def work() -> Any:
        return await ask(
            home,
            "keys-own-rotate",
            address=address,
            primary=primary,
            **kind_arguments(key_version, post_quantum),
        )

    def words(result: dict[str, Any]) -> None:
        if primary:
            old = result["was"]
            vouched = f"{old} vouches" if result["vouched"] else f"{old} cannot vouch"
            click.echo(f"Your new key is {result['fingerprint']}; {vouched} for it.")
        else:
            click.echo(f"{result['fingerprint']} has a new part to encrypt to.")
        click.echo("What was encrypted before still opens.")
        _show_problem(result)

    answer(run(work()), as_json=as_json, words=words)


@click.command()
@click.argument("fingerprint", required=False)
@account_option
@click.option(
    "--reason",
    type=click.Choice(["none", "superseded", "compromised", "retired"]),
    default="none",
    show_default=True,
    help="superseded and retired: signatures made before stay good.",
)
@click.option("--text", default="", help="A public remark, as where to find the new key.")
@click.option("--replace", is_flag=True, help="Make a new key to use instead.")
@_yes
@json_option
@pass_home
def revoke(
    home: Home,
    fingerprint: str | None,
    account: str | None,
    reason: str,
    text: str,
    replace: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Revoke your own key (the one in use, or FINGERPRINT) and tell the world. It still opens old mail.

    This cannot be taken back. Without --replace nothing can be encrypted to you or signed by you until you make or
    choose another key.
    """
    address = one_account(home, account)
    which = fingerprint or "in use"
    _sure(yes, f"Revoke the key {which} of {address}? This cannot be taken back.")

    async def work() -> Any:
        return await ask(
            home,
            "keys-own-revoke",
            address=address,
            fingerprint=fingerprint,
            reason=reason,
            text=text,
            replace=replace,
        )

    def words(result: dict[str, Any]) -> None:
        click.echo(f"{result['revoked']} is revoked.")
        if result["fingerprint"] != result["revoked"]:
            click.echo(f"The key in use is {result['fingerprint']}.")
        _show_problem(result)

    answer(run(work()), as_json=as_json, words=words)


def _sure(yes: bool, question: str) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("Say --yes to go on without being asked.")
    if not click.confirm(question, err=True):
        raise Failure("not-confirmed", "Nothing was done.")


@click.command()
@click.argument("file", type=_path, required=False)
@account_option
@click.option(
    "--setup-message",
    is_flag=True,
    help="Make an Autocrypt Setup Message with the key in use instead: into FILE, else into your INBOX.",
)
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@click.option(
    "--passphrase-fd",
    type=int,
    metavar="N",
    help="Read the passphrase for the backup from this descriptor.",
)
@json_option
@pass_home
def backup(
    home: Home,
    file: Path | None,
    account: str | None,
    setup_message: bool,
    force: bool,
    passphrase_fd: int | None,
    as_json: bool,
) -> None:
    """Write all your own secret keys to FILE, locked by a passphrase, with their revocations.

    `bitmask keys restore` takes the file back; `gpg --import` reads it, too. A Setup Message is for other mail
    programs that know Autocrypt, and opens with the code that is shown.
    """
    address = one_account(home, account)
    if file is not None:
        _check_free(file, force)
    if setup_message:
        _make_setup_message(home, address, file, as_json=as_json)
        return
    if file is None:
        raise click.UsageError("Say which FILE the backup goes to.")
    passphrase = read_passphrase("Passphrase for the backup", descriptor=passphrase_fd, twice=True)

    async def work() -> Any:
        return await ask(home, "keys-own-backup", address=address, passphrase=passphrase)

    result = run(work())
    _write(file, result.pop("armored").encode("utf-8"))

    def words(result: dict[str, Any]) -> None:
        count = len(result["keys"])
        click.echo(f"{count} secret {'key is' if count == 1 else 'keys are'} in {file} now.")
        click.echo("Keep it away from this computer, and its passphrase somewhere else.")

    answer({**result, "file": str(file)}, as_json=as_json, words=words)


def _make_setup_message(home: Home, address: str, file: Path | None, *, as_json: bool) -> None:
    async def work() -> Any:
        return await ask(home, "keys-own-setup-message", address=address, deliver=file is None)

    result = run(work())
    if file is not None:
        _write(file, result.pop("message").encode("ascii"))
        result["file"] = str(file)

    def words(result: dict[str, Any]) -> None:
        where = f"in {file}" if file is not None else f"in the INBOX of {address}"
        click.echo(f"The Setup Message is {where}. It opens with this Setup Code:\n")
        blocks = result["setup_code"].split("-")
        for start in range(0, len(blocks), 3):
            click.echo("    " + "-".join(blocks[start : start + 3]))
        click.echo("\nThe code is shown once. Keep it away from the message.")

    answer(result, as_json=as_json, words=words)


def _check_free(file: Path, force: bool) -> None:
    if file.exists() and not force:
        raise click.UsageError(f"{file} is there already; --force replaces it.")
    if not file.parent.is_dir():
        raise click.UsageError(f"There is no folder {file.parent}.")


def _write(file: Path, data: bytes) -> None:
    from leap.soledad.private_file import write_private

    try:
        write_private(file, data)
    except OSError as error:
        raise Failure("home", f"Cannot write {file}: {error.strerror}.") from error


@click.command()
@click.argument("file", type=_existing, required=False)
@click.option(
    "--mail",
    metavar="ID",
    help="Take it from this message instead; `bitmask keys setup-messages` shows which there are.",
)
@account_option
@use_option
@add_user_id_option
@extend_option
@click.option(
    "--passphrase-fd",
    type=int,
    metavar="N",
    help="Read the passphrase of the backup, or the Setup Code, from this descriptor.",
)
@json_option
@pass_home
def restore(
    home: Home,
    file: Path | None,
    mail: str | None,
    account: str | None,
    use: bool,
    add_user_id: bool,
    extend: bool,
    passphrase_fd: int | None,
    as_json: bool,
) -> None:
    """Take your own secret keys back from FILE, a backup or an Autocrypt Setup Message.

    They open mail; with --use the key is also the one in use.
    """
    address = one_account(home, account)
    if (file is None) == (mail is None):
        raise click.UsageError("Say which FILE it is, or which message with --mail ID.")
    import_secret_keys(
        home,
        address,
        read_key_file(file) if file is not None else _read_message(home, address, mail or ""),
        str(file) if file is not None else f"message {mail}",
        use=use,
        add_user_id=add_user_id,
        extend=extend,
        descriptor=passphrase_fd,
        as_json=as_json,
    )


def _read_message(home: Home, address: str, message_id: str) -> bytes:
    async def work() -> bytes:
        from leap.bitmask.mail_reading import read_mail

        return await read_mail(home, address, message_id)

    return run(work())
