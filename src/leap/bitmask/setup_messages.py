"""`bitmask keys setup-messages`: Autocrypt Setup Messages in an account, found for the person to take them in."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from leap.bitmask.home import Home
from leap.bitmask.mail_reading import opened
from leap.keymanager.autocrypt.setup_message import code_begins, is_setup_message
from leap.keymanager.canonical import canonical
from leap.mail.contract import SecurityStatus
from leap.mail.incoming.assembly import from_address_of
from leap.mail.incoming.provider_checks import vouches_for

# every program names it so in the subject or in the attachment (Autocrypt 1.1, "Message Structure", its example)
QUERY = "subject:autocrypt OR autocrypt-setup-message"
MAX_LOOKED_AT = 200

SentBy = Literal["this program", "your account, according to your provider", "somebody"]


async def find_setup_messages(home: Home, address: str) -> list[dict[str, Any]]:
    """Those from the account to itself, newest first."""
    found = []
    async with opened(home, address) as account:
        result = await account.search(QUERY, MAX_LOOKED_AT)
        for message in await account.open_found(result.found):
            raw = await message.raw()
            if not await asyncio.to_thread(_is_own, raw, address):
                continue
            found.append(
                {
                    "id": message.row_id,
                    "date": message.date.isoformat(),
                    "code_begins": await asyncio.to_thread(code_begins, raw),
                    "sent_by": sent_by(await message.security(), address),
                }
            )
    return found


def sent_by(security: SecurityStatus, address: str) -> SentBy:
    """Who put a message there that says it is from the account itself: anybody can write such a mail."""
    if security.encryption == "local":
        return "this program"
    if vouches_for(security.provider, canonical(address)):
        return "your account, according to your provider"
    return "somebody"


def _is_own(raw: bytes, address: str) -> bool:
    return is_setup_message(raw) and from_address_of(raw) == canonical(address)
