"""What every account does with mail that goes out, and what it tells of sync."""

from __future__ import annotations

from leap.mail.contract import (
    AccountBackend,
)
from tests.conformance.account_making import (
    PLAIN,
)


class SendingSuite:
    """Part of `AccountBackendSuite`."""

    async def test_sending_goes_through_the_outbox(self, backend: AccountBackend) -> None:
        raw = PLAIN.replace(b"alice@example.test", backend.address.encode())
        outbox_id = await backend.submit(raw, backend.address, ["bob@example.test"])
        [entry] = [e for e in await backend.outbox() if e.outbox_id == outbox_id]
        assert entry.sender == backend.address
        assert entry.recipients == ("bob@example.test",)

    async def test_status_of_sync_is_told(self, backend: AccountBackend) -> None:
        await backend.sync_now()
        status = await backend.sync_status()
        assert status.alarm == ""
