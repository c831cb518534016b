"""Which server takes the mail of a foreign domain."""

from __future__ import annotations

from collections.abc import Mapping

from leap.provider.contract import Endpoint


class Routes:
    """A fixed table of domains; a domain that is not in it cannot be reached from here."""

    def __init__(self, table: Mapping[str, Endpoint]) -> None:
        self._table = {domain.lower(): endpoint for domain, endpoint in table.items()}

    def find(self, domain: str) -> Endpoint | None:
        """Host and port of the domain's MX, or None."""
        return self._table.get(domain.lower())
