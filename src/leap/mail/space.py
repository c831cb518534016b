"""How much room an account takes, and how much is left on its disk."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from typing import TypeVar

from leap.mail.answers import AccountSpace
from leap.soledad.sqlite import Connection
from leap.soledad.store import Soledad

T = TypeVar("T")


class LocalSpace:
    """A part of `LocalAccount`."""

    store: Soledad

    async def _read(self, job: Callable[[Connection], T]) -> T:
        raise NotImplementedError

    async def space(self) -> AccountSpace:
        used, messages = await self._read(
            lambda connection: connection.execute(
                "SELECT coalesce(sum(size), 0), coalesce(sum(messages), 0) FROM mail_box"
            ).fetchone()
        )
        disk = await asyncio.to_thread(shutil.disk_usage, self.store.path.parent)
        return AccountSpace(used=used, messages=messages, free=disk.free)
