"""What an application says of its documents when a store is exported, and when they come into an account.

Document ids may be made with an account's id key, contents may hold what is of use on one account only: a store's
program knows, this package does not.
"""

from __future__ import annotations

from typing import Protocol

from leap.soledad.maintenance.records import DocumentRecord, Opening
from leap.soledad.store import Soledad
from leap.soledad.syncing.wishes import TYPE as WISHES


class Carrying(Protocol):
    """Both answer by the document's type and content."""

    def exported(self, kind: str) -> bool:
        """Whether documents of this type belong into an export."""

    def arriving(
        self, record: DocumentRecord, kind: str, opening: Opening, store: Soledad
    ) -> DocumentRecord | None:
        """The document as it is to be in `store`; None if it is of no use there."""


class CarryAll:
    """For programs whose documents mean the same everywhere."""

    def exported(self, kind: str) -> bool:
        return kind != WISHES  # what a device lacks is nobody else's business

    def arriving(
        self, record: DocumentRecord, kind: str, opening: Opening, store: Soledad
    ) -> DocumentRecord | None:
        return record
