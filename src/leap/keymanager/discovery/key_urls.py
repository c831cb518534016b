"""Where people said in their mail that their key is (the `OpenPGP:` header), kept until one writes to them.

Kept in a setting of this device's store: it is not synced, and only so many, the latest.
"""

from __future__ import annotations

import asyncio

import msgspec

from leap.keymanager.kept_times import SettingStore

SETTING = "keymanager.key-urls"
MOST = 200
PATIENCE = (
    2 * 86_400.0
)  # seconds it may fail; then it is forgotten: a dead one must not keep mail waiting till it ends


class KeyUrl(msgspec.Struct, frozen=True, kw_only=True):
    """`mail` is the Message-ID of the mail that said it, `authentication` what vouched for that mail.

    `failing_since`: when it could not be fetched first, in seconds since 1970; 0 if it was not tried.
    """

    url: str
    mail: str
    authentication: str
    failing_since: float = 0.0


class KeyUrls:
    """The urls by address."""

    def __init__(self, store: SettingStore) -> None:
        self._store = store
        self._urls: dict[str, KeyUrl] | None = None
        self._loading = asyncio.Lock()

    async def get(self, address: str) -> KeyUrl | None:
        return (await self._loaded()).get(address)

    async def put(self, address: str, url: KeyUrl | None) -> None:
        """Keeps what is said now in place of what was; None forgets it."""
        urls = await self._loaded()
        if urls.get(address) == url:
            return
        urls.pop(address, None)
        if url is not None:
            urls[address] = url
        while len(urls) > MOST:
            del urls[next(iter(urls))]
        encoded = msgspec.json.encode(urls)
        await self._store.transact(lambda tx: tx.set_setting(SETTING, encoded))

    async def note_failure(self, address: str, url: KeyUrl, at: float) -> None:
        """It could not be fetched at a time."""
        since = url.failing_since or at
        failing = msgspec.structs.replace(url, failing_since=since)
        await self.put(address, failing if at < since + PATIENCE else None)

    async def _loaded(self) -> dict[str, KeyUrl]:
        async with self._loading:
            if self._urls is None:
                kept = await self._store.setting(SETTING)
                try:
                    self._urls = msgspec.json.decode(kept or b"{}", type=dict[str, KeyUrl])
                except (msgspec.DecodeError, TypeError):
                    self._urls = {}  # of another version; the next mail says it again
            return self._urls
