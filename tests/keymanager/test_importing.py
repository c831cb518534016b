"""Keys of others out of a file: what is taken, what is refused and why, and what gpg writes."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leap.keymanager.errors import KeyRefused
from leap.keymanager.importing import holds_secret_keys
from leap.keymanager.keys import KeyManager
from leap.keymanager.openpgp import Certificate, SecretKey, generate
from leap.keymanager.trust import Level

from .conftest import ALICE, BIRTH, BOB, Gpg
from .making import with_user_id

EVE = "eve@evil.test"


async def test_each_key_of_a_file_is_taken_for_each_of_its_addresses(
    keys: KeyManager, bob: SecretKey, eve: SecretKey
) -> None:
    two_names = with_user_id(bob, "Bob at work <bob@work.test>")
    file = two_names.certificate.armored() + b"\n" + eve.certificate.armored()
    found = await keys.import_certificates(file, origin="friends.asc")
    assert [(one.address, one.taken, one.reason) for one in found] == [
        (BOB, True, "there was no key for this address"),
        ("bob@work.test", True, "there was no key for this address"),
        (EVE, True, "there was no key for this address"),
    ]
    [info] = await keys.show(EVE)
    assert info.level == "weak-chain"
    assert [(e.source, e.detail) for e in info.evidence] == [
        ("import", "imported by you from friends.asc")
    ]


async def test_a_file_replaces_no_better_key_unless_its_fingerprint_was_compared(
    keys: KeyManager, bob: SecretKey
) -> None:
    await keys.keyring.learn(bob.certificate, BOB, Level.PROVIDER_TRUST, source="directory")
    other = generate(BOB, now=lambda: BIRTH + 1)
    file = other.certificate.binary
    [one] = await keys.import_certificates(file, origin="x")
    assert (one.taken, one.reason) == (
        False,
        "the new key is not believed more than the old one",
    )
    with pytest.raises(KeyRefused, match="nothing of it was taken"):
        await keys.import_certificates(file, origin="x", verified=[bob.fingerprint])
    [one] = await keys.import_certificates(file, origin="x", verified=[other.fingerprint.lower()])
    assert one.taken
    [info] = await keys.show(BOB)
    assert (info.fingerprint, info.level) == (other.fingerprint, "fingerprint")
    await keys.verifying.take_back(BOB)
    [info] = await keys.show(BOB)
    assert info.level == "weak-chain"


async def test_secret_keys_rubbish_and_ones_own_address_are_refused(
    keys: KeyManager, alice: SecretKey, bob: SecretKey
) -> None:
    for file, why in (
        (bob.armored() + alice.certificate.armored(), "secret key"),
        (b"rubbish", "no OpenPGP keys that can be read"),
    ):
        with pytest.raises(KeyRefused, match=why):
            await keys.import_certificates(file, origin="x")
    assert holds_secret_keys(bob.armored())
    assert not holds_secret_keys(bob.certificate.armored())
    [one] = await keys.import_certificates(alice.certificate.armored(), origin="x")
    assert (one.address, one.taken) == (ALICE, False)
    assert "your own address" in one.reason
    assert await keys.list_keys() == []


async def test_a_key_without_an_address_and_a_blocked_one_say_so(
    keys: KeyManager, bob: SecretKey
) -> None:
    nameless = bob.certificate.without_user_ids(lambda body: True)
    [one] = await keys.import_certificates(nameless.binary, origin="x")
    assert (one.address, one.taken, one.reason) == ("", False, "it carries no mail address")
    await keys.verifying.block(BOB, bob.fingerprint)
    for verified in ([], [bob.fingerprint]):
        [one] = await keys.import_certificates(
            bob.certificate.binary, origin="x", verified=verified
        )
        assert not one.taken
        assert "you blocked the" in one.reason


async def test_the_same_key_twice_in_a_file_is_one(keys: KeyManager, bob: SecretKey) -> None:
    minimal = Certificate(bob.certificate.components[:2])
    [one] = await keys.import_certificates(minimal.binary + bob.certificate.binary, origin="x")
    assert one.taken
    [info] = await keys.show(BOB)
    assert len(info.parts) == 2


async def test_all_keys_are_exported_as_gpg_reads_them_and_imported_as_gpg_writes_them(
    keys: KeyManager, gpg: Gpg, bob: SecretKey, eve: SecretKey
) -> None:
    own = await keys.own.ensure()
    for key, address in ((bob, BOB), (eve, EVE)):
        await keys.learn(key.certificate, address, "attached to a mail")
    gpg("--import", data=await keys.export_all())
    listed = gpg("--with-colons", "--list-keys").decode()
    wanted = {own.fingerprint, bob.fingerprint, eve.fingerprint}
    assert all(fingerprint in listed for fingerprint in wanted)
    await keys.verifying.delete(BOB)
    await keys.verifying.delete(EVE)
    found = await keys.import_certificates(gpg("--export"), origin="gpg")
    assert {one.address: one.taken for one in found} == {ALICE: False, BOB: True, EVE: True}


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.integers(0, 400), st.binary(max_size=4))
async def test_damaged_files_raise_only_the_managers_own_error(
    keys: KeyManager, bob: SecretKey, at: int, noise: bytes
) -> None:
    data = bob.certificate.binary
    damaged = data[:at] + noise + data[at + len(noise) :]
    with contextlib.suppress(KeyRefused):
        await keys.import_certificates(damaged, origin="x")
