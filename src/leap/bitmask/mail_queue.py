"""`bitmask mail queue`: the outbox of an account, asked at the daemon that holds it."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from leap.bitmask.control import ControlError
from leap.bitmask.home import Home
from leap.bitmask.mail_reading import opened
from leap.mail.account import Account
from leap.mail.outbox_contract import OutboxEntry


async def list_queue(home: Home, address: str, *, everything: bool) -> dict[str, Any]:
    """What waits, and what failed or was cancelled; with `everything` what was sent, too. Newest first."""
    async with opened(home, address) as account:
        entries = await account.outbox.entries()
        return {
            "entries": [
                msgspec.to_builtins(one) for one in entries if everything or one.state != "sent"
            ],
            "delay": await account.outbox.delay(),
        }


async def cancel_mail(home: Home, address: str, beginning: str) -> dict[str, Any]:
    """How the entry stands then. Raises ControlError when it is too late for all."""
    async with opened(home, address) as account:
        entry = await _find(account, beginning)
        cancelled = await account.outbox.cancel(entry.outbox_id)
        entry = await account.outbox.find(entry.outbox_id) or entry
        if not cancelled:
            raise ControlError("too-late", _too_late(entry))
        return {"entry": msgspec.to_builtins(entry)}


async def retry_mail(home: Home, address: str, beginning: str | None) -> dict[str, Any]:
    """Tries one, or all that wait but for those which are to leave later; answers the ids of what is tried."""
    async with opened(home, address) as account:
        if beginning is not None:
            entry = await _find(account, beginning)
            if entry.ended:
                raise ControlError("too-late", f"This mail is not waiting: it is {entry.state}.")
            await account.outbox.retry(entry.outbox_id)
            return {"tried": [entry.outbox_id]}
        now = time.time()
        await account.outbox.retry()
        return {
            "tried": [
                one.outbox_id
                for one in await account.outbox.entries()
                if not one.ended and one.not_before <= now
            ]
        }


async def send_delay(home: Home, address: str, seconds: int | None) -> dict[str, Any]:
    """The delay of new mail, as it is or as it is decided now."""
    async with opened(home, address) as account:
        if seconds is not None:
            await account.outbox.set_delay(seconds)
        return {"delay": await account.outbox.delay()}


async def _find(account: Account, beginning: str) -> OutboxEntry:
    found = [
        one for one in await account.outbox.entries() if one.outbox_id.startswith(beginning.lower())
    ]
    exact = [one for one in found if one.outbox_id == beginning]
    if not found or not beginning:
        raise ControlError("no-message", f"There is no mail {beginning} in the outbox.")
    if len(found) > 1 and not exact:
        raise ControlError("no-message", f"Several mails begin with {beginning}; give more of it.")
    return (exact or found)[0]


def _too_late(entry: OutboxEntry) -> str:
    if entry.state == "cancelled":
        return "This mail was cancelled before; nobody got it."
    if entry.state == "failed":
        return "This mail is not waiting: its delivery failed, and a report is in INBOX."
    if entry.ended:
        return "Too late: the mail was handed to the provider."
    return "Too late: the mail is being handed to the provider, or its answer was lost."
