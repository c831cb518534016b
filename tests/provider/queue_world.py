"""One provider's queue with accounts in memory, and another server that it sends to."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from leap.mail.delivery_wishes import NO_WISHES, DeliveryWishes
from leap.mail.smtp import SmtpConfig, SmtpServer, serve_smtp
from leap.provider.contract import Endpoint
from leap.provider.queue import QueueStorage, QueueWorker, Routes
from leap.soledad.sqlite import Database
from tests.mail.smtp.conversation import DecidingHandler, config
from tests.provider.mail_drop import MemoryMailDrop

ALICE = "alice@example.test"
MAIL = b"Message-ID: <one@laptop>\r\nSubject: x\r\n\r\n.dot\r\nmarker-of-this-mail\r\n"


class Clock:
    def __init__(self) -> None:
        self.seconds = 1_800_000_000.0

    def __call__(self) -> float:
        return self.seconds


async def no_sleep(seconds: float) -> None:
    await asyncio.sleep(0)


@dataclass
class Post:
    """One provider's queue; `routes` says where other.test is."""

    drop: MemoryMailDrop
    storage: QueueStorage
    clock: Clock
    routes: dict[str, Endpoint]

    def worker(self, **more: object) -> QueueWorker:
        return QueueWorker(
            self.storage,
            self.drop,
            domain="example.test",
            hostname="mx.example.test",
            routes=Routes(self.routes),
            now=self.clock,
            uniform=lambda: 0.0,
            timeout=5.0,
            sleep=no_sleep,
            **more,  # type: ignore[arg-type]
        )

    async def add(
        self,
        *recipients: str,
        mail_id: str = "00ff",
        raw: bytes = MAIL,
        wishes: DeliveryWishes = NO_WISHES,
    ) -> None:
        await self.storage.add(
            mail_id=mail_id,
            sender=ALICE,
            recipients=list(recipients),
            raw=raw,
            submission=f"alice/{mail_id}",
            smtputf8=False,
            wishes=wishes,
        )

    async def work(self, **more: object) -> None:
        """Lets a worker do all that is due now."""
        worker = self.worker(**more)
        await worker.work_off()
        await worker.close()


@contextlib.asynccontextmanager
async def open_post(tmp_path: Path) -> AsyncIterator[Post]:
    clock = Clock()
    db = await Database.open(tmp_path / "provider.db", key=None)
    drop = MemoryMailDrop(db, ALICE)
    yield Post(drop, await QueueStorage.open(db, now=clock), clock, {})
    await db.close()


@contextlib.asynccontextmanager
async def other(
    post: Post, settings: SmtpConfig | None = None, handler: DecidingHandler | None = None
) -> AsyncIterator[tuple[SmtpServer, DecidingHandler]]:
    handler = handler or DecidingHandler()
    server = await serve_smtp(lambda: handler, settings or config())
    assert isinstance(server.address, tuple)
    post.routes["other.test"] = server.address
    try:
        yield server, handler
    finally:
        await server.close()
