"""`bitmask keys import`, and files of keys."""

from __future__ import annotations

import base64
import os
import sys
from pathlib import Path
from typing import Any

import click

from leap.bitmask.cli.key_options import account_option, shown_groups
from leap.bitmask.cli.mail import one_account
from leap.bitmask.cli.output import Failure, answer, json_option, pass_home, run
from leap.bitmask.cli.own_keys import import_secret_keys, use_option
from leap.bitmask.cli.secret_key_file import (
    add_user_id_option,
    extend_option,
    has_secret_keys,
    key_passphrase_option,
)
from leap.bitmask.control import ask
from leap.bitmask.home import Home

MAX_FILE = 2 * 1024 * 1024  # octets; a request to the daemon has room for 4 MiB, in base64


@click.command(name="import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@account_option
@click.option(
    "--verified",
    multiple=True,
    metavar="FINGERPRINT",
    help="You compared this fingerprint with its owner; may be given several times.",
)
@use_option
@add_user_id_option
@extend_option
@key_passphrase_option
@json_option
@pass_home
def import_(
    home: Home,
    file: str,
    account: str | None,
    verified: tuple[str, ...],
    use: bool,
    add_user_id: bool,
    extend: bool,
    key_passphrase_fd: int | None,
    as_json: bool,
) -> None:
    """Import public keys of others from FILE (- for standard input), or secret keys of your own.

    Secret keys open mail from then on; with --use the one in FILE is also the one you sign with and others encrypt to.

    A file proves nothing about whose key it is: a key that is believed more stays, and what was refused is shown with
    the reason. When nothing was taken, the exit code is 1.
    """
    data = _read(file)
    origin = "standard input" if file == "-" else Path(file).name
    if has_secret_keys(data):
        if verified:
            raise click.UsageError(
                f"There is a secret key in {origin}; --verified is for keys of others."
            )
        import_secret_keys(
            home,
            one_account(home, account),
            data,
            origin,
            use=use,
            add_user_id=add_user_id,
            extend=extend,
            descriptor=key_passphrase_fd,
            as_json=as_json,
        )
        return
    if use:
        raise click.UsageError(f"There is no secret key in {origin}: nothing you could use.")

    async def work() -> Any:
        return await ask(
            home,
            "keys-import",
            address=one_account(home, account),
            data=base64.b64encode(data).decode("ascii"),
            origin=origin,
            verified=list(verified),
        )

    def words(result: dict[str, Any]) -> None:
        for one in result["keys"]:
            outcome = "taken" if one["taken"] else "refused"
            address = one["address"] or "nobody"
            key = shown_groups(one["fingerprint"])
            click.echo(f"{outcome}: {key} for {address}: {one['reason']}.")

    result = run(work())
    answer(result, as_json=as_json, words=words)
    if not any(one["taken"] for one in result["keys"]):
        click.get_current_context().exit(1)


def _read(file: str) -> bytes:
    if file == "-":
        data = sys.stdin.buffer.read(MAX_FILE + 1)
    else:
        try:
            with Path(file).open("rb") as opened:
                data = opened.read(MAX_FILE + 1)
        except OSError as error:
            raise Failure("unreadable", f"{file} cannot be read: {error.strerror}.") from error
    if not data:
        raise Failure("key-refused", "There is nothing to import.")
    if len(data) > MAX_FILE:
        raise Failure(
            "too-large", f"{file} is over {MAX_FILE // (1024 * 1024)} MiB; import it in parts."
        )
    return data


def write_new(path: Path, text: str, *, secret: bool) -> None:
    """Writes a file that must not be there yet; a secret one only its owner can read."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644)
        with os.fdopen(descriptor, "w", encoding="ascii") as opened:
            opened.write(text)
    except FileExistsError as error:
        raise Failure("file-exists", f"{path} is there already; nothing was written.") from error
    except OSError as error:
        raise Failure("unwritable", f"{path} cannot be written: {error.strerror}.") from error
