"""Changing keyset, passphrase and recovery code at the provider: one step, and nobody slips in between."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from leap.provider.errors import BadLogin, BadRequest, HeadMoved, KeysetMoved
from leap.provider.provider import Provider
from leap.soledad.login import SrpClient, identity_of
from leap.soledad.secrets import (
    derive_recovery,
    make_recovery_verifier,
    new_device_keys,
    new_recovery_code,
)
from leap.soledad.wire import CommitRequest, KeysetPut, LoginProof, LoginStart, Wraps
from tests.provider.test_accounts import ALICE, first_keyset, signed, with_phone
from tests.provider.test_login import PEER, auth_key, try_login
from tests.provider.world import Served, prepared

NEW = prepared(ALICE, "a new passphrase")
WRAPS = Wraps(passphrase=b"new wrap", recovery=b"new recovery wrap")


def change(**fields: object) -> KeysetPut:
    put = KeysetPut(expected_version=1, keyset=signed(with_phone()), wraps=WRAPS)
    return msgspec.structs.replace(put, **fields)


async def commit(provider: Provider, account: int, head: bytes, parent: bytes = b"") -> bytes:
    request = CommitRequest(parent=parent, head=head, head_seq=0, count=0)
    await provider.log.commit(account, request)
    return hashlib.sha256(head).digest()


async def test_a_change_bound_to_a_head_needs_it_to_be_the_newest(
    provider: Provider, alice: int
) -> None:
    put = change(head=b"")
    with pytest.raises(HeadMoved):
        await provider.accounts.put_keyset(alice, change(head=b"x" * 32))
    first = await commit(provider, alice, b"first head")
    with pytest.raises(HeadMoved):
        await provider.accounts.put_keyset(alice, put)
    second = await commit(provider, alice, b"second head", first)
    with pytest.raises(HeadMoved):
        await provider.accounts.put_keyset(alice, change(head=first))
    reply = await provider.accounts.secrets(alice)
    assert (reply.keyset_version, reply.wraps) == (1, prepared(ALICE).signup.wraps)
    good = change(head=second)
    await provider.accounts.put_keyset(alice, good)
    await commit(provider, alice, b"third head", second)
    await provider.accounts.put_keyset(alice, good)  # as after a lost reply: it was done
    assert (await provider.accounts.secrets(alice)).keyset_version == 2


async def test_a_head_that_moved_is_said_over_https(provider: Provider, https: Served) -> None:
    token = await https.device("alice")
    refused = await https.refused("PUT", "/1/keyset", change(head=b"x" * 32), token=token)
    assert refused[:2] == (409, "head-moved")


async def test_a_new_recovery_code_replaces_the_one_before_in_the_same_step(
    provider: Provider, alice: int
) -> None:
    old = derive_recovery(prepared(ALICE).recovery_code)
    new = derive_recovery(new_recovery_code())
    verifier = make_recovery_verifier(ALICE, new)
    with pytest.raises(KeysetMoved):
        await provider.put_keyset(alice, change(recovery=verifier, expected_version=5))
    assert await try_login(provider, ALICE, old.auth_key, with_recovery=True)
    weak = msgspec.structs.replace(verifier, srp_verifier=b"\x01")
    with pytest.raises(BadRequest):
        await provider.put_keyset(alice, change(recovery=weak))
    await provider.put_keyset(alice, change(recovery=verifier))
    assert await try_login(provider, ALICE, new.auth_key, with_recovery=True)
    assert await try_login(provider, ALICE, auth_key())  # the passphrase stays
    with pytest.raises(BadLogin):
        await try_login(provider, ALICE, old.auth_key, with_recovery=True)


@pytest.mark.parametrize("what", ["passphrase", "recovery"])
async def test_devices_that_are_not_listed_lose_their_log_in_with_the_secret_that_let_them_in(
    provider: Provider, alice: int, what: str
) -> None:
    """Or who knew the old passphrase could log in before the change, under any id, and stay."""
    laptop = first_keyset().devices[0].device_id
    phone = new_device_keys("phone")
    keyset = first_keyset().with_device(phone.public(1_000_001))
    tokens = {
        name: (await provider.tokens.issue(alice, name, "a device"))[0]
        for name in (laptop, phone.device_id, "stranger")
    }
    verifiers = {
        "passphrase": {"passphrase": NEW.signup.passphrase},
        "recovery": {"recovery": NEW.signup.recovery},
    }
    plain = KeysetPut(expected_version=1, keyset=signed(keyset))
    await provider.put_keyset(alice, plain)
    assert all([await provider.check_token(ALICE, token) for token in tokens.values()])
    after = msgspec.structs.replace(
        plain, expected_version=2, keyset=signed(keyset.successor()), **verifiers[what]
    )
    await provider.put_keyset(alice, after)
    alive = {name: await provider.check_token(ALICE, token) for name, token in tokens.items()}
    assert alive == {laptop: True, phone.device_id: True, "stranger": False}


async def test_a_log_in_begun_before_the_passphrase_changed_does_not_end_well(
    provider: Provider, alice: int
) -> None:
    client = SrpClient(identity_of(ALICE), auth_key())
    challenge = await provider.login.start(LoginStart(identity=ALICE, srp_a=client.start()), PEER)
    await provider.put_keyset(alice, change(passphrase=NEW.signup.passphrase))
    proof = LoginProof(
        session=challenge.session,
        srp_m1=client.respond(challenge.srp_salt, challenge.srp_b),
        device_id="eve",
        device_name="eve",
    )
    with pytest.raises(BadLogin):
        await provider.login.finish(proof, PEER)
    assert await try_login(provider, ALICE, NEW.keys.auth_key)
    with pytest.raises(BadLogin):
        await try_login(provider, ALICE, auth_key())
