"""The net that sources of keys are tried in."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leap.provider.tls import self_made_context

from .net import NAMES, Net, Socks, served


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """A server's side, and the authority that vouches for NAMES."""
    return self_made_context(tmp_path_factory.mktemp("tls"), NAMES)


@pytest.fixture
async def net(tls: tuple[ssl.SSLContext, Path]) -> AsyncIterator[Net]:
    async with served(*tls) as found:
        yield found


@pytest.fixture
async def socks(net: Net) -> AsyncIterator[Socks]:
    server = Socks(net)
    yield server
    await server.close()
