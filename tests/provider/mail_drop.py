"""Accounts and inboxes for tests of the mail side: sealed mail in memory, the queue's tables in a file.

It keeps the promises of `leap.provider.contract.MailDrop`, and can be told to break them.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence

from leap.mail.smtp.scram import ScramAccount, make_verifier
from leap.provider.contract import Delivery, LocalAccount, UnknownAccount, normal_address
from leap.soledad.inbox_seal import InboxPrivateKey, generate_inbox_key, open_from_inbox
from leap.soledad.sqlite import Database


class MemoryMailDrop:
    """`account_ids` are the addresses' local parts; each account has one device token."""

    def __init__(self, db: Database, *addresses: str) -> None:
        self._db = db
        self._keys: dict[str, InboxPrivateKey] = {}
        self._accounts: dict[str, LocalAccount] = {}
        self._seen: set[tuple[str, str]] = set()
        self.inbox: list[Delivery] = []
        self.failure: Exception | None = None
        self.on_delivery: Callable[[], None] = lambda: None
        for address in addresses:
            self.add(address)

    def add(self, address: str) -> None:
        account_id = address.partition("@")[0]
        key = generate_inbox_key(time.time())
        self._keys[account_id] = key
        self._accounts[address] = LocalAccount(account_id, address, key.public)

    def remove(self, address: str) -> None:
        del self._accounts[address]

    def token(self, address: str) -> str:
        return f"token-of-{address}"

    def opened(self, address: str) -> list[bytes]:
        """The mails in an inbox, opened with the account's key."""
        account_id = address.partition("@")[0]
        key = self._keys[account_id]
        return [
            open_from_inbox(one.sealed, [key], account_id)
            for one in self.inbox
            if one.account_id == account_id
        ]

    # -- MailDrop -------------------------------------------------------------------------------

    @property
    def db(self) -> Database:
        return self._db

    async def find_account(self, address: str) -> LocalAccount | None:
        return self._accounts.get(normal_address(address))

    async def deliver(self, deliveries: Sequence[Delivery]) -> None:
        if self.failure is not None:
            raise self.failure
        known = {account.account_id for account in self._accounts.values()}
        if any(one.account_id not in known for one in deliveries):
            raise UnknownAccount("there is no such account")
        for one in deliveries:
            if one.submission is not None:
                if (one.submission, one.recipient) in self._seen:
                    continue
                self._seen.add((one.submission, one.recipient))
            self.inbox.append(one)
        self.on_delivery()

    async def check_token(self, address: str, token: str) -> bool:
        return address in self._accounts and token == self.token(address)

    async def find_verifiers(self, address: str) -> ScramAccount:
        salt = hashlib.sha256(address.encode()).digest()[:16]
        known = address in self._accounts
        verifiers = (make_verifier(self.token(address), salt),) if known else ()
        return ScramAccount(address, salt, verifiers)
