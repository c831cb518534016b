"""The provider as a device sees it: one HTTPS client."""

from leap.soledad.remote.client import ProviderClient
from leap.soledad.remote.events import Event

__all__ = ["Event", "ProviderClient"]
