"""The mail side of a provider, put together: MX, submission and queue over one `MailDrop`."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import Callable, Mapping

from leap.mail.delivery_wishes import DeliveryWishes
from leap.mail.smtp import SmtpServer, serve_smtp
from leap.provider.contract import Endpoint, MailDrop
from leap.provider.mx import MxHandler, mx_config
from leap.provider.mx.authentication import MailChecks
from leap.provider.queue import QueueStorage, QueueWorker, Routes
from leap.provider.queue.schedule import Schedule
from leap.provider.submission import SubmissionHandler, submission_config
from leap.provider.submission.dkim_signing import DkimSigner


class MailServers:
    """What `start_mail` started."""

    def __init__(self, mx: SmtpServer, submission: SmtpServer, worker: QueueWorker) -> None:
        self._mx = mx
        self._submission = submission
        self._worker = worker

    @property
    def mx_address(self) -> Endpoint:
        """Host and port where mail from outside is taken."""
        return _endpoint(self._mx)

    @property
    def submission_address(self) -> Endpoint:
        """Host and port where this provider's users send."""
        return _endpoint(self._submission)

    async def close(self) -> None:
        """Stop taking mail, let running transactions end, and give up the ports."""
        await asyncio.gather(self._mx.close(), self._submission.close())
        await self._worker.close()


class _WakingQueue:
    """The queue as submission sees it: what is added is tried at once."""

    def __init__(self, storage: QueueStorage, worker: QueueWorker) -> None:
        self._storage = storage
        self._worker = worker

    async def add(
        self,
        *,
        mail_id: str,
        sender: str,
        recipients: list[str],
        raw: bytes,
        submission: str,
        smtputf8: bool,
        wishes: DeliveryWishes,
    ) -> None:
        await self._storage.add(
            mail_id=mail_id,
            sender=sender,
            recipients=recipients,
            raw=raw,
            submission=submission,
            smtputf8=smtputf8,
            wishes=wishes,
        )
        self._worker.wake()


async def start_mail(
    provider: MailDrop,
    *,
    domain: str,
    hostname: str,
    routes: Mapping[str, Endpoint],
    tls: ssl.SSLContext | None,
    mx: Endpoint,
    submission: Endpoint,
    queue_key: bytes | None = None,
    verify: Mapping[str, ssl.SSLContext] | None = None,
    schedule: Schedule | None = None,
    now: Callable[[], float] = time.time,
    checks: MailChecks | None = None,
    refuse_disowned: bool = False,
    signer: DkimSigner | None = None,
) -> MailServers:
    """Opens the queue, then both ports; a port 0 means any free one.

    `queue_key` (32 octets) seals queued mail; without it one is kept beside the database. `verify` gives
    a TLS context for foreign domains whose certificate must be right. `checks` judges the senders of mail from
    outside, and with `refuse_disowned` mail is refused where the domain in From asks for it. `signer` signs what
    leaves. Raises OSError when a port cannot be bound; then nothing is left running.
    """
    table = Routes(routes)
    storage = await QueueStorage.open(provider.db, queue_key, now)
    worker = QueueWorker(
        storage,
        provider,
        domain=domain,
        hostname=hostname,
        routes=table,
        schedule=schedule,
        verify=verify,
        now=now,
    )
    queue = _WakingQueue(storage, worker)

    def mx_handler() -> MxHandler:
        return MxHandler(
            provider,
            domain=domain,
            hostname=hostname,
            now=now,
            checks=checks,
            refuse_disowned=refuse_disowned,
        )

    def submission_handler() -> SubmissionHandler:
        return SubmissionHandler(
            provider,
            queue,
            domain=domain,
            hostname=hostname,
            routes=table,
            now=now,
            signer=signer,
        )

    spool = provider.db.path.parent  # large mails wait on the disk that takes them afterwards
    mx_server = await serve_smtp(mx_handler, mx_config(hostname, tls, spool_folder=spool), *mx)
    async with contextlib.AsyncExitStack() as on_failure:
        on_failure.push_async_callback(mx_server.close)
        submission_server = await serve_smtp(
            submission_handler, submission_config(hostname, tls, spool), *submission
        )
        on_failure.pop_all()
    worker.start()
    return MailServers(mx_server, submission_server, worker)


def _endpoint(server: SmtpServer) -> Endpoint:
    address = server.address
    assert not isinstance(address, str)
    return address
