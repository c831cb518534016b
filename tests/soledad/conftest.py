"""An account on a provider in memory, for the tests of sync."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.soledad.memory_provider import Account


@pytest.fixture
async def account(tmp_path: Path) -> AsyncIterator[Account]:
    account = Account(tmp_path)
    yield account
    await account.close()
