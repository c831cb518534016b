"""Aliases: further addresses of an account, which the operator gives (`leap-provider alias`).

Mail to an alias is sealed to the account's inbox key, and the account may submit mail under it; the account hears of
its aliases over the API. What holds is what the table says at that moment, also while the provider runs.

Invariants:
* An address is of one account: none is an alias that somebody signed up with, and nobody signs up with an alias.
* An alias has no "+": what follows one is a tag of the address before it, and belongs to whoever has that.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import NamedTuple

from leap.keymanager.wkd_names import wkd_hash
from leap.provider.contract import normal_address
from leap.soledad.sqlite import Connection, Database

MOST = 100  # of one account; a list of more is somebody's mistake
_LOCAL_PART = re.compile(r"[a-z0-9](?:[a-z0-9_-]|\.(?=[a-z0-9_-])){0,62}[a-z0-9]|[a-z0-9]")
_TABLES = (
    """CREATE TABLE IF NOT EXISTS alias (
        address TEXT PRIMARY KEY,
        account INTEGER NOT NULL REFERENCES account (number) ON DELETE CASCADE,
        wkd_hash TEXT NOT NULL,
        created INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID""",
    "CREATE INDEX IF NOT EXISTS alias_account ON alias (account)",
    "CREATE INDEX IF NOT EXISTS alias_wkd_hash ON alias (wkd_hash)",
)


class NotAnAlias(ValueError):
    """The address cannot be an alias of that account; the text says why."""


class Alias(NamedTuple):
    """An address, and the one its account was signed up with."""

    address: str
    account: str


def create_alias_table(connection: Connection) -> None:
    """The table, where it is missing."""
    for statement in _TABLES:
        connection.execute(statement)


def add_alias(
    connection: Connection, domain: str, address: str, account: str, *, now: float
) -> Alias:
    """Gives an account of this domain a further address. Repeating it changes nothing. Raises NotAnAlias."""
    address, account = normal_address(address), normal_address(account)
    local_part, _, of = address.partition("@")
    if of != domain or not _LOCAL_PART.fullmatch(local_part):
        raise NotAnAlias(
            f"an alias here is of a-z, 0-9, dot, hyphen and underscore, and ends in @{domain}"
        )
    row = connection.execute("SELECT number FROM account WHERE address = ?", (account,)).fetchone()
    if row is None:
        raise NotAnAlias(f"there is no account {account}")
    if connection.execute("SELECT 1 FROM account WHERE address = ?", (address,)).fetchone():
        raise NotAnAlias(f"{address} is an account")
    (count,) = connection.execute(
        "SELECT count(*) FROM alias WHERE account = ?", (row[0],)
    ).fetchone()
    if count >= MOST:
        raise NotAnAlias(f"{account} has {MOST} aliases, which is the most")
    connection.execute(
        "INSERT INTO alias (address, account, wkd_hash, created) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO NOTHING",
        (address, row[0], wkd_hash(local_part), int(now)),
    )
    made = find_alias(connection, address)
    if made != Alias(address, account):
        raise NotAnAlias(f"{address} is an alias of another account")
    return made


def remove_alias(connection: Connection, address: str) -> bool:
    """Takes an alias away; whether there was one."""
    done = connection.execute("DELETE FROM alias WHERE address = ?", (normal_address(address),))
    return bool(done.rowcount)


def find_alias(connection: Connection, address: str) -> Alias | None:
    row = connection.execute(
        "SELECT alias.address, account.address FROM alias"
        " JOIN account ON account.number = alias.account WHERE alias.address = ?",
        (normal_address(address),),
    ).fetchone()
    return None if row is None else Alias(row[0], row[1])


def list_aliases(connection: Connection, account: str | None = None) -> list[Alias]:
    """All, or those of one account, by address."""
    rows = connection.execute(
        "SELECT alias.address, account.address FROM alias"
        " JOIN account ON account.number = alias.account"
        " WHERE ?1 IS NULL OR account.address = ?1 ORDER BY alias.address",
        (None if account is None else normal_address(account),),
    )
    return [Alias(row[0], row[1]) for row in rows.fetchall()]


class Aliases:
    """The aliases of a provider that runs."""

    def __init__(self, db: Database, *, now: Callable[[], float] = time.time) -> None:
        self._db = db
        self._now = now

    async def find(self, address: str) -> Alias | None:
        """Whose alias an address is; None when it is none."""
        return await self._db.read(lambda connection: find_alias(connection, address))

    async def of(self, account: int) -> list[str]:
        """The aliases of an account, by its number."""
        rows = await self._db.read(
            lambda connection: connection.execute(
                "SELECT address FROM alias WHERE account = ? ORDER BY address", (account,)
            ).fetchall()
        )
        return [row[0] for row in rows]

    async def add(self, domain: str, address: str, account: str) -> Alias:
        """See `add_alias`."""
        now = self._now()
        return await self._db.write(
            lambda connection: add_alias(connection, domain, address, account, now=now),
            durable=True,
        )

    async def remove(self, address: str) -> bool:
        """See `remove_alias`."""
        return await self._db.write(
            lambda connection: remove_alias(connection, address), durable=True
        )
