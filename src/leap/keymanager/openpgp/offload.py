"""The engine for programs with an event loop: short work in a thread, long work in another process.

Everything here takes and gives the same values as the functions of the same names, and raises the same errors.
What is under `INLINE` octets takes less than 5 ms and is done in place; up to `THREAD` in a thread, where the
hash and cipher calls let the loop run; above in a process of its own, so that nothing stalls the loop at all.
Keys travel to the workers through a pipe between processes of one user, never over disk.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import ParamSpec, TypeVar

from leap.keymanager.openpgp import certificate, generation, message, symmetric, verdict
from leap.keymanager.openpgp.certificate import Certificate
from leap.keymanager.openpgp.keyring_form import armored_secret_keys
from leap.keymanager.openpgp.message import MAX_SIZE, Decrypted, SigningHash
from leap.keymanager.openpgp.secret_key import SecretKey, read_secret_keys
from leap.keymanager.openpgp.verdict import Owners, RawSignature, Verdict
from leap.keymanager.openpgp.worker_process import WorkerContext, end_with_the_parent

INLINE = 64 * 1024
THREAD = 256 * 1024
IDLE_SECONDS = 120.0  # a process takes 40 MB, and a quarter of a second to start
LARGE_CERTIFICATE = (
    4 * 1024
)  # an ordinary one has under 1 kB; 4 kB hold 24 signatures of the slowest kind
RECIPIENT = (
    8 * 1024
)  # octets whose encryption takes about as long as wrapping the key for one recipient

P = ParamSpec("P")
T = TypeVar("T")


class Workers:
    """Where the work is done. One for a whole program: it keeps nothing of what passes through."""

    def __init__(self, *, processes: int | None = None) -> None:
        """`processes`: at most so many for long work; 0 means threads for everything."""
        self._processes = (
            max(1, min(2, (os.cpu_count() or 1) - 1)) if processes is None else processes
        )
        self._pool: ProcessPoolExecutor | None = None
        self._warming: Future[None] | None = None
        self._busy = 0
        self._works = False  # whether a process ever did anything
        self._idle: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Workers:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the processes; new work starts new ones."""
        pool, self._pool, self._warming = self._pool, None, None
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if pool is not None:
            await asyncio.to_thread(pool.shutdown, cancel_futures=True)

    async def run(self, size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`work(...)` on about `size` octets, wherever it disturbs least."""
        if size < INLINE:
            return work(*args, **kwargs)
        if size >= THREAD and self._processes:
            return await self._run_in_process(partial(work, *args, **kwargs))
        return await asyncio.to_thread(work, *args, **kwargs)

    async def run_batch(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Much short work at once: in a process of its own, or in a thread while that one is still starting."""
        if self._processes and self._is_warm(work.__module__):
            return await self._run_in_process(partial(work, *args, **kwargs))
        return await asyncio.to_thread(work, *args, **kwargs)

    def _is_warm(self, module: str) -> bool:
        """Whether the processes are up and have loaded `module`; starts them if they were not started.

        They end when they had nothing to do for `IDLE_SECONDS`.
        """
        if self._warming is None:
            pool = self._started_pool()
            loaded = [pool.submit(_load, module) for _ in range(self._processes)]
            self._warming = loaded[-1]
            self._end_when_idle()
        return self._warming.done()

    def _end_when_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(IDLE_SECONDS, self._end_idle)

    def _end_idle(self) -> None:
        self._idle = None
        if self._busy:
            self._end_when_idle()
        elif self._pool is not None:
            pool, self._pool, self._warming = self._pool, None, None
            pool.shutdown(wait=False)

    def _started_pool(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._processes, mp_context=WorkerContext(), initializer=end_with_the_parent
            )
        return self._pool

    async def _run_in_process(self, work: Callable[[], T]) -> T:
        self._busy += 1
        pool = self._started_pool()
        try:
            done = await asyncio.get_running_loop().run_in_executor(pool, work)
            self._works = True
            return done
        except BrokenProcessPool:
            # The system may end a process when memory is short: the work itself is still to be done, and the next
            # gets a new one. Where no process can be had at all, threads do.
            if self._pool is pool:
                self._pool, self._warming = None, None
            if not self._works:
                self._processes = 0
        finally:
            self._busy -= 1
            self._end_when_idle()
        return await asyncio.to_thread(work)

    async def encrypt(
        self,
        data: bytes,
        recipients: Sequence[Certificate],
        signer: SecretKey | None = None,
        *,
        armor: bool = True,
        hidden: Sequence[Certificate] = (),
        now: float | None = None,
    ) -> bytes:
        """See `message.encrypt`; `now` is a time, since clocks do not travel between processes."""
        work = partial(_at, message.encrypt, now)
        size = len(data) + RECIPIENT * (len(recipients) + len(hidden))
        size = max(size, _size_of(*recipients, *hidden), _size_of_signing(signer))
        return await self.run(size, work, data, recipients, signer, armor=armor, hidden=hidden)

    async def encrypt_with_passphrase(
        self,
        data: bytes,
        passphrase: str | bytes,
        *,
        armor: bool = True,
        armor_headers: Mapping[str, str] = MappingProxyType({}),
    ) -> bytes:
        """See `symmetric.encrypt_with_passphrase`; never in place, since stretching the passphrase takes 0.1 s."""
        work = partial(symmetric.encrypt_with_passphrase, armor=armor)
        size = max(len(data), INLINE)
        return await self.run(size, work, data, passphrase, armor_headers=dict(armor_headers))

    async def decrypt_with_passphrase(
        self, data: bytes, passphrase: str | bytes, *, max_size: int = MAX_SIZE
    ) -> Decrypted:
        """See `symmetric.decrypt_with_passphrase`; never in place."""
        work = partial(symmetric.decrypt_with_passphrase, max_size=max_size)
        return await self.run(max(len(data), INLINE), work, data, passphrase)

    async def read_certificates(self, data: bytes) -> list[Certificate]:
        """See `certificate.read_certificates`; their signatures are checked by the way, so that this is done, too."""
        if len(data) <= LARGE_CERTIFICATE:
            return _read_certificates(data)
        return await asyncio.to_thread(_read_certificates, data)

    async def sign_detached(
        self,
        data: bytes,
        signer: SecretKey,
        *,
        hash_name: SigningHash = "sha512",
        text: bool = False,
        now: float | None = None,
    ) -> bytes:
        """See `message.sign_detached`."""
        work = partial(_at, message.sign_detached, now, hash_name=hash_name, text=text)
        return await self.run(max(len(data), _size_of_signing(signer)), work, data, signer)

    async def decrypt(
        self, data: bytes, keys: Sequence[SecretKey], *, max_size: int = MAX_SIZE
    ) -> Decrypted:
        """See `message.decrypt`. Small input can unpack to much, so it never runs in place."""
        return await self.run(
            max(len(data), INLINE), message.decrypt, data, keys, max_size=max_size
        )

    async def verify_signatures(
        self,
        plaintext: bytes,
        signatures: Sequence[RawSignature],
        certificates: Sequence[Certificate],
        *,
        now: float | None = None,
        from_address: str | None = None,
        owners: Owners | None = None,
        intended_for: Sequence[str] = (),
    ) -> tuple[Verdict, ...]:
        """See `verdict.verify_signatures`."""
        if not signatures:
            return ()
        work = partial(
            _at,
            verdict.verify_signatures,
            now,
            from_address=from_address,
            owners=owners or {},
            intended_for=intended_for,
        )
        # many signatures take their time on a small text, too
        many = INLINE if len(signatures) > 4 else 0
        size = max(len(plaintext), many, _size_of(*certificates))
        return await self.run(size, work, plaintext, signatures, certificates)

    async def generate(
        self,
        address: str,
        *,
        name: str = "",
        now: float | None = None,
        version: int = 4,
        post_quantum: bool = False,
    ) -> SecretKey:
        """See `generation.generate`."""
        work = partial(_at, generation.generate, now, version=version, post_quantum=post_quantum)
        return await self.run(0, work, address, name=name)


def _size_of(*certificates: Certificate) -> int:
    """What looking at them counts as: their own signatures are checked when they are looked at for the first time."""
    large = sum(len(one.binary) for one in certificates) > LARGE_CERTIFICATE
    return INLINE if large else 0


def _size_of_signing(signer: SecretKey | None) -> int:
    """What making a signature counts as: RSA takes 5 ms for a key of 4096 bits, and longer for its first one."""
    if signer is None:
        return 0
    slow = any(state.key.bits for state in signer.certificate.keys)
    return max(INLINE if slow else 0, _size_of(signer.certificate))


def _read_certificates(data: bytes) -> list[Certificate]:
    found = certificate.read_certificates(data)
    for one in found:
        one.keys, one.user_ids, one.takes_seipd_v2  # noqa: B018 - what they find is kept
    return found


def _load(module: str) -> None:
    """The first thing a new process does."""
    import_module(module)


def _at(work: Callable[..., T], now: float | None, *args: object, **kwargs: object) -> T:
    """Calls `work` with a clock that stands at `now`."""
    if now is not None:
        kwargs["now"] = partial(float, now)
    return work(*args, **kwargs)


_WORKERS = Workers()
_FOR_BATCHES = Workers(processes=max(1, min(2, os.cpu_count() or 1)))  # they end when they are idle
run_batch = _FOR_BATCHES.run_batch
encrypt = _WORKERS.encrypt
encrypt_with_passphrase = _WORKERS.encrypt_with_passphrase
decrypt_with_passphrase = _WORKERS.decrypt_with_passphrase
read_certificates = _WORKERS.read_certificates
sign_detached = _WORKERS.sign_detached
decrypt = _WORKERS.decrypt
verify_signatures = _WORKERS.verify_signatures
generate = _WORKERS.generate


async def close() -> None:
    """Ends all processes; new work starts new ones."""
    await _WORKERS.close()
    await _FOR_BATCHES.close()


async def lock(
    keys: Sequence[SecretKey], passphrase: str | bytes, *, argon2: bool | None = None
) -> bytes:
    """See `keyring_form.armored_secret_keys`; each part of a key takes a quarter of a second."""
    work = partial(armored_secret_keys, argon2=argon2)
    return await asyncio.to_thread(work, keys, passphrase)


async def unlock(data: bytes, passphrase: str | bytes | None = None) -> list[SecretKey]:
    """See `secret_key.read_secret_keys`; each part of a key takes a quarter of a second, if it is locked."""
    return await asyncio.to_thread(read_secret_keys, data, passphrase)


async def edit(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """A function of `editing` with its arguments: with RSA keys it takes 4 to 15 ms, and 1 ms with others."""
    return await asyncio.to_thread(work, *args, **kwargs)


async def generate_with_revocation(
    address: str,
    *,
    name: str = "",
    now: float | None = None,
    version: int = 4,
    post_quantum: bool = False,
) -> generation.NewKey:
    """See `generation.generate_with_revocation`."""
    work = partial(_at, generation.generate_with_revocation, now)
    return await asyncio.to_thread(
        work, address, name=name, version=version, post_quantum=post_quantum
    )
