"""A provider, the same served over TLS, and the people on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leap.provider.provider import Provider
from tests.provider.queue_world import Post, open_post
from tests.provider.world import Clock, Served, account, opened, served


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def provider(tmp_path: Path, clock: Clock) -> AsyncIterator[Provider]:
    async with opened(tmp_path / "provider", now=clock) as provider:
        yield provider


@pytest.fixture
async def alice(provider: Provider) -> int:
    return await account(provider, "alice")


@pytest.fixture
async def bob(provider: Provider) -> int:
    return await account(provider, "bob")


@pytest.fixture
async def https(provider: Provider, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(provider, tmp_path) as running:
        yield running


@pytest.fixture
async def post(tmp_path: Path) -> AsyncIterator[Post]:
    async with open_post(tmp_path) as made:
        yield made
