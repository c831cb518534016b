"""The engine beside an event loop: same results from thread and process, errors and secrets travel well."""

from __future__ import annotations

import os
import pickle
import threading

import pytest

from leap.keymanager.openpgp import (
    NoSecretKey,
    RawSignature,
    SecretKey,
    decrypt,
    message,
    verdict,
)
from leap.keymanager.openpgp.offload import INLINE, THREAD, Workers

from .conftest import BIRTH
from .making import with_user_id

AT = BIRTH + 10.0


async def test_small_and_large_mail_goes_round(alice: SecretKey, bob: SecretKey) -> None:
    async with Workers(processes=1) as workers:
        for size in (10, INLINE + 1, THREAD + 1):
            data = os.urandom(size)
            message = await workers.encrypt(data, [bob.certificate], alice, now=AT)
            opened = await workers.decrypt(message, [bob])
            assert opened.plaintext == data
            verdicts = await workers.verify_signatures(
                data,
                opened.signatures,
                [alice.certificate],
                now=AT,
                from_address="alice@example.test",
                owners={"alice@example.test": [alice.fingerprint]},
            )
            assert [verdict.state for verdict in verdicts] == ["good"]
        with pytest.raises(NoSecretKey):
            await workers.decrypt(message, [alice])
        assert await workers.run(THREAD, os.getpid) != os.getpid()
        assert await workers.run(0, os.getpid) == os.getpid()


async def test_without_processes_threads_do_it(alice: SecretKey, bob: SecretKey) -> None:
    async with Workers(processes=0) as workers:
        data = bytes(THREAD + 1)
        message = await workers.encrypt(data, [bob.certificate], now=AT)
        assert (await workers.decrypt(message, [bob])).plaintext == data
        assert await workers.run(THREAD, os.getpid) == os.getpid()
        signature = await workers.sign_detached(data, alice, now=AT)
        assert signature.startswith(b"-----BEGIN PGP SIGNATURE-----")


async def test_a_dead_process_does_not_lose_the_work(bob: SecretKey) -> None:
    async with Workers(processes=1) as workers:
        me = os.getpid()
        assert await workers.run(THREAD, _die_unless, me) == me


async def test_many_recipients_or_a_large_certificate_do_not_stop_the_loop(
    alice: SecretKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is computed decides where, not only how long the text is."""
    here = threading.get_ident()
    seen: list[int] = []
    monkeypatch.setattr(message, "encrypt", lambda *a, **k: seen.append(threading.get_ident()))
    monkeypatch.setattr(
        verdict, "verify_signatures", lambda *a, **k: seen.append(threading.get_ident())
    )
    signature = RawSignature(alice.certificate.components[1].signatures[0])
    large = alice
    for number in range(40):
        large = with_user_id(large, f"Alice {number}")
    async with Workers(processes=0) as workers:
        await workers.encrypt(b"x", [alice.certificate], now=AT)
        await workers.verify_signatures(b"x", [signature], [alice.certificate], now=AT)
        assert seen == [here, here]
        await workers.encrypt(b"x", [alice.certificate] * 20, now=AT)
        await workers.encrypt(b"x", [], hidden=[alice.certificate] * 20, now=AT)
        await workers.verify_signatures(b"x", [signature], [large.certificate], now=AT)
        assert len(seen) == 5
        assert here not in seen[2:]


def _die_unless(pid: int) -> int:
    if os.getpid() != pid:
        os._exit(1)
    return pid


async def test_keys_are_made_beside_the_loop() -> None:
    async with Workers() as workers:
        key = await workers.generate("x@example.test", now=AT)
        assert key.certificate.created == int(AT)


def test_values_travel_between_processes(alice: SecretKey, bob: SecretKey) -> None:
    from leap.keymanager.openpgp import encrypt

    message = encrypt(b"x", [bob.certificate], alice, now=lambda: AT)
    opened = decrypt(message, [pickle.loads(pickle.dumps(bob))])
    back = pickle.loads(pickle.dumps(opened))
    assert back.plaintext == b"x"
    assert back.signatures[0].issuer == alice.fingerprint
    assert pickle.loads(pickle.dumps(alice.certificate)) == alice.certificate
