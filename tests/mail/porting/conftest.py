"""An account to import into and export from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leap.mail.local import OwnedAccount
from tests.mail.porting.trip import open_account


@pytest.fixture
async def account(tmp_path: Path) -> AsyncIterator[OwnedAccount]:
    account = await open_account(tmp_path / "store.db")
    yield account
    await account.close()
