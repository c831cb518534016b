"""What the commands about keys have in common: whose ring, and how a fingerprint looks."""

from __future__ import annotations

import sys

import click

from leap.bitmask.cli.user import ADDRESS

account_option = click.option(
    "--account", type=ADDRESS, help="Whose key ring; needed when there are several."
)


def shown_groups(fingerprint: str) -> str:
    """A fingerprint in groups of four; this starts without the daemon's `leap.keymanager.comparison`."""
    return " ".join(fingerprint[at : at + 4] for at in range(0, len(fingerprint), 4))


def somebody_answers() -> bool:
    """Whether a person sits at the terminal and can be asked."""
    return sys.stdin.isatty()
