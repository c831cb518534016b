"""A way out of an account which sends nothing, for tests of everything else."""

from __future__ import annotations

from leap.mail.memory_outbox import MemoryOutbox


class Outgoing(MemoryOutbox):
    """The way out of alice's account."""

    def __init__(self) -> None:
        super().__init__("alice@example.test")
