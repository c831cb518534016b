"""Device tokens: what a device shows after its log-in, one each, ended by logout or revocation.

Invariants:
* Only the SHA-256 of a token and its SCRAM verifier are stored; a token has 256 random bits, so that no fast hash
  gives it away. The salt is one for each address, so that the name alone, which is all that SCRAM's first message has,
  selects the verifiers of all devices; it is made up for addresses that do not exist, always the same one.
  Who reads the verifiers can pose as this server, and no more: the tokens stay as unknown as before.
* A device has one token: logging in again ends the former one.
* A device which the account's keyset revokes gets no token: this is looked up in the transaction that stores one.
  So is whether the verifier of the log-in is still in force: one begun before a change of the passphrase ends with it.
* An ended token is refused from the moment `end` was answered.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from leap.mail.smtp.scram import ScramAccount, ScramVerifier, make_verifier
from leap.provider.contract import normal_address
from leap.provider.errors import BadLogin, DeviceRevoked, Unauthorized
from leap.soledad.errors import StoreFull
from leap.soledad.keyset import open_keyset
from leap.soledad.sqlite import Connection, Database
from leap.soledad.wire import Verifier, encode

_SALT_LABEL = b"leap.provider scram salt 1\0"
MAX_CACHED_TOKENS = 100_000
MAX_DEVICES = 100  # of one account; the one that logged in longest ago gives way


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request: a device of an account."""

    account: int
    account_id: str
    address: str
    device_id: str
    token_hash: bytes


class Tokens:
    """All live tokens."""

    def __init__(
        self, db: Database, secret: bytes, *, now: Callable[[], float] = time.time
    ) -> None:
        """`secret` is this provider's own: the salts are drawn from it."""
        self._db = db
        self._secret = secret
        self._now = now
        self._live: dict[bytes, Principal] = {}
        self._ends = 0

    async def issue(
        self,
        account: int,
        device_id: str,
        device_name: str,
        *,
        proved: Verifier | None = None,
    ) -> tuple[str, list[bytes]]:
        """A new token for a device, and the hashes of the tokens that ended for it; `proved` is the verifier it passed.

        Raises DeviceRevoked, BadLogin when that verifier was replaced meanwhile, and Unauthorized when the account is
        gone. A device the keyset does not know is let in: enrolling begins with a log-in.
        """
        token = secrets.token_urlsafe(32)
        created = int(self._now())

        def job(connection: Connection) -> list[bytes]:
            verifier = make_verifier(token, self._salt(_address(connection, account)))
            _check_device(connection, account, device_id)
            if proved is not None:
                _check_in_force(connection, account, encode(proved))
            ended = connection.execute(
                "DELETE FROM token WHERE account = ? AND device_id = ? RETURNING token_hash",
                (account, device_id),
            ).fetchall()
            ended += connection.execute(
                "DELETE FROM token WHERE token_hash IN (SELECT token_hash FROM token"
                " WHERE account = ? ORDER BY created DESC LIMIT -1 OFFSET ?) RETURNING token_hash",
                (account, MAX_DEVICES - 1),
            ).fetchall()
            connection.execute(
                "INSERT INTO token (token_hash, account, device_id, device_name, created,"
                " scram_stored, scram_server) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    _hash(token),
                    account,
                    device_id,
                    device_name,
                    created,
                    verifier.stored_key,
                    verifier.server_key,
                ),
            )
            return [token_hash for (token_hash,) in ended]

        ended = await self._db.write(job, durable=True)
        self.forget(ended)
        return token, ended

    async def find(self, token: str) -> Principal | None:
        """The device a token belongs to, or None."""
        token_hash = _hash(token)
        principal = self._live.get(token_hash)
        if principal is not None:
            return principal
        ends = self._ends
        row = await self._db.read(
            lambda connection: connection.execute(
                "SELECT account.number, account.account_id, account.address, token.device_id,"
                " token.scram_stored IS NULL FROM token JOIN account ON account.number = token.account"
                " WHERE token.token_hash = ?",
                (token_hash,),
            ).fetchone()
        )
        if row is None:
            return None
        principal = Principal(row[0], row[1], row[2], row[3], token_hash)
        if row[4]:
            await self._add_verifier(principal, token)
        if ends == self._ends:  # else it may have been ended while it was read
            if len(self._live) >= MAX_CACHED_TOKENS:
                self._live.pop(next(iter(self._live)))
            self._live[token_hash] = principal
        return principal

    async def _add_verifier(self, principal: Principal, token: str) -> None:
        """For a token from before there was SCRAM: its device shows it here before it sends mail."""

        def job(connection: Connection) -> None:
            verifier = make_verifier(token, self._salt(principal.address))
            connection.execute(
                "UPDATE token SET scram_stored = ?, scram_server = ? WHERE token_hash = ?",
                (verifier.stored_key, verifier.server_key, principal.token_hash),
            )

        with contextlib.suppress(StoreFull):  # the next time, then: a full disk keeps nobody out
            await self._db.write(job, durable=True)

    async def check(self, address: str, token: str) -> bool:
        """Whether a token belongs to a device of this address."""
        principal = await self.find(token)
        return principal is not None and principal.address == normal_address(address)

    async def find_verifiers(self, address: str) -> ScramAccount:
        """The account's live tokens as SCRAM knows them; those from before there was SCRAM, once they were shown.

        An exchange that began before a token ended may still end well: it lasts as long as a log-in may.
        """
        address = normal_address(address)
        rows = await self._db.read(
            lambda connection: connection.execute(
                "SELECT scram_stored, scram_server FROM token JOIN account"
                " ON account.number = token.account"
                " WHERE account.address = ? AND scram_stored IS NOT NULL",
                (address,),
            ).fetchall()
        )
        verifiers = tuple(ScramVerifier(stored, server) for stored, server in rows)
        return ScramAccount(address, self._salt(address), verifiers)

    def _salt(self, address: str) -> bytes:
        return hmac.digest(self._secret, _SALT_LABEL + address.encode(), "sha256")[:16]

    async def end(self, token_hash: bytes) -> None:
        """Ends one token for good."""
        await self._db.write(
            lambda connection: connection.execute(
                "DELETE FROM token WHERE token_hash = ?", (token_hash,)
            ),
            durable=True,
        )
        self.forget([token_hash])

    def forget(self, token_hashes: Iterable[bytes]) -> None:
        """Takes tokens which another transaction ended out of memory."""
        self._ends += 1
        for token_hash in token_hashes:
            self._live.pop(token_hash, None)


def _address(connection: Connection, account: int) -> str:
    row = connection.execute("SELECT address FROM account WHERE number = ?", (account,)).fetchone()
    if row is None:
        raise Unauthorized
    return str(row[0])


def _check_device(connection: Connection, account: int, device_id: str) -> None:
    row = connection.execute(
        "SELECT keyset, root_public FROM account WHERE number = ?", (account,)
    ).fetchone()
    if row is None:
        raise Unauthorized
    device = open_keyset(row[0], root_public=row[1]).device(device_id)
    if device is not None and device.revoked_at is not None:
        raise DeviceRevoked


def _check_in_force(connection: Connection, account: int, verifier: bytes) -> None:
    found = connection.execute(
        "SELECT verifier_passphrase, verifier_recovery FROM account WHERE number = ?", (account,)
    ).fetchone()
    if verifier not in found:
        raise BadLogin


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
