"""Options of the commands that make a key: its version, and whether it withstands quantum computers."""

from __future__ import annotations

from typing import Any

import click

key_version_option = click.option(
    "--key-version",
    type=click.Choice(["4", "6"]),
    help="Of a new key. Every program knows 4; 6 is RFC 9580's, which GnuPG cannot encrypt to.",
)
post_quantum_option = click.option(
    "--post-quantum",
    is_flag=True,
    help="Also make a part with ML-KEM-768 (RFC 9980): what programs that know it send to you withstands quantum"
    " computers.",
)


def kind_arguments(key_version: str | None, post_quantum: bool) -> dict[str, Any]:
    """What the daemon is told."""
    version = None if key_version is None else int(key_version)
    return {"key_version": version, "post_quantum": post_quantum}
