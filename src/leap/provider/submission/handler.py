"""Submission (RFC 6409): takes mail from this provider's users, under their own addresses only.

The password is the device's token, proved by SCRAM or sent inside TLS. Local recipients get the mail at
once; for others it goes into the queue. A submission id makes a repeated submission do nothing more for
the recipients that were served the first time.

Invariants:
* A user's mail bears an address of that user, in MAIL FROM and in its only From field.
* 250 comes after everything is durable, inboxes and queue; any failure before gives 4xx for the whole.
* Where the client sits on the network stands nowhere in the mail.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from leap.mail.authentication_results import results_field
from leap.mail.delivery_wishes import DeliveryWishes
from leap.mail.smtp import Envelope, Limits, Reply, Session, SmtpConfig
from leap.mail.smtp.address import split_address
from leap.mail.smtp.scram import ScramAccount
from leap.provider.contract import MailDrop, normal_address
from leap.provider.mx import trace
from leap.provider.mx.arrival import (
    COPIES,
    SEAL_INLINE,
    Recipient,
    Seal,
    deliver_mail,
    find_recipient,
    reply_to_failure,
    without_forged_results,
)
from leap.provider.mx.authentication import submitted_by
from leap.provider.mx.handler import LOOP, NO_SUCH_USER, new_mail_id
from leap.provider.queue.report import report_once, status_report
from leap.provider.queue.routes import Routes
from leap.provider.queue.storage import Outcome
from leap.provider.submission.author import author_of, is_own
from leap.provider.submission.dkim_signing import DkimSigner
from leap.soledad.inbox_seal import seal_to_inbox
from leap.soledad.wire import MAX_MESSAGE_BYTES

NOT_YOURS = Reply(550, "5.7.1", "You can send from your own address only.")
NOT_YOUR_NAME = Reply(
    550, "5.7.1", "The mail needs one From field with one address, and that must be your own."
)
NO_ROUTE = Reply(550, "5.4.4", "There is no route to this domain from here.")
SENT = Reply(250, "2.0.0", "Mail is on its way.")


class QueueIn(Protocol):
    """The queue as submission sees it."""

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
        """Keeps the mail durably; (submission, recipient) pairs known already are left out."""
        ...


def submission_config(
    hostname: str, tls: ssl.SSLContext | None, spool_folder: Path | None = None
) -> SmtpConfig:
    """How the engine behaves for submission: nothing without log-in, no log-in without TLS."""
    return SmtpConfig(
        hostname=hostname,
        max_size=MAX_MESSAGE_BYTES,
        tls=tls,
        auth="required",
        auth_needs_tls=True,
        submission_ids=True,
        scram=True,
        dsn=True,
        require_tls=True,
        spool_folder=spool_folder,
        limits=Limits(strangers=300),  # people far away, whose TLS handshakes take their time
    )


class SubmissionHandler:
    """Decides for one connection of a user (`leap.mail.smtp.SmtpHandler`)."""

    def __init__(
        self,
        drop: MailDrop,
        queue: QueueIn,
        *,
        domain: str,
        hostname: str,
        routes: Routes,
        now: Callable[[], float] = time.time,
        mail_id: Callable[[], str] = new_mail_id,
        seal: Seal = seal_to_inbox,
        signer: DkimSigner | None = None,
    ) -> None:
        """`signer` signs what goes to other servers (RFC 6376); without it nothing is signed."""
        self._drop = drop
        self._queue = queue
        self._domain = normal_address(domain)
        self._hostname = hostname
        self._routes = routes
        self._now = now
        self._mail_id = mail_id
        self._seal = seal
        self._signer = signer
        self._local: dict[str, Recipient] = {}

    async def authenticate(self, user: str, password: str) -> str | None:
        address = normal_address(user)
        return address if await self._drop.check_token(address, password) else None

    async def find_verifiers(self, user: str) -> ScramAccount:
        return await self._drop.find_verifiers(normal_address(user))

    async def sender(
        self, session: Session, address: str, params: Mapping[str, str]
    ) -> Reply | None:
        self._local.clear()
        return None if await self._owns(address, session) else NOT_YOURS

    async def recipient(self, session: Session, address: str) -> Reply | None:
        domain = split_address(address)[1]
        if domain not in ("", self._domain):
            return None if self._routes.find(domain) is not None else NO_ROUTE
        full = address if domain else f"{address}@{self._domain}"
        found = await find_recipient(self._drop, full)
        if found is None:
            return NO_SUCH_USER
        self._local[address] = found
        return None

    async def message(self, session: Session, envelope: Envelope, raw: bytes) -> Reply:
        if trace.hops(raw) >= trace.MAX_HOPS:
            return LOOP
        if not await self._bears_own_name(raw, session):
            return NOT_YOUR_NAME
        mail_id = self._mail_id()
        submission = envelope.submission_id or secrets.token_hex(16)
        # Ids are remembered for each account apart: nobody can use up another's.
        scoped = f"{session.principal}/{submission}"
        received = trace.received(
            session,
            by=self._hostname,
            mail_id=mail_id,
            now=self._now(),
            smtputf8=envelope.smtputf8,
            hide_client=True,
        )
        local = [self._local[one] for one in envelope.recipients if one in self._local]
        remote = [one for one in envelope.recipients if one not in self._local]
        top = trace.return_path(envelope.sender)
        top += results_field(self._domain, submitted_by(session.principal or ""))
        try:
            if remote:
                await self._queue.add(
                    mail_id=mail_id,
                    sender=envelope.sender,
                    recipients=remote,
                    raw=await self._signature(raw) + received + raw,
                    submission=scoped,
                    smtputf8=envelope.smtputf8,
                    wishes=envelope.wishes,
                )
            if local:
                mail = top + received + await without_forged_results(raw, self._domain)
                for some in _batches(local, len(raw)):
                    await deliver_mail(self._drop, some, lambda _: mail, scoped, self._seal)
                await self._confirm(envelope, local, raw, scoped)
        except Exception as error:
            return reply_to_failure(error)
        return SENT

    async def _confirm(
        self, envelope: Envelope, local: list[Recipient], raw: bytes, scoped: str
    ) -> None:
        """Tells the sender who wants to hear of it (RFC 3461 4.1: SUCCESS) that the mail is in inboxes here."""
        wishes = envelope.wishes
        told = [one.address for one in local if wishes.notice(one.address).wants("SUCCESS")]
        sender = await find_recipient(self._drop, envelope.sender) if told else None
        if sender is None:
            return
        now = self._now()
        report = status_report(
            "delivered",
            hostname=self._hostname,
            domain=self._domain,
            sender=envelope.sender,
            raw=raw,
            wishes=wishes,
            created=now,
            recipients=dict.fromkeys(told, Outcome("delivered", "")),
            now=now,
            report_id=secrets.token_hex(16),
        )
        served = trace.return_path("") + report
        once = report_once(scoped, "delivered", told)
        await deliver_mail(self._drop, [sender], lambda _: served, once, self._seal)

    async def _signature(self, raw: bytes) -> bytes:
        """The field that signs the mail as it leaves; a large one is hashed beside the loop."""
        if self._signer is None:
            return b""
        if len(raw) <= SEAL_INLINE:
            return self._signer.signature_field(raw, self._now())
        return await asyncio.to_thread(self._signer.signature_field, raw, self._now())

    async def _bears_own_name(self, raw: bytes, session: Session) -> bool:
        if len(raw) <= SEAL_INLINE:
            author = author_of(raw)
        else:
            author = await asyncio.to_thread(author_of, raw)
        return author is not None and await self._owns(author, session)

    async def _owns(self, address: str, session: Session) -> bool:
        """Whether an address is the account's own or an alias of it, with or without a +tag."""
        if is_own(address, session.principal):
            return True
        found = await find_recipient(self._drop, address)
        return found is not None and found.account.address == session.principal


def _batches(recipients: list[Recipient], size: int) -> list[list[Recipient]]:
    """As many at once as copies may be in memory together. Who was served before a failure is not served again
    when the mail comes again under its id."""
    at_once = max(1, COPIES // max(size, 1))
    return [recipients[at : at + at_once] for at in range(0, len(recipients), at_once)]
