"""`bitmask mail sending` and `bitmask mail addresses`: what holds for all mail of an account, asked at its daemon."""

from __future__ import annotations

from typing import Any

import msgspec

from leap.bitmask.home import Home
from leap.bitmask.mail_reading import opened


async def sending_rules(home: Home, address: str, changes: dict[str, Any]) -> dict[str, Any]:
    """The rules, after those in `changes` were set."""
    async with opened(home, address) as account:
        rules = await account.outbox.rules()
        if changes:
            await account.outbox.set_rules(msgspec.structs.replace(rules, **changes))
            rules = await account.outbox.rules()
        return {"address": address, **msgspec.to_builtins(rules)}


async def addresses(home: Home, address: str) -> dict[str, Any]:
    """The addresses the account may send as, its own first."""
    async with opened(home, address) as account:
        return {"address": address, "addresses": await account.outbox.addresses()}
