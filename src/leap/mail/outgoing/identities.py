"""The addresses an account may send as: its own, and the aliases its provider gave it.

The provider takes and delivers mail by its own list (`leap-provider alias`); what it said last is kept on this device,
so that mail can be written offline. A +tag may stand in any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Protocol, TypeVar

from leap.mail.outgoing.addresses import normal, without_tag

T = TypeVar("T")
_ALIASES = "mail.aliases"  # a setting of this device: addresses with a space between them


class _Transaction(Protocol):
    def set_setting(self, name: str, value: Any) -> None: ...


class Store(Protocol):
    """What is needed of `leap.soledad.store.Soledad`."""

    async def setting(self, name: str) -> Any: ...
    async def transact(self, job: Callable[[Any], T], durable: bool = False) -> T: ...


class Identities:
    """The addresses of one account."""

    def __init__(self, store: Store, address: str) -> None:
        self._store = store
        self.address = normal(address)
        self._known: list[str] | None = None  # only this device's program changes the setting

    async def load(self) -> list[str]:
        """In the form in which addresses are compared, the account's own first."""
        if self._known is None:
            kept: str = await self._store.setting(_ALIASES) or ""
            self._known = [self.address, *kept.split()]
        return list(self._known)

    async def keep_aliases(self, aliases: Iterable[str]) -> bool:
        """Keeps what the provider said; whether that is new."""
        known = sorted({normal(one) for one in aliases if not set(one) & set(" \t\r\n")})
        known = [one for one in known if one != self.address]
        if known == (await self.load())[1:]:
            return False

        def job(tx: _Transaction) -> None:
            tx.set_setting(_ALIASES, " ".join(known))

        await self._store.transact(job)
        self._known = [self.address, *known]
        return True


def is_one_of(address: str, own: Collection[str]) -> bool:
    """Whether an address is one of these, with or without a +tag."""
    return normal(address) in own or without_tag(normal(address)) in own


def named(own: Sequence[str]) -> str:
    """The addresses for a sentence, five of them at most."""
    if len(own) == 1:
        return own[0]
    shown = list(own[:5])
    more = f" and {len(own) - 5} more" if len(own) > 5 else ""
    if more:
        return ", ".join(shown) + more
    return f"{', '.join(shown[:-1])} and {shown[-1]}"
