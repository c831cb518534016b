"""What a person or program can know of sync: the result of one, and how things stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from leap.soledad.blobs.holdings import wanted_unasked
from leap.soledad.blobs.policy import ContentsPolicy
from leap.soledad.head import HeadRecord
from leap.soledad.keyset import Keyset
from leap.soledad.rows import RowTable
from leap.soledad.sqlite import Connection
from leap.soledad.syncing.gather import count_dirty
from leap.soledad.tables import WANTED

STALE_SECONDS = 3 * 24 * 3600  # three of the heads that a running device signs daily are missing


@dataclass(frozen=True)
class SyncResult:
    """What one sync did."""

    pulled: int = 0
    pushed: int = 0
    blobs_sent: int = 0


@dataclass(frozen=True)
class DeviceWord:
    """When a device of the account last wrote, in seconds since 1970, as far as this one knows; None: never."""

    device_id: str
    name: str
    wrote: int | None
    this: bool
    stale: bool


@dataclass(frozen=True)
class EngineStatus:
    """`provisional` until the first pull is complete; `alarm` and `error` are sentences for people.

    `logged_out`: the provider does not know this device's token any more.
    `contents_missing` counts blobs of which the provider last gave nothing, or other bytes: they are asked for again.
    """

    online: bool = False
    provisional: bool = True
    last_sync: int | None = None
    pending: int = 0
    blobs_to_send: int = 0
    blobs_to_fetch: int = 0
    contents_missing: int = 0
    alarm: str = ""
    error: str = ""
    logged_out: bool = False
    running: bool = False  # a sync goes on just now
    devices: tuple[DeviceWord, ...] = ()

    @property
    def stale(self) -> tuple[DeviceWord, ...]:
        """Devices without a word for three days: they are off, or the provider withholds what they wrote."""
        return tuple(device for device in self.devices if device.stale)


class StatusBoard:
    """Holds the status and tells those who listen when it changes."""

    def __init__(self) -> None:
        self.current = EngineStatus()
        self._callbacks: list[Callable[[EngineStatus], None]] = []

    def subscribe(self, callback: Callable[[EngineStatus], None]) -> Callable[[], None]:
        self._callbacks.append(callback)

        def unsubscribe() -> None:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

        return unsubscribe

    def update(self, **fields: Any) -> None:
        status = replace(self.current, **fields)
        if status != self.current:
            self.current = status
            for callback in list(self._callbacks):
                callback(status)


def list_devices(
    record: HeadRecord | None, keyset: Keyset, this: str, now: float
) -> tuple[DeviceWord, ...]:
    """The devices in use, by name: running ones sign a head every day."""
    words = []
    for device in keyset.devices:
        if device.revoked_at is not None:
            continue
        entry = record.devices.get(device.device_id) if record is not None else None
        wrote = (entry.time or None) if entry is not None else None
        # Who never wrote in this log had the time since it was listed to do so.
        since = wrote or device.added
        own = device.device_id == this
        stale = not own and now - since > STALE_SECONDS
        words.append(DeviceWord(device.device_id, device.name, wrote, own, stale))
    return tuple(sorted(words, key=lambda word: (word.name, word.device_id)))


def count_waiting(
    connection: Connection, tables: Mapping[str, RowTable], policy: ContentsPolicy
) -> dict[str, int]:
    """How much waits to be pushed, sent, and fetched in the background."""
    to_send = connection.execute("SELECT count(*) FROM blob_unsent").fetchone()[0]
    unasked, values = wanted_unasked(connection, policy)
    to_fetch = 0
    for lot, sizes in WANTED.items():
        to_fetch += connection.execute(
            f"SELECT count(*) FROM blob_wanted INDEXED BY blob_wanted_{lot}"  # noqa: S608
            f" WHERE missing = 0 AND {sizes} AND {unasked}",
            values,
        ).fetchone()[0]
    # What is lost and due again is among the wanted ones, too.
    to_fetch -= connection.execute(
        "SELECT count(*) FROM blob_lost CROSS JOIN blob_wanted USING (blob_id)"  # noqa: S608
        f" WHERE missing = 0 AND {unasked}",
        values,
    ).fetchone()[0]
    lost = connection.execute("SELECT count(*) FROM blob_lost").fetchone()[0]
    return {
        "pending": count_dirty(connection, tables),
        "blobs_to_send": to_send,
        "blobs_to_fetch": to_fetch,
        "contents_missing": lost,
    }
