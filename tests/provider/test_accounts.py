"""Accounts: who may sign up, what a keyset change needs, and that it happens as a whole."""

from __future__ import annotations

import msgspec
import pytest

from leap.provider.accounts import _LOCAL_PART
from leap.provider.errors import (
    AddressTaken,
    BadRequest,
    DeviceRevoked,
    KeysetMoved,
    SignupClosed,
    TooLarge,
)
from leap.provider.provider import Provider
from leap.soledad.keyset import Keyset, open_keyset, sign_keyset
from leap.soledad.secrets import new_device_keys
from leap.soledad.wire import KeysetPut, Signup, Verifier, Wraps
from tests.provider.world import DOMAIN, prepared

ALICE = f"alice@{DOMAIN}"


def changed(signup: Signup, **fields: object) -> Signup:
    return msgspec.structs.replace(signup, **fields)


def first_keyset() -> Keyset:
    return open_keyset(prepared(ALICE).signup.keyset, root_public=None)


def signed(keyset: Keyset, address: str = ALICE) -> bytes:
    return sign_keyset(keyset, prepared(address).secrets.root_key)


def with_phone() -> Keyset:
    return first_keyset().with_device(new_device_keys("phone").public(1_000_001))


async def test_mail_for_an_account_is_sealed_to_its_inbox_key(
    provider: Provider, alice: int
) -> None:
    for address in (ALICE, "Alice@Example.TEST"):
        found = await provider.find_account(address)
        assert found is not None
        assert found.address == ALICE
        assert found.account_id == prepared(ALICE).secrets.account_id
        assert found.inbox_key == prepared(ALICE).secrets.inbox_keys[0].public
    assert await provider.find_account(f"bob@{DOMAIN}") is None
    assert await provider.find_account("alice@other.test") is None
    assert await provider.find_account("") is None


async def test_an_address_is_given_once(provider: Provider, alice: int) -> None:
    other = prepared(ALICE, "another passphrase").signup
    with pytest.raises(AddressTaken):
        await provider.accounts.sign_up(other)


async def test_a_sign_up_whose_reply_was_lost_succeeds_again(
    provider: Provider, alice: int
) -> None:
    assert await provider.accounts.sign_up(prepared(ALICE).signup) == alice


async def test_one_root_key_has_one_account(provider: Provider, alice: int) -> None:
    keyset = msgspec.structs.replace(first_keyset(), address=f"eve@{DOMAIN}")
    with pytest.raises(AddressTaken):
        await provider.accounts.sign_up(
            changed(prepared(ALICE).signup, address=f"eve@{DOMAIN}", keyset=signed(keyset))
        )


@pytest.mark.parametrize(
    "address",
    [
        "alice@other.test",
        "alice",
        "",
        "@example.test",
        "Alice@example.test",
        ".alice@example.test",
        "alice.@example.test",
        "al..ice@example.test",
        "al ice@example.test",
        "al/../ice@example.test",
        "älice@example.test",
        "a" * 65 + "@example.test",
        "a\n@example.test",
    ],
)
async def test_impossible_addresses_are_refused(provider: Provider, address: str) -> None:
    with pytest.raises(BadRequest):
        await provider.accounts.sign_up(changed(prepared(ALICE).signup, address=address))


@pytest.mark.parametrize("name", ["a", "a1", "al.ice", "al-ice_1", "7", "a" * 64])
def test_usual_names_are_possible(name: str) -> None:
    assert _LOCAL_PART.match(name)


async def test_the_operators_addresses_are_kept(provider: Provider) -> None:
    for name in ("postmaster", "abuse"):
        with pytest.raises(AddressTaken):
            await provider.accounts.sign_up(
                changed(prepared(ALICE).signup, address=f"{name}@{DOMAIN}")
            )


async def test_a_sign_up_that_contradicts_itself_is_refused(provider: Provider) -> None:
    good = prepared(ALICE).signup
    of_bob = prepared(f"bob@{DOMAIN}").signup.keyset
    flipped = good.keyset[:-1] + bytes([good.keyset[-1] ^ 1])
    retired = msgspec.structs.replace(first_keyset().inbox_keys[0], retired=5)
    weak = Verifier(kdf=good.passphrase.kdf, srp_salt=b"s" * 16, srp_verifier=b"\0" * 512)
    for signup in (
        changed(good, keyset=of_bob),
        changed(good, keyset=flipped),
        changed(good, keyset=b""),
        changed(good, keyset=signed(with_phone())),
        changed(good, keyset=signed(msgspec.structs.replace(first_keyset(), inbox_keys=[retired]))),
        changed(good, wraps=Wraps(passphrase=b"", recovery=b"")),
        changed(good, passphrase=weak),
        changed(good, recovery=msgspec.structs.replace(weak, srp_verifier=b"x" * 513)),
        changed(good, recovery=msgspec.structs.replace(weak, srp_salt=b"x")),
    ):
        with pytest.raises(BadRequest):
            await provider.accounts.sign_up(signup)
    huge = Wraps(passphrase=b"x" * (1 << 21), recovery=b"x")
    with pytest.raises(TooLarge):
        await provider.accounts.sign_up(changed(good, wraps=huge))
    assert await provider.find_account(ALICE) is None


async def test_a_provider_may_be_closed(provider: Provider) -> None:
    provider.accounts.signup_open = False
    with pytest.raises(SignupClosed):
        await provider.accounts.sign_up(prepared(ALICE).signup)


async def test_the_next_keyset_replaces_this_one(provider: Provider, alice: int) -> None:
    change = KeysetPut(expected_version=1, keyset=signed(with_phone()))
    for _ in range(2):  # the second as after a lost reply
        assert await provider.accounts.put_keyset(alice, change) == []
    reply = await provider.accounts.secrets(alice)
    assert (reply.keyset, reply.keyset_version) == (change.keyset, 2)
    assert reply.wraps == prepared(ALICE).signup.wraps


async def test_a_keyset_that_came_second_is_refused(provider: Provider, alice: int) -> None:
    await provider.accounts.put_keyset(
        alice, KeysetPut(expected_version=1, keyset=signed(with_phone()))
    )
    other = KeysetPut(expected_version=1, keyset=signed(with_phone()))
    with pytest.raises(KeysetMoved):
        await provider.accounts.put_keyset(alice, other)


async def test_a_keyset_not_of_the_pinned_root_key_is_refused(
    provider: Provider, alice: int
) -> None:
    eve = prepared(f"eve@{DOMAIN}")
    theirs = open_keyset(eve.signup.keyset, root_public=None)
    forged = msgspec.structs.replace(theirs, address=ALICE, version=2, previous=first_keyset().hash)
    skipping = msgspec.structs.replace(with_phone(), version=3)
    unrelated = msgspec.structs.replace(with_phone(), previous=b"x" * 32)
    without = msgspec.structs.replace(
        with_phone(), devices=[new_device_keys("eve's").public(1_000_001)]
    )
    keyset = signed(with_phone())
    for data in (
        sign_keyset(forged, eve.secrets.root_key),
        signed(skipping),
        signed(unrelated),
        signed(without),
        keyset[:-1],
        keyset[:20] + b"\0" + keyset[21:],
        b"",
    ):
        with pytest.raises(BadRequest):
            await provider.accounts.put_keyset(alice, KeysetPut(expected_version=1, keyset=data))
    assert (await provider.accounts.secrets(alice)).keyset == prepared(ALICE).signup.keyset


async def test_a_passphrase_changes_with_its_keyset_or_not_at_all(
    provider: Provider, alice: int
) -> None:
    other = prepared(ALICE, "a new passphrase").signup
    wraps = Wraps(passphrase=b"new wrap", recovery=b"new recovery wrap")
    stale = KeysetPut(
        expected_version=2, keyset=signed(with_phone()), wraps=wraps, passphrase=other.passphrase
    )
    with pytest.raises(KeysetMoved):
        await provider.accounts.put_keyset(alice, stale)
    assert (await provider.accounts.secrets(alice)).wraps == prepared(ALICE).signup.wraps
    await provider.accounts.put_keyset(alice, msgspec.structs.replace(stale, expected_version=1))
    assert (await provider.accounts.secrets(alice)).wraps == wraps
    stored = await provider.accounts.find_verifier(ALICE, with_recovery=False)
    recovery = await provider.accounts.find_verifier(ALICE, with_recovery=True)
    assert stored is not None
    assert recovery is not None
    assert stored.verifier == other.passphrase
    assert recovery.verifier == prepared(ALICE).signup.recovery


async def test_a_revoked_device_loses_its_token_at_once(provider: Provider, alice: int) -> None:
    laptop = first_keyset().devices[0]
    token, _ = await provider.tokens.issue(alice, laptop.device_id, "laptop")
    other, _ = await provider.tokens.issue(alice, "phone", "phone")
    assert await provider.check_token(ALICE, token)
    revoked = first_keyset().successor(
        devices=[
            msgspec.structs.replace(laptop, revoked_at=1_000_002),
            new_device_keys("phone").public(1_000_001),
        ]
    )
    await provider.put_keyset(alice, KeysetPut(expected_version=1, keyset=signed(revoked)))
    assert not await provider.check_token(ALICE, token)
    assert await provider.check_token(ALICE, other)
    with pytest.raises(DeviceRevoked):
        await provider.tokens.issue(alice, laptop.device_id, "laptop")
    await provider.tokens.issue(alice, "tablet", "a device that is not in the keyset yet")


async def test_a_new_inbox_key_is_used_for_the_next_mail(provider: Provider, alice: int) -> None:
    from leap.soledad.inbox_seal import generate_inbox_key

    await provider.find_account(ALICE)
    newer = generate_inbox_key(2_000_000).public
    keyset = first_keyset().successor(inbox_keys=[*first_keyset().inbox_keys, newer])
    await provider.put_keyset(alice, KeysetPut(expected_version=1, keyset=signed(keyset)))
    found = await provider.find_account(ALICE)
    assert found is not None
    assert found.inbox_key == newer
