"""The public key directory of this provider's users: what they publish, by address and by WKD name.

Invariants:
* Only the account itself, logged in, replaces its certificate; the newest is the only one.
* Answers for an address without an account and without a certificate are the same.
* What is answered has no user id of another address of the account: nobody hears that two addresses are one person's.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from leap.provider.aliases import list_aliases
from leap.provider.contract import normal_address
from leap.provider.errors import BadRequest, NotFound
from leap.provider.keys.certificate_form import (
    NotACertificate,
    check_certificate,
    named_form,
)
from leap.soledad.sqlite import Database
from leap.soledad.wire import CertificateReply

# An address is that of an account or an alias of one; then the address asked for comes along.
_BY_ADDRESS = """
    SELECT ?1, certificate.certificate FROM certificate WHERE certificate.account = coalesce(
        (SELECT number FROM account WHERE address = ?1), (SELECT account FROM alias WHERE address = ?1))
"""
_BY_WKD_HASH = """
    SELECT account.address, certificate.certificate FROM account
    JOIN certificate ON certificate.account = account.number WHERE account.wkd_hash = ?1
    UNION ALL
    SELECT alias.address, certificate.certificate FROM alias
    JOIN certificate ON certificate.account = alias.account WHERE alias.wkd_hash = ?1
"""


class KeyDirectory:
    """Published certificates."""

    def __init__(self, db: Database, *, now: Callable[[], float] = time.time) -> None:
        self._db = db
        self._now = now

    async def put(self, account: int, address: str, certificate: bytes) -> None:
        """Publishes a certificate, in the place of the former one. Raises BadRequest."""
        aliases = await self._db.read(
            lambda connection: [one.address for one in list_aliases(connection, address)]
        )
        try:
            check_certificate(certificate, address, aliases)
        except NotACertificate as error:
            raise BadRequest(str(error)) from None
        updated = int(self._now())
        await self._db.write(
            lambda connection: connection.execute(
                "INSERT INTO certificate (account, certificate, updated) VALUES (?, ?, ?)"
                " ON CONFLICT (account) DO UPDATE"
                " SET certificate = excluded.certificate, updated = excluded.updated",
                (account, certificate, updated),
            ),
            durable=True,
        )

    async def find(self, address: str) -> CertificateReply:
        """The certificate of an address. Raises NotFound."""
        address = normal_address(address)
        certificate = await self._find(_BY_ADDRESS, address)
        return CertificateReply(address=address, certificate=certificate)

    async def find_by_wkd_hash(self, hashed: str) -> bytes:
        """The certificate behind a WKD name. Raises NotFound."""
        return await self._find(_BY_WKD_HASH, hashed)

    async def _find(self, query: str, value: str) -> bytes:
        row = await self._db.read(lambda connection: connection.execute(query, (value,)).fetchone())
        if row is None:
            raise NotFound("no key is published for this address")
        named = named_form(row[1], row[0])
        if not named:
            raise NotFound("no key is published for this address")
        return named
