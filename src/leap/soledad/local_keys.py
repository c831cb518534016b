"""The keys under which a store seals what it keeps here."""

from __future__ import annotations

import msgspec

from leap.soledad.envelope import Epoch


class LocalKeys(msgspec.Struct, frozen=True):
    """What seals blobs and names rows; of the account, or made up by a store that has none yet."""

    account: str
    id_key: bytes
    epochs: list[Epoch]

    def __repr__(self) -> str:
        return "LocalKeys()"

    @property
    def epoch(self) -> Epoch:
        return max(self.epochs, key=lambda epoch: epoch.number)

    @property
    def by_number(self) -> dict[int, Epoch]:
        return {epoch.number: epoch for epoch in self.epochs}
