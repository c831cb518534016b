"""How long it takes from the commit of a change, wherever it came from, until idling clients have read of it.

Sources: another connection, the API, sync from another device, incoming mail. Listeners: a session without sockets, a
plain client and one of QRESYNC over sockets. The clock starts when the event loop hears of the commit.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from leap.mail.contract import INBOX, AccountBackend, NewMessage, Uid
from leap.mail.imap import ImapServer, serve_imap
from leap.mail.local import LocalAccount
from leap.soledad.store import Soledad
from tests.mail.devices import MailWorld
from tests.mail.imap.talk import PASSWORD, USER, Talk, mail
from tests.mail.travel import FakeProvider, open_person
from tests.mail.travel import mail as letter

Latencies = dict[str, list[float]]  # seconds, by source, change and listener
ARRIVAL = re.compile(rb"\* \d+ EXISTS\r\n")
FLAGS = re.compile(rb"\* \d+ FETCH \(UID \d+ FLAGS \([^)]*\\Flagged")
GONE = re.compile(rb"\* (\d+ EXPUNGE|VANISHED \d+)\r\n")
PATIENCE = 10.0


class Listener:
    """An idling client; `heard` fires when a line that is awaited came."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.awaited: re.Pattern[bytes] | None = None
        self.heard: asyncio.Future[float] | None = None

    def expect(self, pattern: re.Pattern[bytes]) -> None:
        self.awaited = pattern
        self.heard = asyncio.get_running_loop().create_future()

    def hear(self, data: bytes) -> None:
        if self.awaited is not None and self.heard is not None and self.awaited.search(data):
            self.awaited = None
            self.heard.set_result(time.perf_counter())


class InProcess(Talk):
    """A session without sockets that is heard as it writes."""

    def __init__(self, account: AccountBackend) -> None:
        super().__init__(account)
        self.listener = Listener("in process")

    def write(self, data: bytes) -> None:
        super().write(data)
        self.listener.hear(data)


class Socket:
    """A client on a socket, which idles or commands."""

    def __init__(self, name: str) -> None:
        self.listener = Listener(name)

    async def connect(self, server: ImapServer, *before: bytes) -> None:
        host, port = server.address
        self.reader, self.writer = await asyncio.open_connection(str(host), int(port))
        await self.reader.readline()
        for command in (f"LOGIN {USER} {PASSWORD}".encode(), *before):
            await self.command(command)

    async def command(self, text: bytes) -> None:
        self.writer.write(b"t " + text + b"\r\n")
        while not (line := await self.reader.readline()).startswith(b"t "):
            assert line
        assert line.startswith(b"t OK"), line

    async def idle(self) -> None:
        self.writer.write(b"i IDLE\r\n")
        assert (await self.reader.readline()).startswith(b"+ ")
        self.task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        while line := await self.reader.readline():
            self.listener.hear(line)

    async def close(self) -> None:
        if hasattr(self, "task"):
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
        self.writer.transport.abort()


class Measuring:
    """Listeners on one account, and the moments of its commits."""

    def __init__(self, store: Soledad, account: LocalAccount) -> None:
        self.store, self.account = store, account
        self.found: Latencies = defaultdict(list)
        self._committed: float | None = None

    async def open(self, stack: AsyncExitStack) -> None:
        async def authenticate(user: str, password: str) -> AccountBackend | None:
            return self.account

        server = await serve_imap(authenticate)
        stack.push_async_callback(server.close)
        stack.callback(self.store.on_change(self._commit))
        self.other = Socket("another connection")
        plain, qresync = Socket("socket"), Socket("socket, QRESYNC")
        await self.other.connect(server, b"SELECT INBOX")
        await plain.connect(server, b"SELECT INBOX")
        await qresync.connect(server, b"ENABLE QRESYNC", b"SELECT INBOX")
        inside = await InProcess(self.account).log_in("INBOX")
        for client in (self.other, plain, qresync):
            stack.push_async_callback(client.close)
        stack.push_async_callback(inside.end)
        await plain.idle()
        await qresync.idle()
        await inside.send(b"i IDLE\r\n")
        self.listeners = [inside.listener, plain.listener, qresync.listener]

    def _commit(self, changes: object) -> None:
        if self._committed is None:
            self._committed = time.perf_counter()

    async def measure(
        self, label: str, pattern: re.Pattern[bytes], act: Callable[[], Awaitable[Any]]
    ) -> None:
        for listener in self.listeners:
            listener.expect(pattern)
        self._committed = None
        await act()
        for listener in self.listeners:
            assert listener.heard is not None
            when = await asyncio.wait_for(listener.heard, PATIENCE)
            assert self._committed is not None
            self.found[f"{label}, {listener.name}"].append(when - self._committed)


async def local_sources(folder: Path, rounds: int) -> Latencies:
    """Another connection, the API, and incoming mail."""
    async with AsyncExitStack() as stack:
        provider = FakeProvider()
        person = await open_person(provider, folder, "alice")
        stack.push_async_callback(person.close)
        account = person.account
        measuring = Measuring(person.store, account)
        await measuring.open(stack)
        other = measuring.other.command
        for _ in range(rounds):
            raw = mail()
            await measuring.measure(
                "another connection: EXISTS", ARRIVAL,
                lambda: other(b"APPEND INBOX {%d+}\r\n%b" % (len(raw), raw)),  # noqa: B023
            )  # fmt: skip
            await measuring.measure(
                "another connection: FETCH", FLAGS, lambda: other(b"STORE * +FLAGS (\\Flagged)")
            )
            await other(b"STORE * +FLAGS.SILENT (\\Deleted)")
            await measuring.measure("another connection: EXPUNGE", GONE, lambda: other(b"EXPUNGE"))
            await measuring.measure(
                "API: EXISTS",
                ARRIVAL,
                lambda: account.append(INBOX, [NewMessage(raw=raw)]),  # noqa: B023
            )
            uid = (await account.rows(INBOX))[-1].uid
            await measuring.measure(
                "API: FETCH",
                FLAGS,
                lambda: account.store_flags(INBOX, [uid], "add", ["\\Flagged"]),  # noqa: B023
            )
            await account.store_flags(INBOX, [uid], "add", ["\\Deleted"])
            await measuring.measure("API: EXPUNGE", GONE, lambda: account.expunge(INBOX))

            provider.deliver(person.address, letter())
            await measuring.measure("incoming mail: EXISTS", ARRIVAL, person.incoming.process_once)
        return measuring.found


async def other_device(folder: Path, rounds: int) -> Latencies:
    """What another device did, as sync brings it."""
    async with AsyncExitStack() as stack:
        world = MailWorld(folder)
        stack.push_async_callback(world.close)
        laptop, phone = await world.device("laptop"), await world.device("phone")
        measuring = Measuring(laptop.store, laptop.account)
        await measuring.open(stack)
        sync = laptop.engine.sync
        for _ in range(rounds):
            [made] = await phone.account.append(INBOX, [NewMessage(raw=mail())])
            await phone.engine.sync()
            await measuring.measure("sync: EXISTS", ARRIVAL, sync)
            await phone.account.store_flags(
                INBOX, [Uid(made.uid)], "add", ["\\Flagged", "\\Deleted"]
            )
            await phone.engine.sync()
            await measuring.measure("sync: FETCH", FLAGS, sync)
            await phone.account.expunge(INBOX)
            await phone.engine.sync()
            await measuring.measure("sync: EXPUNGE", GONE, sync)
        return measuring.found


async def measure_all(folder: Path, rounds: int) -> Latencies:
    found = await local_sources(folder / "local", rounds)
    (folder / "devices").mkdir()
    found.update(await other_device(folder / "devices", rounds))
    return found
