"""What the original's MX did wrong, a test named for it."""

from __future__ import annotations

import pytest

from leap.soledad.errors import BadKeyset
from leap.soledad.inbox_seal import InboxKey
from tests.provider.mail_drop import MemoryMailDrop
from tests.provider.test_mx import drop, running

__all__ = ["drop"]


@pytest.mark.parametrize(
    "failure", [BadKeyset("no key"), ValueError("x"), MemoryError(), TimeoutError()]
)
async def test_plaintext_stored_when_encryption_at_the_mx_failed(
    drop: MemoryMailDrop, failure: Exception
) -> None:
    """The sender is told to come again (4xx), and nothing is kept, whatever went wrong."""

    def fails(data: bytes, key: InboxKey, account: str) -> bytes:
        raise failure

    async with running(drop, seal=fails) as mx:
        assert (await mx.send("bob@example.test"))[:2] == [250, 250]
        assert 400 <= (await mx.send("bob@example.test"))[2] < 500
    assert drop.inbox == []
    async with running(drop) as mx:
        assert await mx.send("bob@example.test") == [250, 250, 250]
    (kept,) = drop.inbox
    assert b"marker-of-this-mail" not in kept.sealed
