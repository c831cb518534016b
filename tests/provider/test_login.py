"""Log-in, tokens and their limits, with the client's own SRP."""

from __future__ import annotations

import asyncio
import hashlib
import os

import pytest

from leap.mail.smtp.scram import make_verifier
from leap.provider import login as login_module
from leap.provider import throttle as throttle_module
from leap.provider.errors import BadLogin, BadRequest, SlowDown
from leap.provider.login import LoginDesk
from leap.provider.provider import Provider
from leap.provider.throttle import LoginThrottle
from leap.soledad.login import SrpClient, identity_of
from leap.soledad.secrets import derive_passphrase, derive_recovery, new_kdf_params
from leap.soledad.wire import LoginChallenge, LoginProof, LoginStart
from tests.provider.world import DOMAIN, PASSPHRASE, Clock, prepared

ALICE = f"alice@{DOMAIN}"
PEER = "192.0.2.1"


async def try_login(
    desk: LoginDesk | Provider,
    address: str,
    auth_key: bytes,
    *,
    device: str = "laptop",
    with_recovery: bool = False,
    peer: str = PEER,
) -> str:
    """The token, after the provider has proved itself too."""
    if isinstance(desk, Provider):
        desk = desk.login
    client = SrpClient(identity_of(address, with_recovery=with_recovery), auth_key)
    start = LoginStart(identity=address, srp_a=client.start(), with_recovery=with_recovery)
    challenge = await desk.start(start, peer)
    proof = LoginProof(
        session=challenge.session,
        srp_m1=client.respond(challenge.srp_salt, challenge.srp_b),
        device_id=device,
        device_name="a device",
    )
    reply, _ = await desk.finish(proof, peer)
    client.check(reply.srp_m2)
    return reply.token


def auth_key() -> bytes:
    key: bytes = prepared(ALICE).keys.auth_key
    return key


async def test_the_right_passphrase_gives_a_token(provider: Provider, alice: int) -> None:
    token = await try_login(provider, ALICE, auth_key())
    assert await provider.check_token(ALICE, token)
    assert await provider.check_token("ALICE@example.test", token)
    assert not await provider.check_token(f"bob@{DOMAIN}", token)
    assert not await provider.check_token(ALICE, token + "x")
    assert not await provider.check_token(ALICE, "")
    assert not await provider.check_token(ALICE, "\udc80")


async def test_the_key_is_derived_as_the_provider_says(provider: Provider, alice: int) -> None:
    stored = await provider.accounts.find_verifier(ALICE, with_recovery=False)
    assert stored is not None
    keys = await asyncio.to_thread(derive_passphrase, PASSPHRASE, stored.verifier.kdf)
    assert keys.auth_key == auth_key()


async def test_the_recovery_code_has_its_own_log_in(provider: Provider, alice: int) -> None:
    keys = derive_recovery(prepared(ALICE).recovery_code)
    token = await try_login(provider, ALICE, keys.auth_key, with_recovery=True)
    assert await provider.check_token(ALICE, token)
    with pytest.raises(BadLogin):
        await try_login(provider, ALICE, keys.auth_key)


async def test_a_wrong_passphrase_and_an_unknown_address_get_one_answer(
    provider: Provider, alice: int
) -> None:
    with pytest.raises(BadLogin) as wrong:
        await try_login(provider, ALICE, os.urandom(32))
    with pytest.raises(BadLogin) as unknown:
        await try_login(provider, f"nobody@{DOMAIN}", os.urandom(32))
    assert str(wrong.value) == str(unknown.value)


async def challenge_of(provider: Provider, address: str, recovery: bool = False) -> LoginChallenge:
    start = LoginStart(identity=address, srp_a=b"\x05" * 512, with_recovery=recovery)
    return await provider.login.start(start, PEER)


async def test_a_challenge_does_not_tell_whether_the_address_exists(
    provider: Provider, alice: int
) -> None:
    unknown = f"nobody@{DOMAIN}"
    first, again = await challenge_of(provider, unknown), await challenge_of(provider, unknown)
    assert first.kdf == again.kdf
    assert first.srp_salt == again.srp_salt
    assert first.srp_b != again.srp_b
    other = await challenge_of(provider, f"noone@{DOMAIN}")
    assert other.srp_salt != first.srp_salt
    assert other.kdf.salt != first.kdf.salt
    usual = new_kdf_params()
    assert (first.kdf.time_cost, first.kdf.memory_kib, first.kdf.lanes, len(first.kdf.salt)) == (
        usual.time_cost,
        usual.memory_kib,
        usual.lanes,
        len(usual.salt),
    )
    known = await challenge_of(provider, ALICE)
    assert abs(len(known.srp_salt) - len(first.srp_salt)) <= 1  # leading zeros are dropped
    assert abs(len(known.srp_b) - len(first.srp_b)) <= 2
    assert len(known.session) == len(first.session)
    assert (await challenge_of(provider, unknown, True)).kdf == (
        await challenge_of(provider, ALICE, True)
    ).kdf


async def test_a_challenge_serves_one_proof(provider: Provider, alice: int) -> None:
    client = SrpClient(ALICE, auth_key())
    challenge = await provider.login.start(LoginStart(identity=ALICE, srp_a=client.start()), PEER)
    right = LoginProof(
        session=challenge.session,
        srp_m1=client.respond(challenge.srp_salt, challenge.srp_b),
        device_id="laptop",
        device_name="laptop",
    )
    wrong = LoginProof(
        session=challenge.session, srp_m1=b"x" * 32, device_id="laptop", device_name="laptop"
    )
    with pytest.raises(BadLogin):
        await provider.login.finish(wrong, PEER)
    with pytest.raises(BadLogin):
        await provider.login.finish(right, PEER)


@pytest.mark.parametrize("srp_a", [b"", b"\0", b"\0" * 512, b"x" * 513])
async def test_an_impossible_a_is_refused(provider: Provider, alice: int, srp_a: bytes) -> None:
    with pytest.raises(BadRequest):
        await provider.login.start(LoginStart(identity=ALICE, srp_a=srp_a), PEER)


async def test_challenges_expire_and_are_bounded(
    provider: Provider, alice: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(0.0)
    desk = LoginDesk(provider.accounts, provider.tokens, b"secret" * 6, now=clock)
    monkeypatch.setattr(login_module, "MAX_SESSIONS", 3)
    start = LoginStart(identity=ALICE, srp_a=b"\x05" * 512)
    challenges = [await desk.start(start, PEER) for _ in range(4)]
    assert len(desk._sessions) == 3
    clock.at += login_module.SESSION_SECONDS + 1
    proof = LoginProof(
        session=challenges[3].session, srp_m1=b"x", device_id="laptop", device_name="laptop"
    )
    with pytest.raises(BadLogin):
        await desk.finish(proof, PEER)
    desk.close()


async def test_guessing_is_slowed_down_for_known_and_unknown_addresses_alike(
    provider: Provider, alice: int
) -> None:
    for address in (ALICE, f"nobody@{DOMAIN}"):
        clock = Clock(0.0)
        desk = LoginDesk(provider.accounts, provider.tokens, b"secret" * 6, now=clock)
        for _ in range(throttle_module.PAIR_FREE):
            with pytest.raises(BadLogin):
                await try_login(desk, address, os.urandom(32))
        with pytest.raises(SlowDown) as slow:
            await try_login(desk, address, os.urandom(32))
        assert slow.value.retry_after == 2
        clock.at += 2
        with pytest.raises(BadLogin):
            await try_login(desk, address, os.urandom(32))
        desk.close()


async def test_many_proofs_at_once_are_not_a_way_around(provider: Provider, alice: int) -> None:
    attempts = [try_login(provider, ALICE, os.urandom(32)) for _ in range(20)]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    assert sum(isinstance(result, BadLogin) for result in results) == throttle_module.PAIR_FREE


async def test_logging_in_again_ends_the_devices_former_token(
    provider: Provider, alice: int
) -> None:
    first = await try_login(provider, ALICE, auth_key())
    phone = await try_login(provider, ALICE, auth_key(), device="phone")
    assert await provider.check_token(ALICE, first)
    second = await try_login(provider, ALICE, auth_key())
    assert [await provider.check_token(ALICE, token) for token in (first, second, phone)] == [
        False,
        True,
        True,
    ]


async def test_logout_ends_the_token_of_this_device_only(provider: Provider, alice: int) -> None:
    laptop, _ = await provider.tokens.issue(alice, "laptop", "laptop")
    phone, _ = await provider.tokens.issue(alice, "phone", "phone")
    principal = await provider.tokens.find(laptop)
    assert principal is not None
    await provider.log_out(principal.token_hash)
    assert await provider.tokens.find(laptop) is None
    assert await provider.tokens.find(phone) is not None


async def test_tokens_are_not_stored(provider: Provider, alice: int) -> None:
    token, _ = await provider.tokens.issue(alice, "laptop", "laptop")
    rows = await provider.db.read(
        lambda connection: connection.execute("SELECT * FROM token").fetchall()
    )
    assert token not in repr(rows)


async def test_an_account_has_a_bounded_number_of_devices(
    provider: Provider, alice: int, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("leap.provider.tokens.MAX_DEVICES", 3)
    tokens = []
    for number in range(5):
        clock.at += 1
        tokens.append((await provider.tokens.issue(alice, f"device {number}", "device"))[0])
    alive = [await provider.tokens.find(token) is not None for token in tokens]
    assert alive == [False, False, True, True, True]


def test_the_owner_is_hardly_kept_out_by_a_guesser_elsewhere() -> None:
    clock = Clock(0.0)
    throttle = LoginThrottle(now=clock)
    for _ in range(throttle_module.PAIR_FREE + 3):
        clock.at += 100
        throttle.attempt(ALICE, "198.51.100.7")
    throttle.attempt(ALICE, PEER)
    throttle.succeeded(ALICE, PEER)


def test_one_household_is_one_peer() -> None:
    throttle = LoginThrottle(now=Clock(0.0))
    for host in range(throttle_module.PAIR_FREE):
        throttle.attempt(ALICE, f"2001:db8::{host}")
    with pytest.raises(SlowDown):
        throttle.attempt(ALICE, "2001:db8::ffff")
    throttle.attempt(ALICE, "2001:db8:1::1")


def test_guessers_of_many_networks_wait_too_but_never_long() -> None:
    clock = Clock(0.0)
    throttle = LoginThrottle(now=clock)
    for host in range(throttle_module.ADDRESS_FREE):
        throttle.attempt(ALICE, f"198.51.100.{host}")
    with pytest.raises(SlowDown):
        throttle.attempt(ALICE, PEER)
    clock.at += throttle_module.ADDRESS_MAX_WAIT
    throttle.attempt(ALICE, PEER)


def test_starts_of_one_peer_are_bounded_and_come_back() -> None:
    clock = Clock(0.0)
    throttle = LoginThrottle(now=clock)
    for _ in range(int(throttle_module.START_BURST)):
        throttle.start(PEER)
    with pytest.raises(SlowDown):
        throttle.start(PEER)
    throttle.start("192.0.2.2")
    for _ in range(1000):
        throttle.start("127.0.0.1")
    clock.at += 1
    throttle.start(PEER)


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle_module, "MAX_ENTRIES", 10)
    throttle = LoginThrottle(now=Clock(0.0))
    for number in range(100):
        throttle.attempt(f"{number}", PEER)
        throttle.start(f"192.0.2.{number}")
    assert len(throttle._failures) <= 10
    assert len(throttle._starts._left) <= 10


async def test_scram_knows_the_tokens_of_all_devices_and_of_no_other(
    provider: Provider, alice: int
) -> None:
    token, _ = await provider.tokens.issue(alice, "laptop", "laptop")
    other, _ = await provider.tokens.issue(alice, "phone", "phone")
    found = await provider.find_verifiers("ALICE@example.test")
    assert (found.principal, len(found.verifiers)) == (ALICE, 2)
    for one in (token, other):
        assert make_verifier(one, found.salt) in found.verifiers
    await provider.log_out(hashlib.sha256(token.encode()).digest())
    left = await provider.find_verifiers(ALICE)
    assert left.verifiers == (make_verifier(other, found.salt),)


async def test_scram_asks_one_who_does_not_exist_the_same(provider: Provider, alice: int) -> None:
    nobody = await provider.find_verifiers("nobody@example.test")
    again = await provider.find_verifiers("Nobody@example.test")
    known = await provider.find_verifiers(ALICE)
    assert (nobody.salt, nobody.verifiers) == (again.salt, ())
    assert nobody.salt != known.salt
    assert (len(nobody.salt), nobody.iterations) == (len(known.salt), known.iterations)


async def test_a_token_of_before_has_a_verifier_once_it_was_shown(
    provider: Provider, alice: int
) -> None:
    token, _ = await provider.tokens.issue(alice, "laptop", "laptop")
    await provider.db.write(
        lambda connection: connection.execute(
            "UPDATE token SET scram_stored = NULL, scram_server = NULL"
        )
    )
    assert (await provider.find_verifiers(ALICE)).verifiers == ()
    assert not await provider.check_token(ALICE, token + "x")
    assert (await provider.find_verifiers(ALICE)).verifiers == ()
    assert await provider.check_token(ALICE, token)
    found = await provider.find_verifiers(ALICE)
    assert found.verifiers == (make_verifier(token, found.salt),)
