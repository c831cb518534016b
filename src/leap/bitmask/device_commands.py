"""What the daemon does for `bitmask device`, `bitmask passphrase` and `bitmask recovery` on an unlocked account.

A passphrase lives as long as its command. What changes keys waits for its turn (`AccountSessions.changing`).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import msgspec

from leap.bitmask.local_api import CommandRefused, text, text_or_none
from leap.bitmask.refusals import check_new_passphrase
from leap.bitmask.sessions import AccountSessions
from leap.soledad.devices import find_device, list_devices, rename_device, revoke_device
from leap.soledad.errors import SoledadError
from leap.soledad.passphrase import change_passphrase, replace_recovery_code, show_recovery_code

LIST_PATIENCE = 5.0  # seconds a list of devices waits for the newest keyset


def device_commands(sessions: AccountSessions) -> dict[str, Callable[[dict[str, Any]], Any]]:
    """The commands by name."""
    commands = DeviceCommands(sessions)
    return {
        "device-list": commands.device_list,
        "device-rename": commands.device_rename,
        "device-revoke": commands.device_revoke,
        "passphrase-change": commands.passphrase_change,
        "recovery-show": commands.recovery_show,
    }


class DeviceCommands:
    """The commands on the accounts of one daemon."""

    def __init__(self, sessions: AccountSessions) -> None:
        self._sessions = sessions

    async def device_list(self, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        session = self._sessions.get(text(arguments, "address"))
        with contextlib.suppress(SoledadError, TimeoutError):  # else as of the last sync
            async with asyncio.timeout(LIST_PATIENCE):
                await session.engine.refresh_keyset()
        return [msgspec.to_builtins(device) for device in await list_devices(session.store)]

    async def device_rename(self, arguments: dict[str, Any]) -> dict[str, Any]:
        name = str(arguments.get("name", ""))
        async with self._sessions.changing(text(arguments, "address")) as session:
            device = await find_device(session.store, text(arguments, "device"))
            try:
                await rename_device(session.store, device.device_id, name)
            except ValueError as error:
                raise CommandRefused("bad-name", f"{str(error).capitalize()}.") from error
            session.engine.wake()
            renamed = await find_device(session.store, device.device_id)
            return {"device_id": device.device_id, "name": renamed.name, "was": device.name}

    async def device_revoke(self, arguments: dict[str, Any]) -> dict[str, Any]:
        new = text_or_none(arguments, "new_passphrase")
        if new is not None:
            check_new_passphrase(new, before=text(arguments, "passphrase"))
        async with self._sessions.changing(text(arguments, "address")) as session:
            await session.engine.sync()  # a device that was just enrolled or named is known by it
            device = await find_device(session.store, text(arguments, "device"))
            code = await revoke_device(
                session.account_keys,
                device.device_id,
                text(arguments, "passphrase"),
                new,
                session.engine.sync,
            )
            return {"device_id": device.device_id, "name": device.name, "recovery_code": code}

    async def passphrase_change(self, arguments: dict[str, Any]) -> dict[str, Any]:
        new, leaked = text(arguments, "new_passphrase"), bool(arguments.get("leaked"))
        check_new_passphrase(new, before=text(arguments, "passphrase"))
        async with self._sessions.changing(text(arguments, "address")) as session:
            code = await change_passphrase(
                session.account_keys, text(arguments, "passphrase"), new, leaked=leaked
            )
            if leaked:
                await session.sync_now()  # other devices hear of the new epoch by it
            return {"address": session.address, "recovery_code": code}

    async def recovery_show(self, arguments: dict[str, Any]) -> dict[str, Any]:
        passphrase = text(arguments, "passphrase")
        async with self._sessions.changing(text(arguments, "address")) as session:
            if arguments.get("new"):
                code = await replace_recovery_code(session.account_keys, passphrase)
            else:
                kept = await show_recovery_code(session.account_keys, passphrase)
                if kept is None:
                    raise CommandRefused(
                        "no-code",
                        "The recovery code of this account cannot be shown: it was made before codes were kept, or"
                        " the provider was set back to before it was replaced;"
                        " `bitmask recovery show --new` makes a new one.",
                    )
                code = kept
            return {"address": session.address, "recovery_code": code}
