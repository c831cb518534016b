"""Where a passphrase comes from: a file descriptor, the terminal without echo, or a line of standard input."""

from __future__ import annotations

import getpass
import os
import sys

import click

MIN_LENGTH = 8


def read_passphrase(prompt: str, *, descriptor: int | None = None, twice: bool = False) -> str:
    """The passphrase, without its line end. Raises click.UsageError when there is none.

    `twice` asks again at a terminal, to catch a slip when a new passphrase is chosen.
    """
    if descriptor is not None:
        try:
            with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
                # Not buffered: the next line is for who reads next.
                data = file.readline()
        except OSError as error:
            raise click.UsageError(
                f"Cannot read file descriptor {descriptor}: {error.strerror}."
            ) from error
        text = data.decode("utf-8", "surrogateescape").rstrip("\r\n")
    elif sys.stdin.isatty():
        text = getpass.getpass(f"{prompt}: ")
        if twice and text != getpass.getpass("The same again: "):
            raise click.UsageError("The two passphrases differ; nothing was done.")
    else:
        text = sys.stdin.readline().rstrip("\r\n")
    if not text:
        raise click.UsageError(f"{prompt}: none was given.")
    if twice and len(text) < MIN_LENGTH:
        raise click.UsageError(f"Choose a passphrase of at least {MIN_LENGTH} characters.")
    return text
