"""Ten mail programs on one account, over sockets, with a program on the API and another device beside them.

Rounds of random commands; after each one all is still for a moment, and every model must be what a fresh SELECT,
the account itself and the searches of the client say. `run` answers with what was done, or raises `Difference`,
whose text has the seed, and the last words of the client that complained.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from leap.mail import promising
from leap.mail.contract import AccountBackend, MailboxId
from leap.mail.imap import serve_imap
from leap.mail.memory import MemoryAccount
from leap.soledad.syncing import SyncEngine
from tests.mail.devices import MailDevice, MailWorld
from tests.mail.imap.stress.acts import STANDING, Person, Source, learn_all
from tests.mail.imap.stress.client import Client, Cut
from tests.mail.imap.stress.model import Moment
from tests.mail.imap.stress.truth import Truth
from tests.mail.imap.talk import PASSWORD, USER

KINDS = (
    "plain",
    "condstore",
    "qresync",
    "plain",
    "qresync",
    "condstore",
    "qresync",
    "plain",
    "condstore",
    "qresync",
)
ROUND = 12  # steps of each client between two comparisons
# "promising": on Soledad, where all changes that can be are promised
Store = Literal["memory", "soledad", "promising"]


class Difference(AssertionError):
    """Somebody was told something that is not so."""


@dataclass
class Report:
    commands: int = 0
    connections: int = 0
    rounds: int = 0
    facts: int = 0
    compared: int = 0
    others: int = 0  # changes by the API and by the other device
    seconds: float = 0.0
    processor: float = 0.0
    messages: int = 0
    more: list[str] = field(default_factory=list)


class Stress:
    def __init__(self, account: AccountBackend, world: MailWorld | None, seed: int) -> None:
        self.account = account
        self.world = world
        self.seed = seed
        self.chance = random.Random(seed)
        self.truth = Truth()
        self.report = Report()
        self.clients: list[Client] = []
        self.sources: list[Source] = []

    async def run(self, seconds: float, rounds: int, kept: Path | None) -> Report:
        async def authenticate(user: str, password: str) -> AccountBackend | None:
            return self.account if (user, password) == (USER, PASSWORD) else None

        server = await serve_imap(authenticate)
        assert not isinstance(server.address, str)
        began, processor = time.monotonic(), time.process_time()
        self.clients = [
            Client(f"{kind} {number}", kind, self.truth, server.address)
            for number, kind in enumerate(KINDS)
        ]
        self.checker = Client("checker", "plain", Truth(), server.address)
        people = [Person(one, random.Random(self.chance.random())) for one in self.clients]
        self.sources = [Source(self.account, random.Random(self.chance.random()), remakes=True)]
        if self.world is not None:
            phone = self.world.devices[1].account
            self.sources.append(Source(phone, random.Random(self.chance.random()), remakes=False))
        for name in STANDING[3:]:
            await self.account.create_mailbox(name)
        try:
            while time.monotonic() - began < seconds and self.report.rounds < rounds:
                await self._together([self._live(person) for person in people])
                await self._compare()
                self.report.rounds += 1
            await self._end()
        except AssertionError as error:
            text = f"imap-stress, seed {self.seed}, round {self.report.rounds}: {error}"
            if kept is not None:
                kept.mkdir(parents=True, exist_ok=True)
                (kept / f"{self.seed}.txt").write_text(text)
            raise Difference(text) from error
        finally:
            for client in [*self.clients, self.checker]:
                await client.hang_up()
            await server.close()
        self.report.commands = sum(client.commands for client in self.clients)
        self.report.connections = sum(client.connections for client in self.clients)
        self.report.facts = self.truth.facts
        self.report.others = sum(source.acts for source in self.sources)
        self.report.seconds = time.monotonic() - began
        self.report.processor = time.process_time() - processor
        return self.report

    # -- a round

    async def _live(self, person: Person) -> None:
        try:
            for _ in range(ROUND):
                await person.act()
        except AssertionError as error:
            raise _by(person.client, error) from error

    async def _together(self, lives: list) -> None:  # type: ignore[type-arg]
        tasks = [asyncio.ensure_future(life) for life in lives]
        others = [asyncio.ensure_future(self._other(source)) for source in self.sources]
        if self.world is not None:
            others.append(asyncio.ensure_future(self._sync()))
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            self._still = True
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*others)
            self._still = False

    _still = False

    async def _other(self, source: Source) -> None:
        while not self._still:
            await source.act()
            await asyncio.sleep(source.chance.random() * 0.05)

    async def _sync(self) -> None:
        assert self.world is not None
        laptop, phone = self.world.devices
        while not self._still:
            await phone.engine.sync()
            await laptop.engine.sync()
            await asyncio.sleep(0.05)

    # -- when all is still

    async def _compare(self) -> None:
        for client in self.clients:
            if client.model is None:
                continue
            try:
                await client.noop()
                await learn_all(client)
                await self._compare_one(client)
            except Cut:
                continue
            except AssertionError as error:
                raise _by(client, error) from error
        self.report.messages = 0
        for info in await self.account.list_mailboxes():
            status = await self.account.status(info.mailbox_id)
            rows = await self.account.rows(info.mailbox_id)
            self.report.messages += len(rows)
            assert status.messages == len(rows)
            assert status.size == sum(row.size for row in rows)
            assert status.unseen == sum("\\Seen" not in row.flags for row in rows)
            assert status.uid_next > self.truth.highest[status.uid_validity]
            assert status.highest_modseq >= max((row.modseq for row in rows), default=0)

    async def _compare_one(self, client: Client) -> None:
        model = client.model
        if model is None:
            return
        mailbox_id = MailboxId(model.mailbox_id)
        rows = await self.account.rows(mailbox_id)
        there = [(row.uid, frozenset(row.flags)) for row in rows]
        assert model.shown() == there, _differ(model.shown(), there)
        if client.kind != "plain":
            for one, row in zip(model.messages, rows, strict=True):
                assert one.modseq in (None, row.modseq), (
                    f"uid {row.uid}: modseq {one.modseq}, {row.modseq}"
                )
        for flag, key in (("\\Seen", "SEEN"), ("\\Deleted", "DELETED"), ("kw", "KEYWORD kw")):
            said = await client.command(f"UID SEARCH {key}".encode(), moment=(moment := _moment()))
            assert b" OK " in said
            assert moment.searched == [uid for uid, flags in there if flag in flags], key
        await self._compare_with_fresh(model.mailbox_id, model.shown())
        self.report.compared += 1

    async def _compare_with_fresh(self, mailbox_id: str, shown: object) -> None:
        checker = self.checker
        if not checker.connected:
            await checker.connect()
        name = next(
            info.name
            for info in await self.account.list_mailboxes()
            if info.mailbox_id == mailbox_id
        )
        await checker.select(name, read_only=True)
        assert checker.model is not None
        assert checker.model.mailbox_id == mailbox_id
        await learn_all(checker)
        assert checker.model.shown() == shown, "a fresh EXAMINE shows other things"

    async def _end(self) -> None:
        """Every octet of every mailbox against what was told of it, and the other device against this one."""
        checker = self.checker
        whole = Client("all bodies", "plain", self.truth, checker.address)
        try:
            await whole.connect()
            for info in await self.account.list_mailboxes():
                await whole.select(info.name, read_only=True)
                assert whole.model is not None
                if whole.model.messages:
                    said = await whole.command(
                        b"FETCH 1:* (RFC822.SIZE BODY.PEEK[])", moment=_moment()
                    )
                    assert b" OK " in said, said
                    assert len(whole.model.known()) == len(whole.model.messages)
        except AssertionError as error:
            raise _by(whole, error) from error
        finally:
            await whole.hang_up()
        if self.world is not None:
            await self.world.settle()
            await self._compare()


def _moment() -> Moment:
    return Moment(expunges=True)


def _by(client: Client, error: AssertionError) -> Difference:
    return Difference(f"{client.name}: {error}\n" + "\n".join(client.log))


def _differ(
    model: list[tuple[int | None, frozenset[str] | None]], there: list[tuple[int, frozenset[str]]]
) -> str:
    mine, theirs = dict(model), dict(there)
    keys = {uid for uid, _ in model} | {uid for uid, _ in there}
    apart = [
        f"uid {uid}: {mine.get(uid)} here, {theirs.get(uid)} there"  # type: ignore[call-overload]
        for uid in sorted(keys, key=lambda uid: uid or 0)
        if mine.get(uid) != theirs.get(uid)  # type: ignore[call-overload]
    ]
    return "the model is not the mailbox: " + "; ".join(apart)


async def run(
    store: Store,
    folder: Path,
    seed: int,
    *,
    seconds: float = 1e9,
    rounds: int = 10**9,
    kept: Path | None = None,
) -> Report:
    """Stresses a new account in `folder` until the time or the rounds are over. Raises Difference."""
    if store == "memory":
        account = MemoryAccount()
        try:
            return await Stress(account, None, seed).run(seconds, rounds, kept)
        finally:
            await account.close()
    world, fewest = MailWorld(folder), promising.FEWEST
    if store == "promising":  # these mailboxes are too small for it otherwise
        promising.FEWEST = 1
    try:
        for name in ("laptop", "phone"):
            device = await world.device(name)
            await _fetches_contents(device)
        for _ in range(2):
            for device in world.devices:
                await device.engine.sync()
        return await Stress(world.devices[0].account, world, seed).run(seconds, rounds, kept)
    finally:
        promising.FEWEST = fewest
        await world.close()


async def _fetches_contents(device: MailDevice) -> None:
    await device.engine.close()
    device.engine = SyncEngine(device.store, device.remote, gather=0)
