"""What the daemon does for `bitmask mail quarantine`: mail that could not be opened, and is kept."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from leap.bitmask.local_api import CommandRefused, text, text_or_none
from leap.mail.incoming.quarantine import Quarantined

if TYPE_CHECKING:
    from leap.bitmask.session import AccountSession
    from leap.bitmask.sessions import AccountSessions


def quarantine_commands(sessions: AccountSessions) -> dict[str, Callable[[dict[str, Any]], Any]]:
    """The commands by name."""

    async def list_(arguments: dict[str, Any]) -> list[dict[str, Any]]:
        session = sessions.get(text(arguments, "address"))
        return [_told(session, one) for one in await session.incoming.quarantined.items()]

    async def show(arguments: dict[str, Any]) -> dict[str, Any]:
        session = sessions.get(text(arguments, "address"))
        return _told(session, await _find(session, text(arguments, "id")))

    async def retry(arguments: dict[str, Any]) -> dict[str, Any]:
        session = sessions.get(text(arguments, "address"))
        beginning = text_or_none(arguments, "id")
        items = await session.incoming.quarantined.items()
        chosen = items if beginning is None else [await _find(session, beginning)]
        tried = [one.row_id for one in chosen]
        opened = await session.incoming.quarantined.retry(tried)
        left = {one.row_id: one.reason for one in await session.incoming.quarantined.items()}
        return {
            "opened": opened,
            "kept": [{"id": one, "reason": left[one]} for one in tried if one in left],
        }

    async def export(arguments: dict[str, Any]) -> dict[str, Any]:
        session = sessions.get(text(arguments, "address"))
        item = await _find(session, text(arguments, "id"))
        path = Path(text(arguments, "path"))
        try:
            octets, unsealed = await session.incoming.quarantined.export(item.row_id)
        except KeyError:
            raise CommandRefused("no-message", "This mail is not in quarantine any more.") from None
        try:
            _write(path, octets)
        except FileExistsError:
            raise CommandRefused("exists", f"{path} exists already; name another file.") from None
        except OSError as error:
            raise CommandRefused(
                "file", f"{path} cannot be written: {error.strerror or 'it failed'}."
            ) from error
        return {"id": item.row_id, "path": str(path), "octets": len(octets), "unsealed": unsealed}

    return {
        "quarantine-list": list_,
        "quarantine-show": show,
        "quarantine-retry": retry,
        "quarantine-export": export,
    }


def _told(session: AccountSession, one: Quarantined) -> dict[str, Any]:
    material = session.store.material
    keys = {key.key_id for key in material.inbox_keys} if material is not None else set()
    return {
        "id": one.row_id,
        "received": one.received,
        "octets": one.size,
        "reason": one.reason,
        "key_id": one.key_id,
        "key_is_here": one.key_id in keys,
        "poisoned": one.poisoned,
        "tried_by": one.tried,
    }


async def _find(session: AccountSession, beginning: str) -> Quarantined:
    items = await session.incoming.quarantined.items()
    found = [one for one in items if one.row_id.startswith(beginning)]
    if not found:
        raise CommandRefused("no-message", f"There is no mail {beginning} in quarantine.")
    if len(found) > 1:
        raise CommandRefused(
            "no-message", f"Several mails begin with {beginning}; give more of it."
        )
    return found[0]


def _write(path: Path, octets: bytes) -> None:
    """A new file, for its owner only: it may be mail in clear, which the person asked for."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(octets)
