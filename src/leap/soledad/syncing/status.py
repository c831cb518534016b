"""What a person or program can know of sync: the result of one, and how things stand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from leap.soledad.rows import RowTable
from leap.soledad.sqlite import Connection
from leap.soledad.syncing.gather import count_dirty


@dataclass(frozen=True)
class SyncResult:
    """What one sync did."""

    pulled: int = 0
    pushed: int = 0
    blobs_sent: int = 0


@dataclass(frozen=True)
class EngineStatus:
    """`provisional` until the first pull is complete; `alarm` and `error` are sentences for people.

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


def count_waiting(connection: Connection, tables: Mapping[str, RowTable]) -> dict[str, int]:
    """How much waits to be pushed, sent and fetched."""
    to_send = connection.execute("SELECT count(*) FROM blob_unsent").fetchone()[0]
    wanted = connection.execute("SELECT count(*) FROM blob_wanted").fetchone()[0]
    lost = connection.execute("SELECT count(*) FROM blob_lost").fetchone()[0]
    return {
        "pending": count_dirty(connection, tables),
        "blobs_to_send": to_send,
        "blobs_to_fetch": wanted - lost,  # what is lost is wanted too
        "contents_missing": lost,
    }
