"""The engine beside an event loop: same results from thread and process, errors and secrets travel well."""

from __future__ import annotations

import asyncio
import os
import pickle
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from leap.keymanager.openpgp import (
    Certificate,
    NoSecretKey,
    RawSignature,
    SecretKey,
    certificate,
    decrypt,
    encrypt,
    generate,
    message,
    read_certificates,
    read_signatures,
    s2k,
    verdict,
    verify_detached,
)
from leap.keymanager.openpgp.offload import INLINE, THREAD, Workers
from leap.keymanager.openpgp.signature import SignatureType

from .conftest import BIRTH
from .making import with_user_id
from .mutation_subjects import classic_key

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
        other = await workers.run(THREAD, os.getpid)
        assert await workers.run(THREAD, _die_unless, me) == me
        assert await workers.run(THREAD, os.getpid) not in (me, other)


async def test_where_no_process_lives_threads_do_it() -> None:
    async with Workers(processes=1) as workers:
        me = os.getpid()
        assert await workers.run(THREAD, _die_unless, me) == me
        assert await workers.run(THREAD, os.getpid) == me


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


async def test_passphrases_are_stretched_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    here = threading.get_ident()
    seen: list[int] = []

    def derive(*_: object, **__: object) -> bytes:
        seen.append(threading.get_ident())
        return bytes(16)

    monkeypatch.setattr(s2k, "derive", derive)
    async with Workers(processes=0) as workers:
        message = await workers.encrypt_with_passphrase(b"x", "y", armor_headers={"A": "b"})
        assert message.startswith(b"-----BEGIN PGP MESSAGE-----\nA: b\n\n")
        assert (await workers.decrypt_with_passphrase(message, "y")).plaintext == b"x"
    assert len(seen) == 2
    assert here not in seen


async def test_signing_by_rsa_does_not_stop_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """5 ms for each signature with 4096 bits, and 50 ms for the first."""
    here = threading.get_ident()
    seen: list[int] = []
    for name in ("encrypt", "sign_detached"):
        monkeypatch.setattr(message, name, lambda *a, **k: seen.append(threading.get_ident()))
    old = classic_key()
    async with Workers(processes=0) as workers:
        await workers.encrypt(b"x", [old.certificate], now=AT)
        assert seen.pop() == here
        await workers.encrypt(b"x", [old.certificate], old, now=AT)
        await workers.sign_detached(b"x", old, now=AT)
    assert len(seen) == 2
    assert here not in seen


async def test_large_certificates_are_read_and_checked_beside_the_loop(
    alice: SecretKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = alice
    for number in range(40):
        large = with_user_id(large, f"Alice {number}")
    here = threading.get_ident()
    seen: list[int] = []

    def read(data: bytes) -> list[Certificate]:
        seen.append(threading.get_ident())
        return read_certificates(data)

    monkeypatch.setattr(certificate, "read_certificates", read)
    async with Workers(processes=0) as workers:
        [small] = await workers.read_certificates(alice.certificate.binary)
        [found] = await workers.read_certificates(large.certificate.binary)
    assert (small, found) == (alice.certificate, large.certificate)
    assert seen[0] == here
    assert seen[1] != here
    assert len(found.user_ids) == 41


async def test_the_loop_goes_on_while_large_mail_is_worked_on(
    alice: SecretKey, bob: SecretKey
) -> None:
    """Beside the whole of it the loop is never late for as long as the work itself takes."""
    data = os.urandom(4_000_000).hex().encode()
    started = time.perf_counter()
    message = encrypt(data, [bob.certificate], alice, now=lambda: AT)
    decrypt(message, [bob])
    alone = time.perf_counter() - started
    async with Workers(processes=1) as workers:
        await workers.run(THREAD, os.getpid)  # is started
        for _ in range(3):  # something else on this machine may take its time
            lateness = asyncio.create_task(_lateness())
            message = await workers.encrypt(data, [bob.certificate], alice, now=AT)
            opened = await workers.decrypt(message, [bob])
            await workers.verify_signatures(data, opened.signatures, [alice.certificate], now=AT)
            lateness.cancel()
            late = await lateness
            assert opened.plaintext == data
            if len(late) > 20 and max(late) < alone / 2:
                return
    pytest.fail(f"{len(late)} turns, late by up to {max(late):.3f} s; the work takes {alone:.3f} s")


async def _lateness() -> list[float]:
    """How late each turn of the loop was, in seconds, until it is cancelled."""
    late = []
    try:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.001)
            late.append(time.perf_counter() - before - 0.001)
    except asyncio.CancelledError:
        return late


@pytest.mark.parametrize("size", [10, INLINE + 2, THREAD + 2])
async def test_what_is_signed_and_made_beside_the_loop_is_as_was_asked(
    alice: SecretKey, size: int
) -> None:
    text = b"a\n" * (size // 2)
    async with Workers(processes=1) as workers:
        armored = await workers.sign_detached(text, alice, hash_name="sha256", text=True, now=AT)
        modern = await workers.generate("y@example.test", version=6, post_quantum=True, now=AT)
    [raw] = read_signatures(armored)
    assert raw.parsed is not None
    assert (raw.parsed.hash_number, raw.parsed.kind) == (8, SignatureType.TEXT)
    crlf = text.replace(b"\n", b"\r\n")
    [verdict] = verify_detached(crlf, armored, [alice.certificate], now=lambda: AT)
    assert verdict.state == "good"
    assert [(s.key.version, s.key.algorithm) for s in modern.certificate.keys] == [
        (6, 27),
        (6, 35),
        (6, 25),
    ]


def test_values_travel_between_processes(alice: SecretKey, bob: SecretKey) -> None:
    message = encrypt(b"x", [bob.certificate], alice, now=lambda: AT)
    opened = decrypt(message, [pickle.loads(pickle.dumps(bob))])
    back = pickle.loads(pickle.dumps(opened))
    assert back.plaintext == b"x"
    assert back.signatures[0].issuer == alice.fingerprint
    assert pickle.loads(pickle.dumps(alice.certificate)) == alice.certificate


def test_keys_in_use_travel_and_say_nothing(alice: SecretKey) -> None:
    """What the primitives library made of a key stays with it, and is in no copy and no text."""
    for key in (alice, generate("y@example.test", version=6, post_quantum=True)):
        decrypt(encrypt(b"x", [key.certificate], key), [key])
        for secret in (key.primary_secret(), *key.decryption_keys()):
            back = pickle.loads(pickle.dumps(secret))
            assert (back.raw, back.public) == (secret.raw, secret.public)
            assert repr(back) == f"<SecretMaterial of {secret.public.fingerprint.hex().upper()}>"
            public = pickle.loads(pickle.dumps(secret.public))
            assert public.hashed == secret.public.hashed


PROGRAM = """
import asyncio, os, sys, time
from leap.keymanager.openpgp.offload import Workers

async def main():
    workers = Workers(processes=1)
    print(await workers.run(1 << 20, os.getpid), flush=True)
    await asyncio.sleep(60)

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_the_processes_end_when_their_program_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        worker = int(running.stdout.readline())
        running.kill()
        # the worker holds the other end of this pipe, too: it closes when the worker has ended
        ended = select.select([running.stdout], [], [], 20)[0]
        if not ended:
            os.kill(worker, signal.SIGKILL)
    assert ended
