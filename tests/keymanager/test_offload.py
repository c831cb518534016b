"""The engine beside an event loop: same results from thread and process, errors and secrets travel well."""

from __future__ import annotations

import os
import pickle

import pytest

from leap.keymanager.openpgp import NoSecretKey, SecretKey, decrypt
from leap.keymanager.openpgp.offload import INLINE, THREAD, Workers

from .conftest import BIRTH

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
