"""People with accounts, for the tests of sending and receiving."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.mail.travel import FakeProvider, Person, open_person


@pytest.fixture
def provider() -> FakeProvider:
    return FakeProvider()


@pytest.fixture
async def alice(provider: FakeProvider, tmp_path: Path) -> AsyncIterator[Person]:
    person = await open_person(provider, tmp_path / "alice", "alice")
    yield person
    await person.close()


@pytest.fixture
async def bob(provider: FakeProvider, tmp_path: Path) -> AsyncIterator[Person]:
    person = await open_person(provider, tmp_path / "bob", "bob")
    yield person
    await person.close()
