"""leap.soledad: an encrypted, synced store of documents. Names are imported when first used, so this is light."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leap.soledad.documents import Document
    from leap.soledad.enrol import enrol_by_recovery, enrol_device, sign_up
    from leap.soledad.errors import SoledadError
    from leap.soledad.feed import Change
    from leap.soledad.remote.client import ProviderClient
    from leap.soledad.rows import RowSchema, SetEdit
    from leap.soledad.store import Soledad
    from leap.soledad.syncing import SyncEngine
    from leap.soledad.transaction import Transaction
    from leap.soledad.vault import create_vault, open_vault

__all__ = [
    "Change",
    "Document",
    "ProviderClient",
    "RowSchema",
    "SetEdit",
    "Soledad",
    "SoledadError",
    "SyncEngine",
    "Transaction",
    "create_vault",
    "enrol_by_recovery",
    "enrol_device",
    "open_vault",
    "sign_up",
]
_MODULES = {
    "Change": "feed",
    "Document": "documents",
    "ProviderClient": "remote.client",
    "RowSchema": "rows",
    "SetEdit": "rows",
    "Soledad": "store",
    "SoledadError": "errors",
    "SyncEngine": "syncing",
    "Transaction": "transaction",
    "create_vault": "vault",
    "enrol_by_recovery": "enrol",
    "enrol_device": "enrol",
    "open_vault": "vault",
    "sign_up": "enrol",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"leap.soledad.{_MODULES[name]}"), name)
