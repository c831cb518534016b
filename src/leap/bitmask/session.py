"""One unlocked account, and everything that works for it: sync, the way in, the way out, its keys.

`leap.bitmask.sessions` has all accounts of a daemon.

Invariant: what fails in the background is tried again, later and later; it never ends the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from leap.bitmask.app_password import app_password, matches, new_seed
from leap.bitmask.home import Lock
from leap.bitmask.key_care import KeyCare
from leap.bitmask.key_sources import KeySources
from leap.bitmask.local_api import CommandRefused
from leap.bitmask.provider_client.submission import ProviderSubmission
from leap.keymanager.keys import KeyManager
from leap.keymanager.refresh import Refresh
from leap.mail.contract import SyncDevice, SyncStatus
from leap.mail.incoming.pipeline import IncomingMail
from leap.mail.local import LocalAccount
from leap.mail.outgoing.accepting import Outgoing
from leap.mail.outgoing.outbox import Outbox
from leap.mail.outgoing.sender import Sender
from leap.soledad.account_keys import AccountKeys
from leap.soledad.enrol import log_in_again
from leap.soledad.errors import AuthFailed, ChangeUnderWay, SoledadError, WrongKey
from leap.soledad.generation import OldPassphrase, begin_generation
from leap.soledad.remote.client import ProviderClient
from leap.soledad.store import Soledad
from leap.soledad.syncing.loop import SyncEngine
from leap.soledad.syncing.status import EngineStatus
from leap.soledad.transaction import Transaction
from leap.soledad.vault import open_vault

logger = logging.getLogger(__name__)

DEVICE_REVOKED = "device-revoked"  # the provider's word
APP_PASSWORD_SEED = "bitmask.app-password-seed"  # noqa: S105 - the name of a setting
SYNC_PATIENCE = 10.0  # seconds somebody waits for a sync, which goes on without them
FIRST_PULL_PATIENCE = 30.0  # seconds `user auth` waits for a new device's mail before it answers
SETTLE_INTERVAL = 20.0  # seconds between looks whether a change took place whose reply was lost
FIRST_RETRY, LONGEST_RETRY = 2.0, 300.0  # seconds


class AccountSession:
    """An unlocked account. `start` begins the work in the background; `close` ends it and locks the store."""

    def __init__(
        self,
        address: str,
        store: Soledad,
        client: ProviderClient,
        lock: Lock,
        *,
        vault: Path,
        store_key: bytes,
    ) -> None:
        self.address = address
        self.notice = ""  # what a person must know about the log-in of this device, or nothing
        self.rejected = False  # the provider does not know this device's token any more
        self.vault = vault
        self.store_key = store_key
        self.store = store
        self.client = client
        self._lock = lock
        self.key_sources = KeySources(store)
        self.keys = KeyManager(store, address, client, remote=self.key_sources.sources)
        self.mail_keys = self.key_sources.mail_keys(self.keys.keyring, address)
        self.keys.mail_keys = self.mail_keys
        self.refresh = Refresh(self.keys, store, may_ask=self._is_online)
        self.engine = SyncEngine(store, client)
        self.account_keys = AccountKeys(store, client, self.engine, vault)
        self.outgoing = Outgoing(Outbox(store), self.keys, address)
        self.account = LocalAccount(store, address, self.outgoing)
        self._submission = ProviderSubmission(client, address)
        self.sender = Sender(
            self.outgoing,
            self.keys,
            self._submission,
            self.account,
            row_key=store.row_key,
            may_send=self._settled,
        )
        self.incoming = IncomingMail(
            self.account, store, self.keys, client, self.engine, may_claim=self._settled
        )
        self.key_care = KeyCare(self.keys, self._settled, self.engine.sync_log)
        self._seed = b""
        self._tasks: list[asyncio.Task[None]] = []
        self._change_open = asyncio.Event()
        self._was_online = False
        self._unsubscribe: list[Callable[[], None]] = []

    @property
    def app_password(self) -> str:
        """What a mail program logs in with."""
        return app_password(self._seed, self.address)

    def accepts(self, password: str) -> bool:
        return matches(self._seed, self.address, password)

    async def start(self) -> None:
        """Begins all work; returns at once."""
        await self._load_app_password()
        await self.key_sources.load()
        self.account.attach_sync(self)
        await self.engine.refresh_status()
        self._unsubscribe = [
            self.engine.on_notice(self._notice),
            self.engine.on_status(self._status_changed),
            self.engine.on_progress(lambda _: self.account.announce_sync()),
        ]
        for name, work in (
            ("sync", self.engine.run),
            ("sending", self.sender.run),
            ("receiving", self.incoming.run),
            ("keys", self.key_care.run),
            ("refreshing keys", self.refresh.run),
            ("settling changes", self._settle_changes),
        ):
            self._tasks.append(
                asyncio.create_task(self._kept_going(name, work), name=f"{name} {self.address}")
            )

    async def close(self) -> None:
        """Ends the work, the mail programs' sessions on this account, and locks the store."""
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        await self.engine.close()
        await self.account.close()
        self.keys.close()
        await self.key_sources.close()
        await self._submission.close()
        await self.client.close()
        await self.store.close()
        self._lock.release()

    # -- leap.mail.local.Syncing --------------------------------------------------------------

    async def sync_now(self) -> None:
        """One sync, now. What stands in its way is in `sync_status`."""
        try:
            async with asyncio.timeout(SYNC_PATIENCE):
                await self.engine.sync()
        except (SoledadError, TimeoutError) as error:
            self.rejected = isinstance(error, AuthFailed)
            logger.info("sync of %s: %s", self.address, error)
        else:
            self.rejected = False

    async def sync_status(self) -> SyncStatus:
        status = await self.engine.refresh_status()
        error = status.error
        if status.logged_out:
            error += f"; run `bitmask user auth {self.address}`"
        return SyncStatus(
            online=status.online,
            provisional=status.provisional,
            last_sync=status.last_sync,
            pending=status.pending,
            blobs_to_send=status.blobs_to_send,
            blobs_to_fetch=status.blobs_to_fetch,
            contents_missing=status.contents_missing,
            alarm=status.alarm,
            error=error,
            running=status.running,
            devices=tuple(SyncDevice(**asdict(device)) for device in status.devices),
        )

    async def resume_sync(self) -> str:
        """A person decided that sync shall go on: ends the alarm and answers what it was, "" if there was none."""
        alarm = await self.engine.clear_alarm()
        await self.engine.retry_contents()
        await self.sync_now()
        return alarm

    @contextlib.contextmanager
    def sync_progress(self, tell: Callable[[dict[str, Any]], None]) -> Iterator[None]:
        """While it lasts, `tell` hears what comes and goes."""
        end = self.engine.on_progress(lambda progress: tell(asdict(progress)))
        try:
            yield
        finally:
            end()

    async def sync_fingerprint(self) -> dict[str, Any]:
        """Eight words for comparing two devices, and what they stand for."""
        found = await self.engine.fingerprint()
        return {
            "words": list(found.words),
            "generation": found.generation,
            "seq": found.seq,
            "unsynced": found.unsynced,
        }

    async def refound(self, passphrase: str, new_passphrase: str | None = None) -> None:
        """Makes this device's state the account's log at the provider, under the passphrase that opens this device.

        Raises what `SyncEngine.refound` does, ChangeUnderWay, CommandRefused for another new passphrase, and
        OldPassphrase when the provider takes one that does not open this device.
        """
        if await self.account_keys.settle(passphrase) == "open":
            raise ChangeUnderWay("whether a change before took place is not known yet")
        try:
            await open_vault(self.vault, new_passphrase or passphrase)
        except WrongKey:
            if new_passphrase is not None:
                raise CommandRefused(
                    "wrong-passphrase",
                    "The passphrase from now on has to be the one that opens the account on this device; `bitmask"
                    " passphrase change` sets another one afterwards.",
                ) from None
            if await self.account_keys.is_passphrase(passphrase):
                raise OldPassphrase(
                    "the provider takes another passphrase than this device"
                ) from None
            raise AuthFailed("bad-login", "the passphrase is wrong", 401) from None
        await self.engine.refound(
            lambda: begin_generation(self.store, self.client, passphrase, new_passphrase)
        )

    # -- for the commands ---------------------------------------------------------------------

    async def fingerprint(self) -> str:
        """Of the own key; "" while a new device has not heard of it yet."""
        keys = await self.keys.own_keys()
        return keys[0].fingerprint if keys else ""

    async def first_sync(self) -> None:
        """Waits until the mail of a new device is here, but not longer than a person would."""
        try:
            async with asyncio.timeout(FIRST_PULL_PATIENCE):
                await self.engine.sync()
        except (SoledadError, TimeoutError) as error:
            logger.info("the first sync of %s goes on in the background: %s", self.address, error)

    async def log_in(self, passphrase: str) -> bool:
        """A new token if this device has none; False if the provider cannot be reached now.

        Raises AuthFailed when the passphrase was changed elsewhere, Refused when this device was removed.
        """
        material = self.store.material
        assert material is not None, "an account's store has material from the first moment"
        if material.token is not None and not self.rejected:
            return True
        try:
            token = await log_in_again(self.client, material, passphrase)
        except SoledadError as error:
            if isinstance(error, AuthFailed) or getattr(error, "error", "") == DEVICE_REVOKED:
                raise
            logger.info("no log-in of %s now: %s", self.address, error)
            return False
        await self.store.update_material(lambda current: current.with_token(token))
        self.rejected = False
        self.notice = ""
        return True

    async def log_out(self) -> bool:
        """Withdraws this device's token, here for certain, and at the provider if it can be reached."""
        material = self.store.material
        assert material is not None, "an account's store has material from the first moment"
        try:
            await self.client.log_out()
            revoked = True
        except SoledadError as error:
            logger.info("the provider was not told of the log-out of %s: %s", self.address, error)
            revoked = False
        await self.store.update_material(lambda current: current.with_token(None))
        return revoked

    async def settle(self, passphrase: str) -> None:
        """Finds out what became of a change of passphrase or keys that a crash or a lost reply left open."""
        of = await self.account_keys.pending()
        outcome = await self.account_keys.settle(passphrase)
        if outcome == "open":
            self.settle_later()
        if of == "passphrase" and outcome is not None:
            self.notice = {
                "done": "The change of the passphrase that was under way took place: the new one holds now.",
                "undone": "The change of the passphrase that was under way did not take place: the old one holds.",
                "open": "Whether the change of the passphrase took place is not known until the provider answers;"
                " until then the old one and the new one unlock this device.",
            }[outcome]

    def settle_later(self) -> None:
        """The outcome of a change is not known: it is looked for until it is."""
        self._change_open.set()

    async def renew_app_password(self) -> None:
        """Makes a new app password; the old one ends now."""
        seed = new_seed()
        await self._save_setting(APP_PASSWORD_SEED, seed)
        self._seed = seed

    async def quarantined(self) -> int:
        """How many mails could not be opened yet."""
        return len(await self.incoming.quarantined.items())

    # -- in the background --------------------------------------------------------------------

    def _settled(self) -> bool:
        """A device that has not finished its first pull shows, but neither claims the inbox nor sends."""
        return not self.engine.status.provisional

    def _is_online(self) -> bool:
        return self.engine.status.online and self._settled()

    def _notice(self, kind: str, data: int) -> None:
        if kind in ("inbox", "hello"):
            self.incoming.wake()

    def _status_changed(self, status: EngineStatus) -> None:
        """Coming online, and the end of the first pull, let everything that waits try again."""
        self.account.announce_sync()
        online = status.online and not status.provisional
        if online and not self._was_online:
            self.key_care.wake()
            self.incoming.wake()
            self._tasks.append(asyncio.create_task(self.sender.came_online()))
        self._was_online = online
        self._tasks = [task for task in self._tasks if not task.done()]

    async def _settle_changes(self) -> None:
        while True:
            await self._change_open.wait()
            if await self.account_keys.settle() != "open":
                self._change_open.clear()
                self.notice = ""
                continue
            await asyncio.sleep(SETTLE_INTERVAL)

    async def _kept_going(self, name: str, work: Callable[[], Awaitable[Any]]) -> None:
        delay = FIRST_RETRY
        while True:
            try:
                await work()
            except Exception:
                logger.exception("%s of %s failed and is tried again", name, self.address)
            else:
                return  # its part of the account was closed
            await asyncio.sleep(delay * (0.75 + random.random() / 2))  # noqa: S311 - jitter
            delay = min(LONGEST_RETRY, delay * 2)

    async def _load_app_password(self) -> None:
        seed = await self.store.setting(APP_PASSWORD_SEED)
        if seed is None:
            seed = new_seed()
            await self._save_setting(APP_PASSWORD_SEED, seed)
        self._seed = seed

    async def _save_setting(self, name: str, value: Any) -> None:
        def job(tx: Transaction) -> None:
            tx.set_setting(name, value)

        await self.store.transact(job, durable=True)
