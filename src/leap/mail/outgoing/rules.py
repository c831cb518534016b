"""What the person decided about all mail they send: one document of the account, the same on all devices.

    document "mail-sending"   {"type": "mail-sending", "encrypt": "prefer", ...}    merged by field

Invariant: a rule that cannot be read is as strict as it can be: nothing leaves in clear because of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

import msgspec

from leap.mail.outbox_contract import SendingRules

T = TypeVar("T")
SENDING_TYPE = "mail-sending"
_DOC_ID = "mail-sending"
_STRICTEST = SendingRules(encrypt="require")


class _Document(Protocol):
    @property
    def content(self) -> dict[str, Any] | None: ...


class _Transaction(Protocol):
    def get(self, doc_id: str, /) -> dict[str, Any] | None: ...
    def put(self, doc_id: str, content: dict[str, Any], /) -> object: ...


class Store(Protocol):
    """What the rules need of `leap.soledad.store.Soledad`."""

    async def get_doc(self, doc_id: str, /) -> _Document | None: ...
    async def transact(self, job: Callable[[Any], T], durable: bool = False) -> T: ...
    def on_change(self, callback: Callable[[Any], None], /) -> Callable[[], None]: ...


class Rules:
    """The rules of one account."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: SendingRules | None = None
        self._changes = 0
        store.on_change(self._follow)  # for the life of the store

    async def load(self) -> SendingRules:
        """As they are now, on whatever device they were set."""
        if self._known is not None:
            return self._known
        changes = self._changes
        document = await self._store.get_doc(_DOC_ID)
        found = rules_of(None if document is None else document.content)
        if changes == self._changes:
            self._known = found
        return found

    def _follow(self, changes: Any) -> None:
        if any(one.doc_id == _DOC_ID for one in changes.docs):
            self._changes += 1
            self._known = None

    async def save(self, rules: SendingRules) -> None:
        """Sets all of them, durably."""

        def job(tx: _Transaction) -> None:
            before = tx.get(_DOC_ID) or {}
            tx.put(_DOC_ID, {**before, "type": SENDING_TYPE, **msgspec.to_builtins(rules)})

        await self._store.transact(job, durable=True)


def rules_of(content: Mapping[str, Any] | None) -> SendingRules:
    """The rules in a document; words of newer programs count as the strictest of ours."""
    if content is None:
        return SendingRules()
    try:
        return msgspec.convert(content, SendingRules)
    except msgspec.ValidationError:
        return _STRICTEST
