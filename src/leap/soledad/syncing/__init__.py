"""Sync: one store kept in step with a provider that is not trusted."""

from leap.soledad.syncing.loop import SyncEngine, SyncStopped
from leap.soledad.syncing.remote import SyncRemote
from leap.soledad.syncing.status import EngineStatus, SyncResult

__all__ = ["EngineStatus", "SyncEngine", "SyncRemote", "SyncResult", "SyncStopped"]
