"""The MX: takes mail from anyone for users of this domain, and for nobody else.

Invariants:
* It relays nothing: an address outside `domain` is refused at RCPT.
* What it found about the sender stands in the second line of what it seals, in this provider's name, and nothing that
  came with the mail says so elsewhere (RFC 8601 5).
* 250 comes after every recipient's sealed copy is on disk. What cannot be sealed or stored gets 4xx,
  and the sending server keeps the mail.
"""

from __future__ import annotations

import secrets
import ssl
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from leap.mail.authentication_results import results_field
from leap.mail.contract import ProviderChecks
from leap.mail.smtp import Envelope, Limits, Reply, Session, SmtpConfig
from leap.mail.smtp.address import split_address
from leap.provider.contract import MailDrop, normal_address
from leap.provider.mx import trace
from leap.provider.mx.arrival import (
    COPIES,
    Recipient,
    Seal,
    deliver_mail,
    find_recipient,
    reply_to_failure,
    submission_of_stranger,
    without_forged_results,
)
from leap.provider.mx.authentication import MailChecks
from leap.soledad.inbox_seal import seal_to_inbox
from leap.soledad.wire import MAX_MESSAGE_BYTES

NO_RELAY = Reply(550, "5.7.1", "This server takes mail for its own users only; it does not relay.")
NO_SUCH_USER = Reply(550, "5.1.1", "There is no such mailbox here.")
LOOP = Reply(
    554, "5.4.6", f"The mail went through {trace.MAX_HOPS} servers: it goes round in a loop."
)
DISOWNED = Reply(
    550,
    "5.7.26",
    "The domain of the From address asks to refuse mail which it did not authenticate.",
)  # RFC 7372 3.5
TAKEN = Reply(250, "2.0.0", "Mail sealed and stored.")


def mx_config(
    hostname: str,
    tls: ssl.SSLContext | None,
    *,
    lmtp: bool = False,
    spool_folder: Path | None = None,
) -> SmtpConfig:
    """How the engine behaves as an MX: no log-in, STARTTLS when there is a certificate.

    DSN is not offered: a report on delivery would go to whoever a stranger names as the sender. The server
    before us then tells its user that the mail was relayed (RFC 3461 5.2.2). REQUIRETLS ends here: what
    it protects is sealed before it is stored, and goes on over HTTPS only.
    """
    return SmtpConfig(
        hostname=hostname,
        max_size=MAX_MESSAGE_BYTES,
        tls=tls,
        lmtp=lmtp,
        submission_ids=True,
        require_tls=True,
        spool_folder=spool_folder,
        limits=Limits(recipients=200, refused_recipients=50, copied=COPIES),
    )


def new_mail_id() -> str:
    """A random name for one mail in trace fields."""
    return secrets.token_hex(8)


class MxHandler:
    """Decides for one connection from outside (`leap.mail.smtp.SmtpHandler`)."""

    def __init__(
        self,
        drop: MailDrop,
        *,
        domain: str,
        hostname: str,
        now: Callable[[], float] = time.time,
        mail_id: Callable[[], str] = new_mail_id,
        seal: Seal = seal_to_inbox,
        checks: MailChecks | None = None,
        refuse_disowned: bool = False,
    ) -> None:
        """Without `checks` nothing is said about the sender. `refuse_disowned` obeys p=reject of DMARC."""
        self._drop = drop
        self._checks = checks
        self._refuse_disowned = refuse_disowned
        self._domain = normal_address(domain)
        self._hostname = hostname
        self._now = now
        self._mail_id = mail_id
        self._seal = seal
        self._found: dict[str, Recipient] = {}

    async def authenticate(self, user: str, password: str) -> str | None:
        return None

    async def sender(
        self, session: Session, address: str, params: Mapping[str, str]
    ) -> Reply | None:
        self._found.clear()
        return None

    async def recipient(self, session: Session, address: str) -> Reply | None:
        domain = split_address(address)[1]
        full = address if domain else f"{address}@{self._domain}"
        if domain not in ("", self._domain):
            return NO_RELAY
        found = await find_recipient(self._drop, full)
        if found is None:
            return NO_SUCH_USER
        self._found[address] = found
        return None

    async def message(self, session: Session, envelope: Envelope, raw: bytes) -> Reply:
        if trace.hops(raw) >= trace.MAX_HOPS:
            return LOOP
        found = await self._found_about(session, envelope.sender, raw)
        if found is not None and self._refuse_disowned and _is_to_be_refused(found):
            return DISOWNED
        mail_id, now = self._mail_id(), self._now()
        top = trace.return_path(envelope.sender)
        if found is not None:
            top += results_field(self._domain, found)
        rest = await without_forged_results(raw, self._domain)

        def mail_for(recipient: Recipient) -> bytes:
            received = trace.received(
                session,
                by=self._hostname,
                mail_id=mail_id,
                now=now,
                recipient=recipient.address,
                smtputf8=envelope.smtputf8,
            )
            return top + received + rest

        try:
            submission = await submission_of_stranger(envelope.sender, envelope.submission_id, raw)
            await deliver_mail(
                self._drop,
                _one_each([self._found[address] for address in envelope.recipients]),
                mail_for,
                submission,
                self._seal,
            )
        except Exception as error:
            return reply_to_failure(error)
        return TAKEN

    async def _found_about(
        self, session: Session, sender: str, raw: bytes
    ) -> ProviderChecks | None:
        if self._checks is None:
            return None
        return await self._checks.check(
            peer=session.peer, helo=session.helo, sender=sender, raw=raw
        )


def _is_to_be_refused(found: ProviderChecks) -> bool:
    return found.dmarc == "fail" and found.policy == "reject"


def _one_each(recipients: list[Recipient]) -> list[Recipient]:
    """Addresses that differ by case only are one recipient."""
    return list({normal_address(one.address): one for one in recipients}.values())
