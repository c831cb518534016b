"""One provider: its storage and everything on it, without sockets. HTTP and the mail side stand on this.

Invariants:
* A notice to devices is sent after the change it tells of is durable, never before.
* All of a provider lies in one folder, 0700; removing the folder removes the provider.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from leap.mail.smtp.scram import ScramAccount
from leap.provider.accounts import Accounts
from leap.provider.aliases import Aliases, create_alias_table
from leap.provider.contract import Delivery, LocalAccount
from leap.provider.events import Events
from leap.provider.inbox import MAX_LEASE, Inbox
from leap.provider.keys.directory import KeyDirectory
from leap.provider.login import LoginDesk
from leap.provider.storage.blobs import Blobs
from leap.provider.storage.compaction import Freed, compact, is_worth_it
from leap.provider.storage.files import FileStore
from leap.provider.storage.orphans import sweep
from leap.provider.storage.room import Room
from leap.provider.storage.schema import create_tables
from leap.provider.storage.uploads import Uploads
from leap.provider.sync.log import Log
from leap.provider.throttle import SIGNUP_BURST, SIGNUP_RATE, Budget
from leap.provider.tokens import Tokens
from leap.soledad.errors import SoledadError
from leap.soledad.private_file import sync_folder
from leap.soledad.sqlite import Connection, Database
from leap.soledad.wire import (
    CommitReply,
    CommitRequest,
    InboxClaim,
    InboxItems,
    KeysetPut,
    LoginProof,
    LoginReply,
)

TIDY_EVERY = 3600.0  # seconds
READERS = 2

_log = logging.getLogger(__name__)


class Provider:
    """Satisfies `contract.MailDrop`. Make one with `await Provider.open(...)`, end it with `close`."""

    def __init__(
        self,
        db: Database,
        files: FileStore,
        room: Room,
        domain: str,
        secret: bytes,
        *,
        signup_open: bool,
        now: Callable[[], float],
    ) -> None:
        self._db = db
        self._files = files
        self._now = now
        self.domain = domain
        self.accounts = Accounts(db, domain, room, signup_open=signup_open, now=now)
        self.aliases = Aliases(db, now=now)
        self.tokens = Tokens(db, secret, now=now)
        self.login = LoginDesk(self.accounts, self.tokens, secret)
        self.signups = Budget(SIGNUP_BURST, SIGNUP_RATE, "sign-ups")
        self.log = Log(db, room, now=now)
        self.blobs = Blobs(db, files, room, now=now)
        self.uploads = Uploads(files, self.blobs, now=now)
        self.inbox = Inbox(db, files, room, now=now)
        self.directory = KeyDirectory(db, now=now)
        self.events = Events()
        self._lease_timers: dict[int, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(
        cls,
        folder: Path,
        domain: str,
        *,
        signup_open: bool = True,
        now: Callable[[], float] = time.time,
    ) -> Provider:
        """Opens or makes the provider in `folder`.

        Raises StoreLocked when another process has it open, NewerStore, OSError.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        db = await Database.open(folder / "provider.sqlite", key=None, readers=READERS)
        async with contextlib.AsyncExitStack() as on_failure:
            on_failure.push_async_callback(db.close)
            secret = await db.write(_prepare, durable=True)
            await asyncio.to_thread(sync_folder, folder)  # the names of database and WAL
            files = await asyncio.to_thread(FileStore, folder / "blobs")
            on_failure.pop_all()
        room = Room(folder)
        return cls(db, files, room, domain.lower(), secret, signup_open=signup_open, now=now)

    # -- contract.MailDrop ----------------------------------------------------------------------

    @property
    def db(self) -> Database:
        return self._db

    async def find_account(self, address: str) -> LocalAccount | None:
        """The account of a local address, or None."""
        return await self.accounts.find(address)

    async def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Puts all into their inboxes durably, then tells the devices."""
        waiting = await self.inbox.deliver(deliveries)
        for account, count in waiting.items():
            self.events.publish(account, "inbox", count)

    async def check_token(self, address: str, token: str) -> bool:
        """Whether `token` is a live device token of the account at `address`."""
        return await self.tokens.check(address, token)

    async def find_verifiers(self, address: str) -> ScramAccount:
        """What SCRAM needs of the account at `address`, or of one that does not exist."""
        return await self.tokens.find_verifiers(address)

    # -- what changes and is told ---------------------------------------------------------------

    async def commit(
        self, account: int, request: CommitRequest, *, by: bytes | None = None
    ) -> CommitReply:
        """`Log.commit`, told to all devices."""
        reply = await self.log.commit(account, request, by=by)
        self.events.publish(account, "head", reply.head_seq)
        return reply

    async def finish_login(self, proof: LoginProof, peer: str) -> LoginReply:
        """`LoginDesk.finish`; the device's former connections end."""
        reply, ended = await self.login.finish(proof, peer)
        self._end(ended)
        return reply

    async def log_out(self, token_hash: bytes) -> None:
        """Ends a token and the connections opened with it."""
        await self.tokens.end(token_hash)
        self._end([token_hash])

    async def put_keyset(self, account: int, change: KeysetPut) -> None:
        """`Accounts.put_keyset`; devices it revokes are logged out."""
        self._end(await self.accounts.put_keyset(account, change))

    async def claim(
        self, account: int, request: InboxClaim, device_id: str | None = None
    ) -> InboxItems:
        """`Inbox.claim`; when the lease runs out, devices are told of what is free again."""
        reply = await self.inbox.claim(account, request, device_id)
        if reply.items:
            self._tell_after_lease(account, min(request.ttl, MAX_LEASE) + 1)
        return reply

    async def release(self, account: int, inbox_ids: Sequence[str]) -> None:
        """`Inbox.release`, told to all devices."""
        waiting = await self.inbox.release(account, inbox_ids)
        if waiting:
            self.events.publish(account, "inbox", waiting)

    # -- upkeep ---------------------------------------------------------------------------------

    async def tidy(self) -> None:
        """Forgets what has expired: staged pushes, uploads, submission ids, orphaned files."""
        await self.log.expire_staged()
        await self.uploads.expire()
        await self.inbox.forget_submissions()
        await sweep(self._db, self._files, self._now())
        if await is_worth_it(self._db):
            await self.compact()

    async def compact(self) -> Freed:
        """Gives unused space back to the disk, while requests go on."""
        return await compact(self._db, self._files, self._now())

    async def keep_tidy(self) -> None:
        """Tidies now and every hour, until cancelled."""
        while True:
            try:
                await self.tidy()
            except (SoledadError, OSError) as error:
                _log.warning("tidying up failed: %s", error)
            await asyncio.sleep(TIDY_EVERY)

    async def close(self) -> None:
        """Ends event streams, finishes what waits, and gives the folder back."""
        self.events.close()
        for timer in self._lease_timers.values():
            timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self.login.close)
        await self._db.close()

    def _end(self, token_hashes: Sequence[bytes]) -> None:
        self.tokens.forget(token_hashes)
        for token_hash in token_hashes:
            self.events.end_token(token_hash)

    def _tell_after_lease(self, account: int, seconds: float) -> None:
        timer = self._lease_timers.pop(account, None)
        if timer is not None:
            timer.cancel()
        self._lease_timers[account] = asyncio.get_running_loop().call_later(
            seconds, self._lease_ended, account
        )

    def _lease_ended(self, account: int) -> None:
        self._lease_timers.pop(account, None)
        task = asyncio.get_running_loop().create_task(self._tell_waiting(account))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell_waiting(self, account: int) -> None:
        with contextlib.suppress(SoledadError):
            waiting = await self.inbox.waiting(account)
            if waiting:
                self.events.publish(account, "inbox", waiting)


def _prepare(connection: Connection) -> bytes:
    """Makes the tables; answers the secret from which answers to unknown addresses are drawn."""
    create_tables(connection)
    create_alias_table(connection)
    connection.execute(
        "INSERT INTO setting (name, value) VALUES ('login secret', ?) ON CONFLICT DO NOTHING",
        (secrets.token_bytes(32),),
    )
    (secret,) = connection.execute(
        "SELECT value FROM setting WHERE name = 'login secret'"
    ).fetchone()
    result: bytes = secret
    return result
