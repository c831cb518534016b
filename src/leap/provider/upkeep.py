"""Upkeep of a provider's folder while it does not serve: what `leap-provider` offers an operator beside `serve`."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from leap.provider.daemon import CannotServe
from leap.provider.folder import STATE_FILE, FolderState
from leap.provider.provider import Provider
from leap.provider.storage.compaction import Freed
from leap.provider.storage.schema import NewerStore
from leap.soledad.errors import SoledadError, StoreLocked


def compact_folder(folder: Path) -> Freed:
    """Compacts it; raises CannotServe when it is no provider's folder, or its provider runs."""
    try:
        state = msgspec.json.decode((folder / STATE_FILE).read_bytes(), type=FolderState)
    except (OSError, msgspec.MsgspecError, ValueError):
        raise CannotServe(f"{folder} is not the folder of a provider") from None
    return asyncio.run(_compact(folder, state.domain))


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
