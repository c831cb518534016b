"""The own key bears the account's aliases, and is published under each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from leap.bitmask.key_care import KeyCare
from leap.keymanager.openpgp import Certificate
from leap.provider.keys.certificate_form import check_certificate, named_form
from tests.mail.travel import DOMAIN, NOW, FakeProvider, Person, open_person, own_key

ALICE, SALES = f"alice@{DOMAIN}", f"sales@{DOMAIN}"


@pytest.fixture
async def alice(tmp_path: Path) -> AsyncIterator[Person]:
    person = await open_person(FakeProvider(), tmp_path / "alice", "alice")
    yield person
    await person.close()


class Directory:
    """The provider's, for one account with aliases."""

    def __init__(self) -> None:
        self.aliases: tuple[str, ...] = ()
        self.certificate = b""
        self.puts = 0

    async def find_certificate(self, address: str) -> bytes | None:
        if address not in (ALICE, *self.aliases):
            return None
        return named_form(self.certificate, address) or None

    async def put_certificate(self, certificate: bytes) -> None:
        check_certificate(certificate, ALICE, self.aliases)
        self.certificate = certificate
        self.puts += 1


async def test_the_key_gets_a_name_for_each_alias_and_is_published_once(alice: Person) -> None:
    directory = Directory()
    alice.keys.publishing._directory = directory
    syncs = []

    async def synced() -> None:
        syncs.append(1)

    care = KeyCare(alice.keys, lambda: True, synced)
    assert await care.care()
    directory.aliases = alice.keys.publishing.aliases = (SALES,)
    alice.clock.time += 10
    assert await care.care()
    assert care.problem == ""
    assert syncs, "what is made is on the provider before it is published"
    for address in (ALICE, SALES):
        found = await directory.find_certificate(address)
        assert found is not None
        certificate = Certificate.from_bytes(found)
        assert certificate.addresses == (address,)
        assert certificate.fingerprint == own_key("alice").fingerprint
        assert certificate.can_encrypt(NOW + 100)
    puts = directory.puts
    again = KeyCare(alice.keys, lambda: True, synced)  # which looks what the directory has
    assert await again.care()
    assert directory.puts == puts


async def test_an_alias_that_is_gone_is_published_no_more(alice: Person) -> None:
    directory = Directory()
    alice.keys.publishing._directory = directory

    async def synced() -> None:
        pass

    care = KeyCare(alice.keys, lambda: True, synced)
    directory.aliases = alice.keys.publishing.aliases = (SALES,)
    alice.clock.time += 10
    assert await care.care()
    directory.aliases = alice.keys.publishing.aliases = ()
    assert await care.care()
    form = await alice.keys.publishing._certificate()
    assert Certificate.from_bytes(form).addresses == (ALICE,)
    assert await directory.find_certificate(SALES) is None
