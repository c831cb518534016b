"""All accounts of a daemon: sign-up, enrolment, unlocking, log-out, and who logs in to IMAP and SMTP.

Invariants:
* An account's folder appears whole or not at all (`account_folder`).
* A passphrase lives as long as the command that brought it or, offline, until the log-in it is for.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from leap.bitmask.account_folder import give_key, make_account_folder
from leap.bitmask.home import Home, HomeError, Lock, normal_address
from leap.bitmask.local_api import CommandRefused
from leap.bitmask.refusals import check_new_passphrase, refusals, wrong_here
from leap.bitmask.sentences import sentence
from leap.bitmask.session import AccountSession
from leap.keymanager.openpgp import SecretKey
from leap.mail.contract import AccountBackend
from leap.mail.local import open_mail_store
from leap.soledad.enrol import enrol_device, sign_up
from leap.soledad.errors import (
    AuthFailed,
    ChangeUnderWay,
    Refused,
    Unreachable,
    WrongKey,
)
from leap.soledad.generation import OldPassphrase
from leap.soledad.maintenance.rebuild import rebuild
from leap.soledad.remote.client import ProviderClient
from leap.soledad.restore import restore_account
from leap.soledad.store import Soledad
from leap.soledad.vault import open_either_vault

FAILED_LOGIN_DELAY = 1.0  # seconds; with 120-bit passwords this only slows mistakes and noise
RETRY_LOGIN = 30.0  # seconds between tries to log in at a provider that could not be reached


class AccountSessions:
    """The unlocked accounts of one home, by address."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._open: dict[str, AccountSession] = {}
        self._changing: dict[str, asyncio.Lock] = {}
        self._logins: dict[str, asyncio.Task[None]] = {}

    def find(self, address: str) -> AccountSession | None:
        return self._open.get(address.strip().lower())

    def get(self, address: str) -> AccountSession:
        """Raises CommandRefused when the account is locked or not here."""
        session = self.find(address)
        if session is not None:
            return session
        if address in self._home.accounts():
            raise CommandRefused(
                "locked", f"{address} is locked; unlock it with `bitmask user auth {address}`."
            )
        raise CommandRefused("unknown-account", f"There is no account {address} here.")

    async def authenticate(self, user: str, password: str) -> AccountBackend | None:
        """The account a mail program logs in to, or None, after a delay."""
        session = self.find(user)
        if session is not None and session.accepts(password):
            return session.account
        await asyncio.sleep(FAILED_LOGIN_DELAY)
        return None

    async def create(
        self,
        address: str,
        passphrase: str,
        *,
        api: str,
        ca: str | None,
        device_name: str,
        key: tuple[SecretKey, str] | None = None,
    ) -> tuple[AccountSession, str]:
        """Signs up; answers the session and the recovery code, which is told once.

        `key`: one to be the account's, and where it is from; else one is made.
        """
        check_new_passphrase(passphrase)
        async with self._change(address), refusals():
            self._check_new(address)
            async with self._client(api, ca) as client:
                enrolled = await sign_up(client, address, passphrase, device_name)

                async def with_key(store: Soledad) -> None:
                    await give_key(store, address, key)

                await make_account_folder(
                    self._home.account(address), passphrase, enrolled, client.token, with_key
                )
            session = await self._start(address, passphrase)
            await session.sync_now()
            await session.key_care.care()  # what fails is done later, and shown until then
            await session.sync_now()
            assert enrolled.recovery_code is not None
            return session, enrolled.recovery_code

    async def enrol(
        self, address: str, passphrase: str, *, api: str, ca: str | None, device_name: str
    ) -> AccountSession:
        """Makes this device one of the account's, with nothing but the passphrase."""
        async with self._change(address), refusals():
            self._check_new(address)
            async with self._client(api, ca) as client:
                enrolled = await enrol_device(client, address, passphrase, device_name)
                await make_account_folder(
                    self._home.account(address), passphrase, enrolled, client.token
                )
            session = await self._start(address, passphrase)
            await session.first_sync()
            return session

    async def unlock(self, address: str, passphrase: str) -> AccountSession:
        """Opens the store of an account that is here; works without the provider too."""
        async with self._change(address), refusals():
            if address not in self._home.accounts():
                raise CommandRefused("unknown-account", f"There is no account {address} here.")
            if (session := self._open.get(address)) is not None:
                await self._check_asker(session, passphrase)
            else:
                try:
                    session = await self._start(address, passphrase)
                except WrongKey as error:
                    raise CommandRefused("wrong-passphrase", wrong_here(address)) from error
                await session.sync_now()
            if session.rejected:
                await self._log_in(session, passphrase)
                await session.sync_now()
            return session

    @contextlib.asynccontextmanager
    async def changing(self, address: str) -> AsyncIterator[AccountSession]:
        """An unlocked account, for a command that changes its keys: one at a time, its refusals in sentences."""
        async with self._change(address), refusals():
            session = self.get(address)
            try:
                yield session
            except ChangeUnderWay:
                session.settle_later()
                raise

    async def restore(
        self,
        address: str,
        words: str,
        passphrase: str,
        *,
        api: str,
        ca: str | None,
        device_name: str,
    ) -> AccountSession:
        """Makes this device one of the account's by the recovery code, and sets a new passphrase."""
        check_new_passphrase(passphrase)
        async with self._change(address), refusals():
            if address in self._home.accounts():
                raise CommandRefused(
                    "exists",
                    f"{address} is set up here already. If its passphrase is lost, move {self._home.account(address)}"
                    " away first, or restore it on another machine.",
                )
            async with self._client(api, ca) as client:
                try:
                    enrolled = await restore_account(
                        client, address, words, passphrase, device_name
                    )
                except AuthFailed as error:
                    raise CommandRefused(
                        "wrong-words",
                        f"These words do not open {address}: it is another address, or the recovery code was replaced.",
                    ) from error
                except WrongKey as error:
                    raise CommandRefused("wrong-words", sentence(error)) from error
                await make_account_folder(
                    self._home.account(address), passphrase, enrolled, client.token
                )
            session = await self._start(address, passphrase)
            await session.first_sync()
            return session

    async def log_out(self, address: str) -> bool:
        """Ends the account's sessions and its log-in, and locks it; True if the provider was told."""
        async with self._change(address):
            session = self.get(address)
            del self._open[session.address]
            await self._forget_login(session.address)
            try:
                return await session.log_out()
            finally:
                await session.close()

    async def rebuild(self, address: str) -> list[str]:
        """Derives anew what is derived. Mail programs are logged out meanwhile: their UIDs end."""
        async with self._change(address), refusals():
            session = self.get(address)
            del self._open[session.address]
            await self._forget_login(session.address)
            await session.close()
            try:
                store = await open_mail_store(self._home.store(session.address), session.store_key)
                try:
                    return await rebuild(store)
                finally:
                    await store.close()
            finally:
                await self._start_again(session.address, session.store_key)

    async def close(self) -> None:
        """Locks all accounts."""
        sessions, self._open = list(self._open.values()), {}
        for address in list(self._logins):
            await self._forget_login(address)
        await asyncio.gather(*(session.close() for session in sessions))

    # -- steps --------------------------------------------------------------------------------

    def _check_new(self, address: str) -> None:
        if address in self._home.accounts():
            raise CommandRefused(
                "exists",
                f"{address} is set up here already; unlock it with `bitmask user auth {address}`.",
            )

    async def _start(self, address: str, passphrase: str) -> AccountSession:
        """Opens an account by its passphrase, and logs the device in if it is not."""
        async with contextlib.AsyncExitStack() as undoing:
            lock = self._take(address)
            undoing.callback(lock.release)
            key, beside = await open_either_vault(self._home.vault(address), passphrase)
            session = await self._opened(address, key, lock)
            undoing.push_async_callback(session.close)
            undoing.push_async_callback(self._forget_login, address)
            if beside and await session.account_keys.pending() is None:
                await session.account_keys.settle()  # it was not begun: the new vault goes
                raise CommandRefused(
                    "wrong-passphrase",
                    "The change of the passphrase did not take place; unlock with the old one.",
                )
            await session.settle(passphrase)
            await self._log_in(session, passphrase)
            await session.start()
            undoing.pop_all()
        self._open[address] = session
        return session

    async def _start_again(self, address: str, key: bytes) -> AccountSession:
        """Opens an account by the key that its passphrase gave before."""
        async with contextlib.AsyncExitStack() as undoing:
            lock = self._take(address)
            undoing.callback(lock.release)
            session = await self._opened(address, key, lock)
            undoing.push_async_callback(session.close)
            await session.start()
            undoing.pop_all()
        self._open[address] = session
        return session

    def _take(self, address: str) -> Lock:
        lock = Lock(self._home.account(address) / "lock")
        if not lock.take():
            raise CommandRefused(
                "busy", f"Another program has the store of {address} open; end it first."
            )
        return lock

    async def _opened(self, address: str, key: bytes, lock: Lock) -> AccountSession:
        """The account on its open store, nothing begun yet; the lock is the session's then."""
        store = await open_mail_store(self._home.store(address), key)
        material = store.material
        if material is None:
            await store.close()
            raise CommandRefused(
                "damaged", f"The store of {address} holds no keys; restore it from a copy."
            )
        client = ProviderClient(material.api_url, ca_pem=material.ca_pem, token=material.token)
        return AccountSession(
            address, store, client, lock, vault=self._home.vault(address), store_key=key
        )

    async def _log_in(self, session: AccountSession, passphrase: str) -> None:
        """Logs the device in if it is not, later if the provider cannot be reached now."""
        if not await self._tried_log_in(session, passphrase):
            await self._forget_login(session.address)
            task = asyncio.create_task(self._log_in_later(session, passphrase))
            self._logins[session.address] = task

    async def _tried_log_in(self, session: AccountSession, passphrase: str) -> bool:
        """False if the provider cannot be reached. What else stands in the way is told; the mail here can be read."""
        address = session.address
        try:
            return await session.log_in(passphrase)
        except AuthFailed:
            session.notice = (
                f"The passphrase of {address} was changed on another device: your mail here can be read, but nothing"
                f" new comes until you run `bitmask user auth {address}` once more, with the new passphrase."
            )
        except Refused:
            session.notice = (
                f"This device was removed from {address}: your mail here can be read, but nothing new comes. To use the"
                f" account here again, move {self._home.account(address)} away and run `bitmask user auth {address}`."
            )
        return True

    async def _check_asker(self, session: AccountSession, passphrase: str) -> None:
        """Of an account that is unlocked: whether its passphrase was typed, or one that another device has set."""
        try:
            await open_either_vault(session.vault, passphrase)
        except WrongKey:
            try:
                await session.account_keys.take_passphrase(passphrase, session.store_key)
            except (AuthFailed, Unreachable) as error:
                raise CommandRefused("wrong-passphrase", wrong_here(session.address)) from error
            session.notice, session.rejected = "", False
            await session.sync_now()
            return
        if await session.account_keys.pending() is not None:
            await session.settle(passphrase)
        if session.store.material is not None and session.store.material.token is None:
            session.rejected = True

    async def _log_in_later(self, session: AccountSession, passphrase: str) -> None:
        """For a device that was logged out, and is unlocked while its provider cannot be reached."""
        while not await self._tried_log_in(session, passphrase):  # noqa: ASYNC110 - nothing tells when it is back
            await asyncio.sleep(RETRY_LOGIN)
        await session.sync_now()

    async def refound(
        self, address: str, passphrase: str, new_passphrase: str | None
    ) -> AccountSession:
        """Founds the log of an unlocked account anew from this device. Raises CommandRefused.

        Afterwards the account opens at the provider by the passphrase which opens it here.
        """
        async with self._change(address), refusals():
            session = self.get(address)
            try:
                await session.refound(passphrase, new_passphrase)
            except ChangeUnderWay:
                session.settle_later()
                raise
            except OldPassphrase as error:
                raise CommandRefused(
                    "old-passphrase",
                    "The provider was set back to before your passphrase was changed: run this again with"
                    " --set-passphrase, and give the passphrase of that time, then the one that opens the account on"
                    " this device. (If it was changed on another device instead, run `bitmask user auth` with the new"
                    " one first.)",
                ) from error
            except AuthFailed as error:
                raise CommandRefused(
                    "wrong-passphrase",
                    "The provider does not take this passphrase. If it was restored from a backup, it knows the"
                    " one from that time.",
                ) from error
        return session

    async def _forget_login(self, address: str) -> None:
        if (task := self._logins.pop(address, None)) is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _client(self, api: str, ca: str | None) -> ProviderClient:
        return ProviderClient(api, ca_pem=ca.encode() if ca is not None else None)

    @contextlib.asynccontextmanager
    async def _change(self, address: str) -> AsyncIterator[None]:
        """One change of an account at a time."""
        try:
            address = normal_address(address)
        except HomeError as error:
            raise CommandRefused("bad-address", str(error)) from error
        async with self._changing.setdefault(address, asyncio.Lock()):
            yield
