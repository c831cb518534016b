"""The production provider over HTTPS, which a subclass can make lie: `Attack`.

Everything is the production code: storage, SRP, tokens, routes, TLS on a socket. An attack overrides one of the
hooks below, which see each answer to the victim's account before it leaves. Until `evil` is set, and for every
other account, they are not called.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from aiohttp import web

from leap.provider.accounts import Accounts
from leap.provider.app import create_app
from leap.provider.http.bodies import SMALL_BODY, answer, read_value
from leap.provider.http.endpoints import authorized
from leap.provider.inbox import Inbox
from leap.provider.login import LoginDesk
from leap.provider.provider import Provider
from leap.provider.storage.blobs import Blobs
from leap.provider.sync.log import Log
from leap.soledad import wire
from leap.soledad.errors import SoledadError
from leap.soledad.remote.transport import PATIENT, Patience
from tests.hostile.switching_off import Check
from tests.provider.world import DOMAIN

if TYPE_CHECKING:
    from tests.hostile.world import World

ALICE, BOB = f"alice@{DOMAIN}", f"bob@{DOMAIN}"
INFO = wire.ProviderInfo(
    domain=DOMAIN,
    api_version=1,
    submission_host="localhost",
    submission_port=1,
    max_message_bytes=wire.MAX_MESSAGE_BYTES,
    signup_open=True,
)


class Reaction(Enum):
    """What the client does besides raising."""

    ALARM = "sync stops, with a sentence, until a person lets it go on"
    RETRY = "nothing is proved; the status says why, and the next sync asks again"
    REFUSAL = "only what was asked for is refused"


class Attack(Provider):
    """One attack. Its docstring is one sentence: what the provider does."""

    guarantee: ClassVar[str]  # its number in docs/threat-model.md
    expected: ClassVar[type[SoledadError]]
    says: ClassVar[str]  # words of the sentence a person reads
    checks: ClassVar[
        tuple[Check, ...]
    ]  # the one check, or all of those that would meet it one behind the other
    reaction: ClassVar[Reaction] = Reaction.ALARM
    victim: ClassVar[str] = "phone"  # whose device it is
    instead: ClassVar[type[SoledadError] | None] = None
    """What comes when the check is off, where nothing is left that could succeed; why is said in a comment."""

    world: World
    plans_evil = False  # this run will turn evil; `prepare` may set a trap
    evil = False
    recoverable: ClassVar[bool] = (
        True  # False: devices were forked, only re-founding makes them one again
    )
    patience: ClassVar[Patience] = PATIENT
    before: dict[str, Any] | None = (
        None  # what the victim has, if it is not what it had before `act`
    )
    proofs = 0  # log-in proofs that clients sent
    alice = 0  # the number of the account that is attacked
    asked = 0  # how often a lie was told: an attack that never happened proves nothing

    def __init__(self, db: Any, files: Any, room: Any, domain: str, secret: bytes, **options: Any):
        super().__init__(db, files, room, domain, secret, **options)
        now = options["now"]
        self.login.close()
        self.accounts = _Accounts(db, domain, room, signup_open=True, now=now)
        self.login = _Login(self.accounts, self.tokens, secret)
        self.log = _Log(db, room, now=now)
        self.blobs = _Blobs(db, files, room)
        self.inbox = _Inbox(db, files, room, now=now)
        for part in (self.accounts, self.login, self.log, self.blobs, self.inbox):
            part.attack = self

    def lies_to(self, account: int | None) -> bool:
        return self.evil and account == self.alice

    # -- the scenario -----------------------------------------------------------------------------

    async def prepare(self, world: World) -> None:
        """Honest: what happens before the provider turns evil."""

    async def act(self, world: World) -> None:
        """What the victim does then; raises what the client makes of it."""

    async def succeeded(self, world: World) -> bool:
        """With an honest provider: whether what the victim did had its effect."""
        raise NotImplementedError

    async def harmed(self, world: World) -> bool:
        """With the checks off: whether the attack had its effect."""
        return self.asked > 0

    async def repent(self, world: World) -> None:
        """Is honest again."""

    # -- what an attack may change ----------------------------------------------------------------

    async def on_pull(self, request: wire.PullRequest, page: wire.PullPage) -> wire.PullPage:
        return page

    async def on_commit(self, request: wire.CommitRequest) -> wire.CommitReply | None:
        """An answer in the place of doing it. Called before the evil moment, too, for races that happen anyway."""
        return None

    async def on_secrets(self, reply: wire.SecretsReply) -> wire.SecretsReply:
        return reply

    async def on_put_keyset(self, change: wire.KeysetPut) -> bool:
        """True: it is answered as done, without being done."""
        return False

    async def on_challenge(self, challenge: wire.LoginChallenge) -> wire.LoginChallenge:
        return challenge

    async def on_login(self, reply: wire.LoginReply) -> wire.LoginReply:
        return reply

    async def on_blobs(self, found: wire.BlobsFound) -> wire.BlobsFound:
        return found

    async def on_claim(self, items: wire.InboxItems) -> wire.InboxItems:
        return items

    async def on_http(self, request: web.Request, handler: Any) -> web.StreamResponse:
        reply: web.StreamResponse = await handler(request)
        return reply

    async def one_page(self, request: web.Request) -> web.Response:
        """The answer to a pull as one body, as a provider may always give it."""
        who = await authorized(self, request)
        asked = await read_value(request, wire.PullRequest, SMALL_BODY)
        return answer(await self.log.pull(who.account, asked))

    # -- what an evil provider has at hand ----------------------------------------------------------

    async def copy_log(self) -> tuple[list[Any], list[Any]]:
        """Alice's log as it is."""

        def job(c: Any) -> tuple[list[Any], list[Any]]:
            items = c.execute("SELECT * FROM item WHERE account = ?", (self.alice,)).fetchall()
            head = c.execute("SELECT * FROM head WHERE account = ?", (self.alice,)).fetchall()
            return items, head

        return await self.db.read(job)

    async def put_log(self, copy: tuple[list[Any], list[Any]]) -> None:
        """Alice's log as it was when it was copied."""

        def job(c: Any) -> None:
            for table, rows in zip(("item", "head"), copy, strict=True):
                c.execute(f"DELETE FROM {table} WHERE account = ?", (self.alice,))
                for row in rows:
                    marks = ", ".join("?" * len(row))
                    c.execute(f"INSERT INTO {table} VALUES ({marks})", row)

        self.asked += 1
        await self.db.write(job)


# -- the production parts, asking the attack before they answer ------------------------------------------


class _Accounts(Accounts):
    attack: Attack

    async def secrets(self, account: int) -> wire.SecretsReply:
        reply = await super().secrets(account)
        return await self.attack.on_secrets(reply) if self.attack.lies_to(account) else reply

    async def put_keyset(self, account: int, change: wire.KeysetPut) -> list[bytes]:
        if self.attack.lies_to(account) and await self.attack.on_put_keyset(change):
            return []
        return await super().put_keyset(account, change)


class _Login(LoginDesk):
    attack: Attack

    async def start(self, request: wire.LoginStart, peer: str) -> wire.LoginChallenge:
        challenge = await super().start(request, peer)
        if self.attack.evil and request.identity == ALICE:
            return await self.attack.on_challenge(challenge)
        return challenge

    async def finish(
        self, request: wire.LoginProof, peer: str
    ) -> tuple[wire.LoginReply, list[bytes]]:
        self.attack.proofs += 1
        session = self._sessions.get(request.session)
        reply, ended = await super().finish(request, peer)
        if self.attack.lies_to(session.account if session else None):
            reply = await self.attack.on_login(reply)
        return reply, ended


class _Log(Log):
    attack: Attack

    async def pull(self, account: int, request: wire.PullRequest) -> wire.PullPage:
        page = await super().pull(account, request)
        return await self.attack.on_pull(request, page) if self.attack.lies_to(account) else page

    async def commit(
        self, account: int, request: wire.CommitRequest, *, by: bytes | None = None
    ) -> wire.CommitReply:
        if account == self.attack.alice:
            reply = await self.attack.on_commit(request)
            if reply is not None:
                return reply
        return await super().commit(account, request, by=by)


class _Blobs(Blobs):
    attack: Attack

    async def get(self, account: int, blob_ids: Sequence[str]) -> wire.BlobsFound:
        found = await super().get(account, blob_ids)
        return await self.attack.on_blobs(found) if self.attack.lies_to(account) else found


class _Inbox(Inbox):
    attack: Attack

    async def claim(
        self, account: int, request: wire.InboxClaim, device_id: str | None = None
    ) -> wire.InboxItems:
        items = await super().claim(account, request, device_id)
        return await self.attack.on_claim(items) if self.attack.lies_to(account) else items


@asynccontextmanager
async def serving(attack: Attack, tls: ssl.SSLContext) -> AsyncIterator[str]:
    """The attack behind HTTPS on loopback, as the daemon serves a provider; answers its origin."""

    @web.middleware
    async def hostile(request: web.Request, handler: Any) -> web.StreamResponse:
        if not attack.evil:
            return await handler(request)
        _, _, token = request.headers.get("Authorization", "").partition(" ")
        who = await attack.tokens.find(token) if token else None
        if who is not None and who.account != attack.alice:
            return await handler(request)
        return await attack.on_http(request, handler)

    app = create_app(attack, INFO)
    app.middlewares.insert(0, hostile)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2, auto_decompress=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        attack.events.close()
        await runner.cleanup()
