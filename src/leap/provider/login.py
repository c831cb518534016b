"""Log-in by SRP-6a, provider side: a challenge, a proof, a token.

Invariants:
* An address without an account gets a challenge as any other: salt, verifier and KDF parameters drawn
  from its name by a secret of this provider, the same at every try; the same SRP arithmetic is done.
* A challenge serves one proof and lives a minute; at most `MAX_SESSIONS` are kept.
* Every failure is the same BadLogin.
* SRP's exponentiations (1-15 ms) run in a small pool of their own, never on the loop.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import srp

from leap.provider.accounts import SRP_GROUP_BYTES, Accounts
from leap.provider.contract import normal_address
from leap.provider.errors import BadLogin, BadRequest, SlowDown
from leap.provider.throttle import LoginThrottle
from leap.provider.tokens import Tokens
from leap.soledad.login import GROUP, HASH, SALT_SIZE, identity_of
from leap.soledad.secrets import KDF_SALT_SIZE, LANES, MEMORY_KIB, RECOVERY_KDF, TIME_COST
from leap.soledad.wire import (
    KdfParams,
    LoginChallenge,
    LoginProof,
    LoginReply,
    LoginStart,
    Verifier,
)

SESSION_SECONDS = 60.0
MAX_SESSIONS = 10_000
MAX_WAITING = 500  # challenges waiting for the pool: some seconds of work


@dataclass(slots=True)
class _Session:
    address: str
    account: int | None
    expires: float
    verifier: Any = field(repr=False)  # the library's side of this log-in
    proved: Verifier = field(repr=False)  # what was stored when it began


class LoginDesk:
    """Takes log-ins. `secret` must stay the same over restarts; close with `close`."""

    def __init__(
        self,
        accounts: Accounts,
        tokens: Tokens,
        secret: bytes,
        *,
        now: Callable[[], float] = time.monotonic,
        workers: int = 2,
    ) -> None:
        self._accounts = accounts
        self._tokens = tokens
        self._secret = secret
        self._now = now
        self._sessions: dict[str, _Session] = {}
        self._throttle = LoginThrottle(now=now)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="srp")
        self._waiting = 0

    async def start(self, request: LoginStart, peer: str) -> LoginChallenge:
        """A challenge for any address. Raises SlowDown, BadRequest for an impossible A."""
        self._throttle.start(peer)
        if not 1 <= len(request.srp_a) <= SRP_GROUP_BYTES:
            raise BadRequest("srp_a is not a number of the 4096-bit group")
        address = normal_address(request.identity)
        identity = identity_of(address, with_recovery=request.with_recovery)
        stored = await self._accounts.find_verifier(address, with_recovery=request.with_recovery)
        fake = self._fake_verifier(identity, request.with_recovery)
        verifier = fake if stored is None else stored.verifier
        session, srp_b = await self._in_pool(_challenge, identity, verifier, request.srp_a)
        if srp_b is None:  # A is 0 modulo N, RFC 5054 2.5.4
            raise BadRequest("srp_a is not a number of the 4096-bit group")
        name = secrets.token_urlsafe(24)
        self._expire_sessions()
        self._sessions[name] = _Session(
            address=identity,
            account=None if stored is None else stored.account,
            expires=self._now() + SESSION_SECONDS,
            verifier=session,
            proved=verifier,
        )
        return LoginChallenge(
            session=name, kdf=verifier.kdf, srp_salt=verifier.srp_salt, srp_b=srp_b
        )

    async def finish(self, request: LoginProof, peer: str) -> tuple[LoginReply, list[bytes]]:
        """A token for the right proof, and the hashes of tokens that ended for it.

        Raises BadLogin, SlowDown, DeviceRevoked.
        """
        session = self._sessions.pop(request.session, None)
        if session is None or session.expires < self._now():
            raise BadLogin
        self._throttle.attempt(session.address, peer)
        proof = await self._in_pool(_check, session.verifier, request.srp_m1)
        if proof is None or session.account is None:
            raise BadLogin
        self._throttle.succeeded(session.address, peer)
        token, ended = await self._tokens.issue(
            session.account, request.device_id, request.device_name, proved=session.proved
        )
        return LoginReply(srp_m2=proof, token=token), ended

    def close(self) -> None:
        """Ends the pool; what waits in it is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._sessions.clear()

    async def _in_pool(self, work: Callable[..., Any], *arguments: Any) -> Any:
        if self._waiting >= MAX_WAITING:
            raise SlowDown("too many log-ins at once; try again in a moment", retry_after=2)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
        finally:
            self._waiting -= 1

    def _expire_sessions(self) -> None:
        """Sessions stand in the order of their ends, so the old ones are in front."""
        now = self._now()
        while self._sessions:
            name, session = next(iter(self._sessions.items()))
            if session.expires >= now and len(self._sessions) < MAX_SESSIONS:
                return
            del self._sessions[name]

    def _fake_verifier(self, identity: str, with_recovery: bool) -> Verifier:
        def draw(what: str, size: int) -> bytes:
            key = hmac.digest(self._secret, f"{what}\0{identity}".encode(), "sha256")
            return hashlib.shake_256(key).digest(size)

        kdf = RECOVERY_KDF
        if not with_recovery:
            kdf = KdfParams(
                salt=draw("kdf", KDF_SALT_SIZE),
                time_cost=TIME_COST,
                memory_kib=MEMORY_KIB,
                lanes=LANES,
            )
        return Verifier(
            kdf=kdf,
            srp_salt=draw("salt", SALT_SIZE),
            srp_verifier=draw("verifier", SRP_GROUP_BYTES),
        )


def _challenge(identity: str, verifier: Verifier, srp_a: bytes) -> tuple[Any, bytes | None]:
    session = srp.Verifier(
        identity,
        verifier.srp_salt,
        verifier.srp_verifier,
        srp_a,
        hash_alg=HASH,
        ng_type=GROUP,
    )
    _, srp_b = session.get_challenge()
    return session, None if srp_b is None else bytes(srp_b)


def _check(session: Any, srp_m1: bytes) -> bytes | None:
    """M2 for the right M1; a session is asked once, so the time of the comparison tells nothing."""
    proof = session.verify_session(srp_m1)
    return None if proof is None else bytes(proof)
