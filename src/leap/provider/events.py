"""Push notices to the devices of an account, as values; `http.event_routes` writes them as SSE.

Invariants:
* A subscriber holds at most one notice of each kind, the newest: a slow reader costs no memory.
* Notices say that something changed, never what; a lost one costs a delay, nothing else.
All methods belong to the event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict

from leap.provider.errors import SlowDown

MAX_SUBSCRIPTIONS = 64  # of one account: some per device, for connections that died unnoticed


class Subscription:
    """The notices for one connection of one device."""

    def __init__(self, account: int, token_hash: bytes) -> None:
        self.account = account
        self.token_hash = token_hash
        self.closed = False
        self._pending: dict[str, int] = {}
        self._wake = asyncio.Event()

    def offer(self, kind: str, data: int) -> None:
        """Adds a notice, in the place of an older one of its kind."""
        self._pending[kind] = data
        self._wake.set()

    def close(self) -> None:
        self.closed = True
        self._wake.set()

    async def next(self, timeout: float) -> list[tuple[str, int]] | None:
        """The notices since the last call, [] when none came for `timeout` seconds, None at the end."""
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            return []
        if self.closed:
            return None
        self._wake.clear()
        pending, self._pending = self._pending, {}
        return list(pending.items())


class Events:
    """All open subscriptions."""

    def __init__(self) -> None:
        self._subscriptions: defaultdict[int, set[Subscription]] = defaultdict(set)
        self._closed = False

    def subscribe(self, account: int, token_hash: bytes) -> Subscription:
        """Begins a subscription; give it back to `unsubscribe`. Raises SlowDown when there are too many."""
        if len(self._subscriptions.get(account, ())) >= MAX_SUBSCRIPTIONS:
            raise SlowDown("too many connections of this account wait for events", retry_after=60)
        subscription = Subscription(account, token_hash)
        self._subscriptions[account].add(subscription)
        if self._closed:
            subscription.close()
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        subscriptions = self._subscriptions.get(subscription.account)
        if subscriptions is not None:
            subscriptions.discard(subscription)
            if not subscriptions:
                del self._subscriptions[subscription.account]

    def publish(self, account: int, kind: str, data: int) -> None:
        """Tells all devices of the account."""
        for subscription in self._subscriptions.get(account, ()):
            subscription.offer(kind, data)

    def end_token(self, token_hash: bytes) -> None:
        """Ends the connections of a device that logged out."""
        for subscriptions in self._subscriptions.values():
            for subscription in subscriptions:
                if subscription.token_hash == token_hash:
                    subscription.close()

    def close(self) -> None:
        """Ends all of them, and those that come later at once."""
        self._closed = True
        for subscriptions in self._subscriptions.values():
            for subscription in subscriptions:
                subscription.close()
