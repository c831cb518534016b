"""The public key directory of this provider's users: what they publish, by address and by WKD name.

Invariants:
* Only the account itself, logged in, replaces its certificate; the newest is the only one.
* Answers for an address without an account and without a certificate are the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from leap.provider.contract import normal_address
from leap.provider.errors import BadRequest, NotFound
from leap.provider.keys.certificate_form import NotACertificate, check_certificate
from leap.soledad.sqlite import Database
from leap.soledad.wire import CertificateReply

_BY_ADDRESS = """
    SELECT certificate.certificate FROM account
    JOIN certificate ON certificate.account = account.number WHERE account.address = ?
"""
_BY_WKD_HASH = """
    SELECT certificate.certificate FROM account
    JOIN certificate ON certificate.account = account.number WHERE account.wkd_hash = ?
"""


class KeyDirectory:
    """Published certificates."""

    def __init__(self, db: Database, *, now: Callable[[], float] = time.time) -> None:
        self._db = db
        self._now = now

    async def put(self, account: int, address: str, certificate: bytes) -> None:
        """Publishes a certificate, in the place of the former one. Raises BadRequest."""
        try:
            check_certificate(certificate, address)
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
        certificate: bytes = row[0]
        return certificate
