"""What receiving needs of its surroundings: the provider's inbox, the key manager, the account, the sync engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from leap.mail.incoming.senders import MailLearner, SignerKeys
from leap.mail.local import Arrived
from leap.soledad.transaction import Transaction
from leap.soledad.wire import InboxClaim, InboxItems


class Remote(Protocol):
    """What receiving needs of `leap.soledad.remote.ProviderClient`."""

    async def claim_inbox(self, claim: InboxClaim) -> InboxItems: ...
    async def ack_inbox(self, inbox_ids: Sequence[str]) -> None: ...
    async def release_inbox(self, inbox_ids: Sequence[str]) -> None: ...


class Keys(SignerKeys, MailLearner, Protocol):
    """What receiving needs of `leap.keymanager.keys.KeyManager`."""

    def on_own_keys(self, callback: Callable[[], None], /) -> Callable[[], None]:
        """Calls it when an own key came or changed; answers how to end that."""
        ...


class Mailbox(Protocol):
    """What receiving needs of `leap.mail.local.LocalAccount`."""

    @property
    def address(self) -> str: ...

    async def deliver_all(
        self, arrived: Sequence[Arrived], also: Callable[[Transaction], None]
    ) -> None:
        """Stores all in INBOX in one durable transaction, and runs `also` in it; rows that are there stay."""
        ...


class Engine(Protocol):
    """What receiving needs of the sync engine."""

    async def sync(self) -> Any:
        """A pull, then a push, both complete when it returns."""
        ...

    async def sync_log(self) -> Any:
        """The same, without waiting for large contents."""
        ...

    async def send_contents(self) -> None:
        """Sends blobs ahead of their rows."""
        ...
