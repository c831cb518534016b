"""What most tests of IMAP begin with: an account in memory, and a server of it on a socket."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from leap.mail.contract import AccountBackend
from leap.mail.imap import ImapServer, serve_imap
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import PASSWORD, USER


@pytest.fixture
async def account() -> AsyncIterator[MemoryAccount]:
    account = MemoryAccount()
    yield account
    await account.close()


@pytest.fixture
async def server(account: MemoryAccount) -> AsyncIterator[ImapServer]:
    async def authenticate(user: str, password: str) -> AccountBackend | None:
        return account if (user, password) == (USER, PASSWORD) else None

    server = await serve_imap(authenticate)
    yield server
    await server.close()
