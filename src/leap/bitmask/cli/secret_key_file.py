"""A file with secret keys that a command is given: reading it, and asking for what it needs before it can be used."""

from __future__ import annotations

import base64
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from leap.bitmask.cli.output import run
from leap.bitmask.cli.passphrase import read_passphrase
from leap.bitmask.control import ask
from leap.bitmask.home import Home

MAX_BYTES = 1024 * 1024
_SECRET_KEY = 5  # RFC 9580 5

key_passphrase_option = click.option(
    "--key-passphrase-fd",
    type=int,
    metavar="N",
    help="Read the passphrase of the key file from this descriptor; may be that of another one, a line after it.",
)
add_user_id_option = click.option(
    "--add-user-id", is_flag=True, help="Put the address on a key that does not carry it."
)
extend_option = click.option(
    "--extend", is_flag=True, help="Extend a key that has expired by a year from now."
)


@dataclass(frozen=True, slots=True)
class KeyFile:
    """What the daemon is told of it. `secret` is never shown."""

    key: str = field(repr=False)
    key_passphrase: str | None = field(repr=False)
    add_user_id: bool
    extend: bool

    def arguments(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "key_passphrase": self.key_passphrase,
            "add_user_id": self.add_user_id,
            "extend": self.extend,
        }


def read_key_file(path: Path) -> bytes:
    """The octets of a key file. Raises click.UsageError."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise click.UsageError(f"Cannot read {path}: {error.strerror}.") from error
    if not data:
        raise click.UsageError(f"{path} is empty.")
    if len(data) > MAX_BYTES:
        raise click.UsageError(f"{path} is over {MAX_BYTES // 1024} kB: that is no key file.")
    return data


def has_secret_keys(data: bytes) -> bool:
    """Whether a file is one of secret keys, by how it begins."""
    first = data[:1]
    if (
        first and first[0] & 0x80
    ):  # RFC 9580 4.2: the type in either format of a packet's first octet
        return (first[0] & 0x3F if first[0] & 0x40 else first[0] >> 2 & 0x0F) == _SECRET_KEY
    return b"-----BEGIN PGP PRIVATE KEY BLOCK-----" in data


def for_daemon(data: bytes) -> str:
    """Octets as a command's argument."""
    return base64.b64encode(data).decode("ascii")


def open_key_file(
    home: Home,
    data: bytes,
    name: str,
    address: str,
    *,
    descriptor: int | None,
    for_use: bool,
    add_user_id: bool = False,
    extend: bool = False,
) -> KeyFile:
    """What is in the file `name` of secret keys; asks for its passphrase if it is locked.

    `for_use`: a person at a terminal is also asked whether the address may be put on the key, and its end extended.
    """
    key = for_daemon(data)
    found = run(ask(home, "keys-inspect", key=key, address=address))
    passphrase = None
    if found["locked"]:
        prompt = f"Passphrase of the key in {name}"
        if found["setup_message"]:
            begins = f", which begins with {found['begins']}" if found["begins"] else ""
            prompt = f"Setup Code of {name}{begins}"
        passphrase = read_passphrase(prompt, descriptor=descriptor)
    if for_use and sys.stdin.isatty() and len(found["keys"]) == 1:
        import time

        (one,) = found["keys"]
        if not one["carries"] and not add_user_id and not one["revoked"]:
            carried = ", ".join(one["user_ids"]) or "nobody"
            add_user_id = click.confirm(
                f"The key is of {carried}. Put {address} on it, too?", err=True
            )
        if one["expires"] is not None and one["expires"] <= time.time() and not extend:
            extend = click.confirm("The key has expired. Extend it by a year from now?", err=True)
    return KeyFile(key, passphrase, add_user_id, extend)
