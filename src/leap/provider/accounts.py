"""Accounts: sign-up, the keyset with its compare-and-swap, and what a log-in needs.

Invariants:
* An account's root key is pinned at sign-up; only a keyset it signed, of the next version, replaces one.
* Keyset, wraps and verifiers change together in one durable transaction or not at all; with `head` in the change,
  only while that is the log's newest, so that nobody can commit in between.
* A device which a keyset revokes loses its token in the same transaction. So do devices which the keyset does not list
  when passphrase or recovery code change: they came in by the one that ends.
* What a change replaces is overwritten on the disk, not only unlinked.
* Repeating a sign-up or a keyset change whose reply was lost succeeds.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from leap.keymanager.wkd_names import wkd_hash
from leap.provider.aliases import find_alias
from leap.provider.contract import LocalAccount, normal_address
from leap.provider.errors import (
    AddressTaken,
    BadRequest,
    HeadMoved,
    KeysetMoved,
    SignupClosed,
    TooLarge,
    Unauthorized,
)
from leap.provider.storage.room import Room
from leap.soledad.errors import BadKeyset
from leap.soledad.keyset import Keyset, check_successor, open_keyset
from leap.soledad.sqlite import Connection, Database, IntegrityError
from leap.soledad.wire import KeysetPut, SecretsReply, Signup, Verifier, Wraps, decode, encode

MAX_WRAP_BYTES = 1024 * 1024
SRP_GROUP_BYTES = 512  # the 4096-bit group of RFC 5054
MAX_CACHED_ACCOUNTS = 10_000

_LOCAL_PART = re.compile(r"^[a-z0-9](?:[a-z0-9_-]|\.(?=[a-z0-9_-])){0,62}[a-z0-9]$|^[a-z0-9]$")
# RFC 2142 mailboxes and the senders of machines belong to the operator.
RESERVED = frozenset(
    (
        *("abuse", "hostmaster", "info", "marketing", "noc", "postmaster", "sales", "security"),
        *("support", "usenet", "webmaster", "news", "www", "uucp", "ftp", "mail", "root"),
        *("admin", "administrator", "daemon", "devnull", "nobody"),
        *("mailer-daemon", "noreply", "no-reply"),
    )
)


@dataclass(frozen=True, slots=True)
class StoredVerifier:
    """What one log-in of an account is checked with."""

    account: int
    account_id: str
    verifier: Verifier = field(repr=False)


class Accounts:
    """All accounts of one domain. The `number` of an account is what other modules call `account`."""

    def __init__(
        self,
        db: Database,
        domain: str,
        room: Room,
        *,
        signup_open: bool = True,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._db = db
        self._room = room
        self.domain = domain
        self.signup_open = signup_open
        self._now = now
        self._found: dict[str, LocalAccount] = {}
        self._changes = 0

    async def sign_up(self, signup: Signup) -> int:
        """Makes an account; answers its number.

        Raises SignupClosed, AddressTaken, BadRequest, TooLarge.
        """
        if not self.signup_open:
            raise SignupClosed("this provider does not take new accounts now")
        local_part = self._check_address(signup.address)
        keyset = _opened(signup.keyset, root_public=None)
        if keyset.address != signup.address:
            raise BadRequest("the keyset is of another address")
        if keyset.version != 1:
            raise BadRequest("the first keyset has version 1")
        _usable_inbox_key(keyset)
        _check_verifier(signup.passphrase)
        _check_verifier(signup.recovery)
        _check_wraps(signup.wraps)
        encoded = encode(signup)
        self._room.need(len(encoded))
        signup_hash = hashlib.sha256(encoded).digest()
        hashed = wkd_hash(local_part)
        created = int(self._now())

        def job(connection: Connection) -> int:
            row = connection.execute(
                "SELECT number, signup_hash FROM account WHERE address = ?", (signup.address,)
            ).fetchone()
            if row is not None:
                if row[1] == signup_hash:
                    return int(row[0])
                raise AddressTaken(f"{signup.address} is taken")
            if find_alias(connection, signup.address) is not None:
                raise AddressTaken(f"{signup.address} is taken")
            try:
                cursor = connection.execute(
                    "INSERT INTO account (account_id, address, wkd_hash, created, signup_hash,"
                    " root_public, keyset, keyset_version, wrap_passphrase, wrap_recovery,"
                    " verifier_passphrase, verifier_recovery)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        keyset.account_id,
                        signup.address,
                        hashed,
                        created,
                        signup_hash,
                        keyset.root_public,
                        signup.keyset,
                        keyset.version,
                        signup.wraps.passphrase,
                        signup.wraps.recovery,
                        encode(signup.passphrase),
                        encode(signup.recovery),
                    ),
                )
            except IntegrityError:
                raise AddressTaken("this root key has an account already") from None
            return int(cursor.lastrowid)

        return await self._db.write(job, durable=True)

    async def find(self, address: str) -> LocalAccount | None:
        """Where mail for an address goes, or None when it is not one of ours; of an alias the account's own address."""
        address = normal_address(address)
        found = await self._find(address)
        if found is not None:
            return found
        # Not remembered: an operator takes an alias away in another process, and that holds at once.
        alias = await self._db.read(lambda connection: find_alias(connection, address))
        return None if alias is None else await self._find(alias.account)

    async def _find(self, address: str) -> LocalAccount | None:
        found = self._found.get(address)
        if found is not None:
            return found
        changes = self._changes
        row = await self._db.read(
            lambda connection: connection.execute(
                "SELECT account_id, keyset, root_public FROM account WHERE address = ?", (address,)
            ).fetchone()
        )
        if row is None:
            return None
        account_id, keyset, root_public = row
        inbox_key = open_keyset(keyset, root_public=root_public).inbox_key()
        found = LocalAccount(account_id, address, inbox_key)
        if changes == self._changes:  # else the keyset may have been replaced meanwhile
            if len(self._found) >= MAX_CACHED_ACCOUNTS:
                self._found.pop(next(iter(self._found)))
            self._found[address] = found
        return found

    async def number(self, account_id: str) -> int | None:
        """The number of an account, or None."""
        row = await self._db.read(
            lambda connection: connection.execute(
                "SELECT number FROM account WHERE account_id = ?", (account_id,)
            ).fetchone()
        )
        return None if row is None else int(row[0])

    async def find_verifier(self, address: str, *, with_recovery: bool) -> StoredVerifier | None:
        """What a log-in of this address is checked with, or None when there is no such account."""
        column = "verifier_recovery" if with_recovery else "verifier_passphrase"
        row = await self._db.read(
            lambda connection: connection.execute(
                f"SELECT number, account_id, {column} FROM account WHERE address = ?",  # noqa: S608
                (normal_address(address),),
            ).fetchone()
        )
        if row is None:
            return None
        return StoredVerifier(int(row[0]), row[1], decode(row[2], Verifier))

    async def secrets(self, account: int) -> SecretsReply:
        """The wrapped secrets and the keyset, of one moment."""
        row = await self._db.read(
            lambda connection: connection.execute(
                "SELECT wrap_passphrase, wrap_recovery, keyset, keyset_version FROM account"
                " WHERE number = ?",
                (account,),
            ).fetchone()
        )
        if row is None:
            raise Unauthorized
        wraps = Wraps(passphrase=row[0], recovery=row[1])
        return SecretsReply(wraps=wraps, keyset=row[2], keyset_version=row[3])

    async def put_keyset(self, account: int, change: KeysetPut) -> list[bytes]:
        """Replaces the keyset, and wraps and verifier if given; answers the hashes of ended tokens.

        Raises KeysetMoved, HeadMoved, BadRequest, TooLarge.
        """
        if change.wraps is not None:
            _check_wraps(change.wraps)
        for verifier in (change.passphrase, change.recovery):
            if verifier is not None:
                _check_verifier(verifier)

        def job(connection: Connection) -> tuple[list[bytes], str]:
            row = connection.execute(
                "SELECT address, keyset, keyset_version, root_public, wrap_passphrase, wrap_recovery"
                " FROM account WHERE number = ?",
                (account,),
            ).fetchone()
            if row is None:
                raise Unauthorized
            address, stored, version, root_public, *wraps = row
            # Keysets of two changes of the passphrase are alike, down to the signature: the wraps are not.
            same = change.wraps is None or [change.wraps.passphrase, change.wraps.recovery] == wraps
            if change.keyset == stored and change.expected_version < version and same:
                return [], address
            if change.expected_version != version:
                raise KeysetMoved(f"the keyset has version {version} now")
            keyset = _opened(change.keyset, root_public=root_public)
            before = open_keyset(stored, root_public=root_public)
            # One of a new generation may follow keysets which this provider forgot, restored from a backup.
            if keyset.version != version + 1 and keyset.generation <= before.generation:
                raise BadRequest(f"the next keyset has version {version + 1}")
            _usable_inbox_key(keyset)
            try:
                check_successor(before, keyset)
            except BadKeyset as error:
                raise BadRequest(str(error)) from None
            if change.head is not None and change.head != _head_hash(connection, account):
                raise HeadMoved("another device wrote first")
            with _overwriting(connection):
                _replace(connection, account, change, keyset.version)
            strangers = change.passphrase is not None or change.recovery is not None
            return _end_tokens(connection, account, keyset, strangers=strangers), address

        ended, address = await self._db.write(job, durable=True)
        self._changes += 1
        self._found.pop(address, None)
        return ended

    def _check_address(self, address: str) -> str:
        """The local part of an address that may be signed up."""
        local_part, at, domain = address.partition("@")
        if not at or domain != self.domain:
            raise BadRequest(f"addresses here end in @{self.domain}")
        if not _LOCAL_PART.match(local_part):
            raise BadRequest(
                "the part before the @ has at most 64 of a-z, 0-9, dot, hyphen and underscore,"
                " and begins and ends with a letter or digit"
            )
        if local_part in RESERVED:
            raise AddressTaken(f"{address} is reserved")
        return local_part


def _opened(data: bytes, *, root_public: bytes | None) -> Keyset:
    try:
        return open_keyset(data, root_public=root_public)
    except BadKeyset as error:
        raise BadRequest(str(error)) from None


def _usable_inbox_key(keyset: Keyset) -> None:
    try:
        keyset.inbox_key()
    except BadKeyset as error:
        raise BadRequest(str(error)) from None


def _replace(connection: Connection, account: int, change: KeysetPut, version: int) -> None:
    columns: dict[str, bytes | int] = {"keyset": change.keyset, "keyset_version": version}
    if change.wraps is not None:
        columns["wrap_passphrase"] = change.wraps.passphrase
        columns["wrap_recovery"] = change.wraps.recovery
    if change.passphrase is not None:
        columns["verifier_passphrase"] = encode(change.passphrase)
    if change.recovery is not None:
        columns["verifier_recovery"] = encode(change.recovery)
    settings = ", ".join(f"{column} = ?" for column in columns)
    connection.execute(
        f"UPDATE account SET {settings} WHERE number = ?",  # noqa: S608 - names of columns
        (*columns.values(), account),
    )


@contextmanager
def _overwriting(connection: Connection) -> Iterator[None]:
    """What is replaced within is overwritten with zeros; elsewhere that would only cost writes."""
    (before,) = connection.execute("PRAGMA secure_delete").fetchone()
    connection.execute("PRAGMA secure_delete = ON").fetchall()
    try:
        yield
    finally:
        connection.execute(f"PRAGMA secure_delete = {int(before)}").fetchall()


def _end_tokens(
    connection: Connection, account: int, keyset: Keyset, *, strangers: bool
) -> list[bytes]:
    """Ends the tokens of revoked devices, and with `strangers` of those the keyset does not list."""
    revoked = {device.device_id: device.revoked_at is not None for device in keyset.devices}
    out = [
        (account, device_id)
        for (device_id,) in connection.execute(
            "SELECT device_id FROM token WHERE account = ?", (account,)
        ).fetchall()
        if revoked.get(device_id, strangers)
    ]
    ended: list[bytes] = []
    for whose in out:
        rows = connection.execute(
            "DELETE FROM token WHERE account = ? AND device_id = ? RETURNING token_hash", whose
        )
        ended += [token_hash for (token_hash,) in rows.fetchall()]
    return ended


def _head_hash(connection: Connection, account: int) -> bytes:
    row = connection.execute("SELECT head_hash FROM head WHERE account = ?", (account,)).fetchone()
    return b"" if row is None else bytes(row[0])


def _check_wraps(wraps: Wraps) -> None:
    if not wraps.passphrase or not wraps.recovery:
        raise BadRequest("the wrapped secrets are missing")
    if max(len(wraps.passphrase), len(wraps.recovery)) > MAX_WRAP_BYTES:
        raise TooLarge(f"wrapped secrets have at most {MAX_WRAP_BYTES} bytes")


def _check_verifier(verifier: Verifier) -> None:
    if not 8 <= len(verifier.srp_salt) <= 64:
        raise BadRequest("an SRP salt has 8 to 64 bytes")
    if not int.from_bytes(verifier.srp_verifier[: SRP_GROUP_BYTES + 1], "big") > 1:
        raise BadRequest("an SRP verifier is not 0 or 1")
    if len(verifier.srp_verifier) > SRP_GROUP_BYTES:
        raise BadRequest(f"an SRP verifier has at most {SRP_GROUP_BYTES} bytes")
