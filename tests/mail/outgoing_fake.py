"""A way out of an account which sends nothing, for tests of everything else."""

from __future__ import annotations

from collections.abc import Sequence

from leap.mail.contract import OutboxEntry


class Outgoing:
    """A way out which only remembers."""

    def __init__(self) -> None:
        self.kept: list[OutboxEntry] = []

    async def submit(self, raw: bytes, sender: str, recipients: Sequence[str]) -> str:
        entry = OutboxEntry(
            outbox_id=f"o{len(self.kept)}",
            sender=sender,
            recipients=tuple(recipients),
            subject="",
            state="queued",
            attempts=0,
            next_attempt=0,
        )
        self.kept.append(entry)
        return entry.outbox_id

    async def entries(self) -> list[OutboxEntry]:
        return self.kept
