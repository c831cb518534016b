"""The local SMTP server's decisions: who may send, as whom, and 250 only when the outbox has the mail on disk.

Invariants:
* One handler serves one connection and one account, the one that logged in.
* Every refusal is one sentence which the mail program can show.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Protocol

from leap.mail.contract import (
    AccountBackend,
    AccountError,
    AccountUnavailable,
    NotPermitted,
    StorageFull,
    TooLarge,
)
from leap.mail.outgoing.identities import is_one_of, named
from leap.mail.smtp.contract import Envelope, Session
from leap.mail.smtp.wire import Reply

logger = logging.getLogger(__name__)

LOG_IN_FIRST = Reply(530, "5.7.0", "Log in first.")
OUTBOX_FULL = Reply(452, "4.3.1", "The disk is full; the message was not accepted.")
LOCKED = Reply(451, "4.3.0", "The account is locked or being closed; try again later.")


class Accounts(Protocol):
    """Where the gateway finds who logs in; `authenticate` checks an app password."""

    async def authenticate(self, user: str, password: str) -> AccountBackend | None: ...


class Gateway:
    """An `SmtpHandler` for one connection."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._account: AccountBackend | None = None

    async def authenticate(self, user: str, password: str) -> str | None:
        """The account's address, or None."""
        self._account = await self._accounts.authenticate(user, password)
        return None if self._account is None else self._account.address

    async def sender(
        self, session: Session, address: str, params: Mapping[str, str]
    ) -> Reply | None:
        """Accepts the account's own addresses, with or without a +tag."""
        if self._account is None:
            return LOG_IN_FIRST
        try:
            own = await self._account.addresses()
        except AccountUnavailable:
            return LOCKED
        if not is_one_of(address, own):
            return Reply(550, "5.7.1", f"This account sends as {named(own)} only.")
        return None

    async def recipient(self, session: Session, address: str) -> Reply | None:
        """Accepts everybody; policy speaks when the message is known."""
        if self._account is None:
            return LOG_IN_FIRST
        if "@" not in address:
            return Reply(550, "5.1.3", "A recipient needs an address with a domain.")
        return None

    async def message(self, session: Session, envelope: Envelope, raw: bytes) -> Reply:
        """250 when the mail is in the durable outbox, else one sentence why not."""
        if self._account is None:
            return LOG_IN_FIRST
        try:
            outbox_id = await self._account.submit(
                raw, envelope.sender, envelope.recipients, None, envelope.wishes
            )
        except NotPermitted as error:
            return Reply(550, "5.7.1", str(error))
        except TooLarge as error:
            return Reply(552, "5.3.4", str(error))
        except StorageFull:
            return OUTBOX_FULL
        except AccountUnavailable:
            return LOCKED
        except AccountError as error:
            return Reply(451, "4.3.0", str(error))
        return Reply(250, "2.0.0", f"In the outbox as {outbox_id}.")


def gateway_handler(accounts: Accounts) -> Gateway:
    """A handler for a new connection."""
    return Gateway(accounts)
