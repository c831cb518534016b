"""The account in memory passes the suite of all accounts."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from leap.mail.contract import INBOX, AccountBackend, AccountUnavailable
from leap.mail.memory import MemoryAccount
from tests.conformance.account_backend import AccountBackendSuite
from tests.conformance.account_save_dates import SaveDatesSuite
from tests.conformance.account_sorting import SortingSuite
from tests.conformance.account_threads import ThreadsAndContactsSuite


class TestMemoryAccount(AccountBackendSuite, ThreadsAndContactsSuite, SortingSuite, SaveDatesSuite):
    @pytest.fixture
    async def backend(self) -> AsyncIterator[AccountBackend]:
        account = MemoryAccount()
        yield account
        await account.close()


async def test_a_closed_account_ends_its_streams_and_refuses() -> None:
    account = MemoryAccount()
    stream = account.changes()
    await account.close()
    assert [change async for change in stream] == []
    with pytest.raises(AccountUnavailable):
        await account.status(INBOX)
