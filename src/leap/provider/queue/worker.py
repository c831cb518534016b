"""The queue at work: what is due is handed over, what failed for good is reported to its sender.

One lane for each domain that has mail due, a few connections in each: a slow server delays nobody else's
mail. After a crash everything is where it was: rows leave the queue only after the other server's
250, or after the report is in the sender's inbox.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import random
import secrets
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping

from leap.provider.contract import MailDrop
from leap.provider.mx import trace
from leap.provider.mx.arrival import Seal, deliver_mail, find_recipient
from leap.provider.queue.handover import TIMEOUT, Outward, Unreachable
from leap.provider.queue.report import report_once, status_report
from leap.provider.queue.routes import Routes
from leap.provider.queue.schedule import Schedule
from leap.provider.queue.storage import DueReport, Outcome, QueuedMail, QueueStorage
from leap.soledad.errors import ForgedEnvelope
from leap.soledad.inbox_seal import seal_to_inbox

log = logging.getLogger(__name__)

CONNECTIONS_PER_DOMAIN = 4
MAILS_AT_ONCE = 32  # read from the database for one domain at a time
LONGEST_SLEEP = 60.0  # seconds until the tables are looked at again even if nothing seems due
_NO_ROUTE = "550 5.4.4 There is no route to this domain any more."


class QueueWorker:
    """Runs beside the servers: `start`, `wake` after each mail added, `close`."""

    def __init__(
        self,
        storage: QueueStorage,
        drop: MailDrop,
        *,
        domain: str,
        hostname: str,
        routes: Routes,
        schedule: Schedule | None = None,
        verify: Mapping[str, ssl.SSLContext] | None = None,
        now: Callable[[], float] = time.time,
        uniform: Callable[[], float] = random.random,
        new_id: Callable[[], str] = lambda: secrets.token_hex(16),
        seal: Seal = seal_to_inbox,
        timeout: float = TIMEOUT,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._storage = storage
        self._drop = drop
        self._domain = domain
        self._hostname = hostname
        self._routes = routes
        self._schedule = schedule or Schedule()
        self._verify = verify or {}
        self._now = now
        self._uniform = uniform
        self._new_id = new_id
        self._seal = seal
        self._timeout = timeout
        self._sleep = sleep
        self._unwritten: dict[tuple[str, str], Mapping[str, Outcome]] = {}
        self._wake = asyncio.Event()
        self._lanes: dict[str, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to work through the queue."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def wake(self) -> None:
        """There is something new."""
        self._wake.set()

    async def close(self) -> None:
        """Stops; what was under way is tried again next time."""
        tasks = [*self._lanes.values(), *([self._task] if self._task else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            pause = LONGEST_SLEEP
            try:
                await self._start_lanes()
                await self.report()
                next_time = await self._storage.next_time()
                if next_time is not None:
                    pause = min(max(next_time - self._now(), 0.05), LONGEST_SLEEP)
            except Exception as error:  # whatever it is, the queue goes on
                log.error("queue: %s", type(error).__name__)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def work_off(self) -> None:
        """Does all that is due now, once, without being started."""
        await self._start_lanes()
        await asyncio.gather(*self._lanes.values())
        await self.report()

    async def _start_lanes(self) -> None:
        for domain in await self._storage.due_domains():
            if domain not in self._lanes:
                lane = asyncio.get_running_loop().create_task(self._lane(domain))
                self._lanes[domain] = lane

    async def _lane(self, domain: str) -> None:
        try:
            while mails := await self._storage.due(domain, MAILS_AT_ONCE):
                await self._serve(domain, mails)
        except Exception as error:
            log.error("queue: mail to %s stays queued: %s", domain, type(error).__name__)
            await self._sleep(1.0)  # the disk is full or the database is gone: not in a busy loop
        finally:
            del self._lanes[domain]
            self.wake()

    # -- handing over ---------------------------------------------------------------------------

    async def _serve(self, domain: str, mails: list[QueuedMail]) -> None:
        endpoint = self._routes.find(domain)
        if endpoint is None:
            for mail in mails:
                await self._settle(mail, dict.fromkeys(mail.recipients, _permanent(_NO_ROUTE)))
            return
        async with asyncio.TaskGroup() as group:
            for tls in ("required", "usual", "optional"):  # a connection is of one kind
                waiting = collections.deque(mail for mail in mails if mail.tls == tls)
                for _ in range(min(CONNECTIONS_PER_DOMAIN, len(waiting))):
                    connection = Outward(
                        endpoint,
                        hostname=self._hostname,
                        tls=tls,
                        verify=self._verify.get(domain),
                        timeout=self._timeout,
                    )
                    group.create_task(self._work_off(connection, waiting))

    async def _work_off(self, connection: Outward, waiting: collections.deque[QueuedMail]) -> None:
        try:
            while waiting:
                mail = waiting.popleft()
                # What is known already is only written down: with a full disk the same mail must not
                # be sent again and again.
                outcomes = self._unwritten.get((mail.mail_id, mail.domain))
                await self._settle(mail, outcomes or await self._try(connection, mail))
        except asyncio.CancelledError:
            connection.abort()
            raise
        finally:
            await connection.close()

    async def _try(self, connection: Outward, mail: QueuedMail) -> Mapping[str, Outcome]:
        try:
            raw = await self._storage.unseal(mail.mail_id)
        except ForgedEnvelope:
            outcome = Outcome("temporary", "The queued mail cannot be opened.")
            return dict.fromkeys(mail.recipients, outcome)
        try:
            if not connection.open:
                await connection.connect()
            return await connection.hand_over(mail, raw)
        except Unreachable as error:
            return dict.fromkeys(mail.recipients, Outcome("temporary", error.reason))

    async def _settle(self, mail: QueuedMail, outcomes: Mapping[str, Outcome]) -> None:
        now = self._now()
        settled: dict[str, Outcome] = {}
        for address, outcome in outcomes.items():
            if outcome.kind == "temporary":
                outcome = self._try_again(outcome, mail, mail.recipients[address] + 1, now)
            settled[address] = outcome
        self._unwritten[mail.mail_id, mail.domain] = settled
        await self._storage.settle(mail.mail_id, settled)
        del self._unwritten[mail.mail_id, mail.domain]

    def _try_again(self, outcome: Outcome, mail: QueuedMail, attempts: int, now: float) -> Outcome:
        if self._schedule.expired(mail.created, now):
            return _permanent(f"Given up after {attempts} attempts. {outcome.answer}")
        delay = self._schedule.delay(attempts, self._uniform)
        return Outcome("temporary", outcome.answer, outcome.remote, now + delay)

    # -- reports --------------------------------------------------------------------------------

    async def report(self) -> None:
        """Puts a report into the sender's inbox for every mail that failed, takes long, or was passed on where
        the sender wants to hear of it; what cannot be reported now is reported later."""
        for report in await self._storage.due_reports(self._now() - self._schedule.warning):
            try:
                await self._report(report)
            except Exception as error:
                log.error("queue: a report has to wait: %s", type(error).__name__)

    async def _report(self, due: DueReport) -> None:
        sender = await find_recipient(self._drop, due.sender)
        if sender is None:  # the account was deleted meanwhile: nobody is there to be told
            log.warning("queue: no account to report a mail to")
        else:
            try:
                raw = await self._storage.unseal(due.mail_id)
            except ForgedEnvelope:
                raw = b""  # the key is gone; the report is still due
            report = status_report(
                due.action,
                hostname=self._hostname,
                domain=self._domain,
                sender=due.sender,
                raw=raw,
                wishes=due.wishes,
                created=due.created,
                recipients=due.recipients,
                now=self._now(),
                report_id=self._new_id(),
                retried_until=due.created + self._schedule.lifetime,
            )
            served = trace.return_path("") + report
            once = report_once(due.mail_id, due.action, due.recipients)
            await deliver_mail(self._drop, [sender], lambda _: served, once, self._seal)
        await self._storage.reported(due)


def _permanent(answer: str) -> Outcome:
    return Outcome("permanent", answer)
