"""What the daemon does for `bitmask keys sources` and `bitmask keys refresh`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import msgspec

from leap.bitmask.key_sources import BadSetting
from leap.bitmask.local_api import Command, CommandRefused, Progress, text, text_or_none
from leap.bitmask.sentences import sentence
from leap.bitmask.session import AccountSession
from leap.bitmask.sessions import AccountSessions
from leap.keymanager.errors import KeyManagerError


def key_source_commands(sessions: AccountSessions) -> dict[str, Callable[[dict[str, Any]], Any]]:
    """The commands by name."""
    commands = KeySourceCommands(sessions)
    return {"keys-sources": commands.keys_sources}


def key_refresh_command(sessions: AccountSessions) -> dict[str, Command]:
    """The command that tells how far it is."""
    return {"keys-refresh": KeySourceCommands(sessions).keys_refresh}


class KeySourceCommands:
    """The commands on the accounts of one daemon."""

    def __init__(self, sessions: AccountSessions) -> None:
        self._sessions = sessions

    async def keys_sources(self, arguments: dict[str, Any]) -> dict[str, Any]:
        session = self._sessions.get(text(arguments, "address"))
        wkd = arguments.get("wkd")
        vks, proxy = text_or_none(arguments, "vks"), text_or_none(arguments, "proxy")
        if wkd is not None and not isinstance(wkd, bool):
            raise CommandRefused("bad-request", "--wkd is on or off.")
        if (wkd, vks, proxy) != (None, None, None):
            try:
                await session.key_sources.choose(wkd=wkd, vks=vks, proxy=proxy)
            except BadSetting as error:
                raise CommandRefused("bad-setting", sentence(error)) from error
        return _described(session)

    async def keys_refresh(
        self, arguments: dict[str, Any], progress: Progress
    ) -> list[dict[str, Any]]:
        session = self._sessions.get(text(arguments, "address"))
        of = text_or_none(arguments, "of")
        try:
            if of is not None:
                refreshed = [await session.refresh.refresh(of)]
            else:
                refreshed = await session.refresh.refresh_all(
                    lambda done, total: progress({"kind": "keys", "items": done, "total": total})
                )
        except KeyManagerError as error:
            raise CommandRefused("no-key", sentence(error)) from error
        return [msgspec.to_builtins(one) for one in refreshed]


def _described(session: AccountSession) -> dict[str, Any]:
    choice = session.key_sources.choice
    return {
        "address": session.address,
        "wkd": choice.wkd,
        "vks": choice.vks,
        "proxy": _without_password(choice.proxy),
        "sources": [source.name for source in session.keys.finding.sources()],
    }


def _without_password(proxy: str) -> str:
    parts = urlsplit(proxy)
    if parts.password is None:
        return proxy
    return f"{parts.scheme}://{parts.username}:...@{parts.hostname}:{parts.port}"
