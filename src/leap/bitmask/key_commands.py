"""What the daemon does for `bitmask keys` about the keys of correspondents, and lists and exports of all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from leap.bitmask.local_api import CommandRefused, text
from leap.bitmask.own_key_state import own_key_row
from leap.bitmask.sentences import sentence
from leap.bitmask.sessions import AccountSessions
from leap.keymanager.errors import KeyManagerError


def key_commands(sessions: AccountSessions) -> dict[str, Callable[[dict[str, Any]], Any]]:
    """The commands by name."""
    commands = KeyCommands(sessions)
    return {
        "keys-list": commands.keys_list,
        "keys-export": commands.keys_export,
    }


class KeyCommands:
    """The commands on the accounts of one daemon."""

    def __init__(self, sessions: AccountSessions) -> None:
        self._sessions = sessions

    async def keys_list(self, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        session = self._sessions.get(text(arguments, "address"))
        keys = session.keys
        listed = []
        for key in await keys.list_keys():
            source = "own" if key.own else key.evidence[-1].source if key.evidence else ""
            listed.append(
                {
                    "address": key.address,
                    "fingerprint": key.fingerprint,
                    "own": key.own,
                    "level": key.level,
                    "source": source,
                    "created": key.created,
                    "expires": key.expires,
                    "revoked": key.revoked,
                    "user_ids": list(key.user_ids),
                    **(await own_key_row(session, key.fingerprint) if key.own else {}),
                }
            )
        return listed

    async def keys_export(self, arguments: dict[str, Any]) -> dict[str, Any]:
        keys = self._sessions.get(text(arguments, "address")).keys
        of = text(arguments, "of")
        try:
            armored = await keys.export(of, secret=bool(arguments.get("secret")))
        except KeyManagerError as error:
            raise CommandRefused("no-key", sentence(error)) from error
        return {"address": of, "armored": armored.decode("ascii")}
