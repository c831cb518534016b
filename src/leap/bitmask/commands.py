"""What the daemon does for the `bitmask` command: one coroutine a command, plain values in and out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from leap.bitmask.contents import contents_held, contents_policy
from leap.bitmask.device_commands import device_commands
from leap.bitmask.doctor import Doctor
from leap.bitmask.key_commands import key_commands
from leap.bitmask.key_source_commands import key_refresh_command, key_source_commands
from leap.bitmask.local_api import Command, Progress, text, text_or_none
from leap.bitmask.own_key_commands import key_for_sign_up, own_key_commands
from leap.bitmask.own_key_state import own_key_state
from leap.bitmask.porting_commands import porting_commands
from leap.bitmask.quarantine_commands import quarantine_commands
from leap.bitmask.sentences import sync_sentence
from leap.bitmask.session import AccountSession

if TYPE_CHECKING:
    from leap.bitmask.daemon import Daemon


class Commands:
    """The commands of one daemon."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._sessions = daemon.sessions

    def table(self) -> dict[str, Command]:
        plain: dict[str, Callable[[dict[str, Any]], Any]] = {
            "ping": self.ping,
            "stop": self.stop,
            "status": self.status,
            "user-create": self.user_create,
            "user-auth": self.user_auth,
            "user-logout": self.user_logout,
            "user-list": self.user_list,
            "mail-settings": self.mail_settings,
            "mail-status": self.mail_status,
            "sync-status": self.sync_status,
            "sync-resume": self.sync_resume,
            "sync-fingerprint": self.sync_fingerprint,
            "sync-contents": self.sync_contents,
            "recovery-restore": self.recovery_restore,
            **device_commands(self._sessions),
            **quarantine_commands(self._sessions),
            **key_commands(self._sessions),
            **own_key_commands(self._sessions),
            **key_source_commands(self._sessions),
        }
        return {
            **{name: _without_progress(command) for name, command in plain.items()},
            "sync-now": self.sync_now,
            "sync-refound": self.sync_refound,
            **key_refresh_command(self._sessions),
            **Doctor(self._sessions).table(),
            **porting_commands(self._sessions),
        }

    async def ping(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return {"pid": os.getpid()}

    async def stop(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self._daemon.stopping.set()
        return {}

    async def status(self, arguments: dict[str, Any]) -> dict[str, Any]:
        accounts = []
        for address in self._daemon.home.accounts():
            session = self._sessions.find(address)
            if session is None:
                accounts.append({"address": address, "unlocked": False})
            else:
                sync = await session.account.sync_status()
                accounts.append(
                    {
                        "address": address,
                        "unlocked": True,
                        "sync": msgspec.to_builtins(sync),
                        "sentence": sync_sentence(sync),
                        "notice": session.notice,
                        "key": await own_key_state(session),
                        "key_alerts": await session.keys.alerts(),
                    }
                )
        return {"pid": os.getpid(), "accounts": accounts, **self._servers()}

    def _servers(self) -> dict[str, Any]:
        return {
            name: {"host": host, "port": port, "tls": self._daemon.servers.tls}
            for name, (host, port) in self._daemon.addresses.items()
        }

    async def user_create(self, arguments: dict[str, Any]) -> dict[str, Any]:
        key = await key_for_sign_up(arguments, time.time())
        session, recovery_code = await self._sessions.create(
            text(arguments, "address"),
            text(arguments, "passphrase"),
            api=text(arguments, "api"),
            ca=text_or_none(arguments, "ca"),
            device_name=text(arguments, "device_name"),
            key=key,
        )
        return {**await self._described(session), "recovery_code": recovery_code}

    async def user_auth(self, arguments: dict[str, Any]) -> dict[str, Any]:
        address, passphrase = text(arguments, "address"), text(arguments, "passphrase")
        if address in self._daemon.home.accounts():
            session = await self._sessions.unlock(address, passphrase)
        else:
            session = await self._sessions.enrol(
                address,
                passphrase,
                api=text(arguments, "api"),
                ca=text_or_none(arguments, "ca"),
                device_name=text(arguments, "device_name"),
            )
        return await self._described(session)

    async def recovery_restore(self, arguments: dict[str, Any]) -> dict[str, Any]:
        session = await self._sessions.restore(
            text(arguments, "address"),
            text(arguments, "words"),
            text(arguments, "passphrase"),
            api=text(arguments, "api"),
            ca=text_or_none(arguments, "ca"),
            device_name=text(arguments, "device_name"),
        )
        return await self._described(session)

    async def user_logout(self, arguments: dict[str, Any]) -> dict[str, Any]:
        account = self._session(arguments).account
        revoked = await self._sessions.log_out(account.address)
        self._daemon.servers.end_sessions(account, "The account was logged out.")
        return {"revoked": revoked}

    async def user_list(self, arguments: dict[str, Any]) -> list[dict[str, Any]]:
        return [await self._listed(address) for address in self._daemon.home.accounts()]

    async def _listed(self, address: str) -> dict[str, Any]:
        session = self._sessions.find(address)
        if session is None:
            return {"address": address, "unlocked": False}
        return {"address": address, "unlocked": True, "key": await own_key_state(session)}

    async def mail_settings(self, arguments: dict[str, Any]) -> dict[str, Any]:
        session = self._session(arguments)
        if arguments.get("new_password"):
            await session.renew_app_password()
            self._daemon.servers.end_sessions(
                session.account, "The password was replaced; log in with the new one."
            )
        servers = self._daemon.servers
        return {
            **self._mail_program(session),
            "autoconfig": servers.autoconfig_url(session.address),
            "sockets": {name: str(path) for name, path in servers.sockets.items()},
            **servers.certificate_told(),
        }

    async def mail_status(self, arguments: dict[str, Any]) -> dict[str, Any]:
        session = self._session(arguments)
        account = session.account
        mailboxes = []
        for info in await account.list_mailboxes():
            status = await account.status(info.mailbox_id)
            mailboxes.append(
                {"name": info.name, "messages": status.messages, "unseen": status.unseen}
            )
        sync = await account.sync_status()
        return {
            "address": account.address,
            "mailboxes": mailboxes,
            "sync": {**msgspec.to_builtins(sync), "sentence": sync_sentence(sync)},
            "outbox": [msgspec.to_builtins(entry) for entry in await account.outbox()],
            "quarantine": await session.quarantined(),
        }

    async def sync_status(self, arguments: dict[str, Any]) -> dict[str, Any]:
        return await _sync_of(self._session(arguments))

    async def sync_now(self, arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
        session = self._session(arguments)
        with session.sync_progress(progress):
            await session.account.sync_now()
        return await _sync_of(session)

    async def sync_resume(self, arguments: dict[str, Any]) -> dict[str, Any]:
        session = self._session(arguments)
        alarm_was = await session.resume_sync()
        return {**await _sync_of(session), "alarm_was": alarm_was}

    async def sync_fingerprint(self, arguments: dict[str, Any]) -> dict[str, Any]:
        session = self._session(arguments)
        return {"address": session.address, **await session.sync_fingerprint()}

    async def sync_contents(self, arguments: dict[str, Any]) -> dict[str, Any]:
        session = self._session(arguments)
        if (wanted := contents_policy(arguments)) is not None:
            await session.store.set_policy(wanted)
        return {"address": session.address, **await contents_held(session.store)}

    async def sync_refound(self, arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
        session = self._session(arguments)
        with session.sync_progress(progress):
            await self._sessions.refound(
                session.address,
                text(arguments, "passphrase"),
                text_or_none(arguments, "new_passphrase"),
            )
        return await _sync_of(session)

    async def _described(self, session: AccountSession) -> dict[str, Any]:
        sync = await session.account.sync_status()
        return {
            "address": session.address,
            "fingerprint": await session.fingerprint(),
            "online": sync.online,
            "notice": session.notice,
            "key": await own_key_state(session),
            **self._mail_program(session),
        }

    def _mail_program(self, session: AccountSession) -> dict[str, Any]:
        login = {"user": session.address, "password": session.app_password}
        return {name: {**server, **login} for name, server in self._servers().items()}

    def _session(self, arguments: dict[str, Any]) -> AccountSession:
        return self._sessions.get(text(arguments, "address"))


async def _sync_of(session: AccountSession) -> dict[str, Any]:
    status = await session.account.sync_status()
    return {
        "address": session.address,
        **msgspec.to_builtins(status),
        "sentence": sync_sentence(status),
    }


def _without_progress(command: Callable[[dict[str, Any]], Any]) -> Command:
    async def run(arguments: dict[str, Any], progress: Progress) -> Any:
        return await command(arguments)

    return run
