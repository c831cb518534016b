"""An account on Soledad does all that the contract says."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from tests.conformance.account_backend import AccountBackendSuite

from leap.mail.contract import OutboxEntry
from leap.mail.local import LocalAccount, open_mail_store
from leap.soledad.store import Soledad

KEY = bytes(range(32))


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


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Soledad]:
    async with await open_mail_store(tmp_path / "store.db", KEY) as store:
        yield store


@pytest.fixture
async def backend(store: Soledad) -> AsyncIterator[LocalAccount]:
    account = await LocalAccount.open(store, "alice@example.test", outbox=Outgoing())
    yield account
    await account.close()


class TestConformance(AccountBackendSuite):
    """The suite every account passes."""
