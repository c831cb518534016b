"""Upkeep of a provider's folder: what `leap-provider` offers an operator beside `serve`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

from leap.provider.aliases import create_alias_table
from leap.provider.daemon import CannotServe
from leap.provider.folder import STATE_FILE, FolderState
from leap.provider.provider import Provider
from leap.provider.storage.compaction import Freed
from leap.provider.storage.schema import VERSION, NewerStore
from leap.soledad.errors import SoledadError, StoreLocked
from leap.soledad.sqlite import Connection, opened_beside

T = TypeVar("T")


def compact_folder(folder: Path) -> Freed:
    """Compacts it; raises CannotServe when it is no provider's folder, or its provider runs."""
    return asyncio.run(_compact(folder, _state(folder).domain))


def edit_folder(folder: Path, job: Callable[[Connection, str], T]) -> T:
    """Runs `job` on the database and the domain in one durable transaction, also while the provider runs.

    For short edits by an operator. Raises CannotServe when it is no provider's folder, or of another version; and
    what `job` raises, which then changed nothing.
    """
    domain = _state(folder).domain
    path = folder / "provider.sqlite"
    if not path.exists():
        raise CannotServe("this provider never ran; start it once")
    try:
        with opened_beside(path) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version != VERSION:
                raise CannotServe("its data is of another version; start its leap-provider once")
            create_alias_table(connection)
            return job(connection, domain)
    except (SoledadError, OSError) as error:
        raise CannotServe(str(error)) from None


def _state(folder: Path) -> FolderState:
    try:
        return msgspec.json.decode((folder / STATE_FILE).read_bytes(), type=FolderState)
    except (OSError, msgspec.MsgspecError, ValueError):
        raise CannotServe(f"{folder} is not the folder of a provider") from None


async def _compact(folder: Path, domain: str) -> Freed:
    try:
        provider = await Provider.open(folder, domain)
    except StoreLocked:
        raise CannotServe(
            "its provider is running; it gives space back by itself when there is much"
        ) from None
    except NewerStore as error:
        raise CannotServe(str(error)) from None
    try:
        return await provider.compact()
    except (SoledadError, OSError) as error:
        raise CannotServe(str(error)) from None
    finally:
        await provider.close()
