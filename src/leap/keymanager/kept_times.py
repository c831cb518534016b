"""Moments kept under names in this device's store: what was asked when, and until when an answer holds.

Invariants:
* They lie in a setting of the encrypted store; settings are not synced, so the provider does not get them.
* Names are kept as ids made with the account's id key, and only so many, the latest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import msgspec

T = TypeVar("T")


class SettingStore(Protocol):
    """What of `leap.soledad.store.Soledad` is used."""

    def row_key(self, name: bytes, /) -> str: ...
    async def setting(self, name: str, /) -> Any: ...
    async def transact(self, job: Callable[[Any], T], /, durable: bool = False) -> T: ...


class KeptTimes:
    """Moments (seconds since 1970) by name, at most `most` of them, in the setting `setting`."""

    def __init__(self, store: SettingStore, setting: str, *, most: int) -> None:
        self._store = store
        self._setting = setting
        self._most = most
        self._times: dict[str, float] | None = None
        self._loading = asyncio.Lock()

    async def get(self, name: str) -> float | None:
        return (await self._loaded()).get(self._id(name))

    async def put(self, name: str, at: float | None) -> None:
        """Keeps a moment; None forgets it."""
        times = await self._loaded()
        key = self._id(name)
        if times.pop(key, None) is None and at is None:
            return
        if at is not None:
            times[key] = at
        while len(times) > self._most:
            del times[next(iter(times))]
        await self._save(times)

    async def clear(self) -> None:
        """Forgets all."""
        times = await self._loaded()
        times.clear()
        await self._save(times)

    async def _loaded(self) -> dict[str, float]:
        async with self._loading:
            if self._times is None:
                kept = await self._store.setting(self._setting)
                try:
                    self._times = msgspec.json.decode(kept or b"{}", type=dict[str, float])
                except (msgspec.DecodeError, TypeError):
                    self._times = {}  # of another version; nothing but time is lost
            return self._times

    async def _save(self, times: dict[str, float]) -> None:
        encoded = msgspec.json.encode(times)
        await self._store.transact(lambda tx: tx.set_setting(self._setting, encoded))

    def _id(self, name: str) -> str:
        return self._store.row_key(f"{self._setting}:{name}".encode())
