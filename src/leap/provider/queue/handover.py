"""Handing a mail to another server: one SMTP connection out, per-recipient results.

Invariants:
* A recipient is "delivered" only after the other server's 250 to the whole mail.
* STARTTLS is used whenever it is offered, and a handshake that fails is a temporary failure: a mail does
  not fall back to clear on a connection where encryption was promised. The certificate of a foreign
  MX proves nothing without DANE or MTA-STS, so it is checked only when `verify` is given.
* A mail with REQUIRETLS goes only over TLS, to a server whose certificate is right and which offers
  REQUIRETLS itself (RFC 8689 4.2.1). A mail that says "TLS-Required: No" goes whatever TLS does (RFC 8689 4.2.2).
* What the sender asked by DSN goes on to a server that offers it; of one that does not, "relayed" tells.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

import aiosmtplib

from leap.mail.delivery_wishes import Tls, mail_parameters, recipient_parameters
from leap.mail.smtp.address import is_ascii
from leap.mail.smtp.contract import SUBMISSION_KEYWORD
from leap.provider.contract import Endpoint
from leap.provider.queue.storage import Outcome, QueuedMail

TIMEOUT = 120.0  # seconds for a reply; RFC 5321 4.5.3.2 has 2 to 10 minutes
MAX_ANSWER = 500
_UNPRINTABLE = re.compile(r"[^ -~]+")
_NEEDS_SMTPUTF8 = Outcome("permanent", "550 5.6.7 The other server does not take such addresses.")
_TOO_LARGE = Outcome("permanent", "552 5.3.4 The mail is over the other server's limit.")
_NO_REQUIRETLS = Outcome(  # RFC 8689 4.2.1 and its enhanced code
    "permanent", "550 5.7.30 The other server does not promise to keep the mail inside TLS."
)


@dataclass(frozen=True, slots=True)
class Unreachable(Exception):
    """The connection failed; nothing is known of any recipient."""

    reason: str


def opportunistic_tls() -> ssl.SSLContext:
    """Encryption without knowing who is there (RFC 7435)."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Outward:
    """One connection to one server, for several mails one after the other."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        hostname: str,
        tls: Tls = "usual",
        verify: ssl.SSLContext | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        """`verify` is the context for a server whose certificate must be right; REQUIRETLS has one in any case."""
        self._remote = endpoint[0]
        self._endpoint = endpoint
        self._hostname = hostname
        self._timeout = timeout
        self._tls = tls
        if tls == "required" and verify is None:
            verify = ssl.create_default_context()
        if tls == "optional":
            self._client = self._new_client(False, opportunistic_tls())
        elif verify is None:
            self._client = self._new_client(None, opportunistic_tls())  # None: when it is offered
        else:
            self._client = self._new_client(True, verify)

    def _new_client(self, start_tls: bool | None, context: ssl.SSLContext) -> aiosmtplib.SMTP:
        return aiosmtplib.SMTP(
            hostname=self._endpoint[0],
            port=self._endpoint[1],
            local_hostname=self._hostname,
            timeout=self._timeout,
            start_tls=start_tls,
            tls_context=context,
        )

    async def connect(self) -> None:
        """Raises Unreachable."""
        await self._connect()
        if self._tls != "optional" or not self._client.supports_extension("starttls"):
            return
        try:
            await self._client.starttls()
            await self._client.ehlo()
        except (aiosmtplib.SMTPException, OSError):
            # RFC 8689 4.2.2: to arrive is worth more to this mail's sender than TLS that does not come about.
            self._client.close()
            self._client = self._new_client(False, opportunistic_tls())
            await self._connect()

    async def _connect(self) -> None:
        try:
            await self._client.connect()
            if self._client.is_ehlo_or_helo_needed:
                await self._client.ehlo()
        except (aiosmtplib.SMTPException, OSError) as error:
            self._client.close()
            raise Unreachable(_sentence(error)) from None

    async def hand_over(self, mail: QueuedMail, raw: bytes) -> dict[str, Outcome]:
        """What became of each recipient. Raises Unreachable when the connection breaks before that is
        known; then everything is tried again."""
        try:
            return await self._hand_over(mail, raw)
        except aiosmtplib.SMTPResponseException as error:
            await self._forget_mail()
            return dict.fromkeys(mail.recipients, self._refusal(error))
        except (aiosmtplib.SMTPException, OSError) as error:
            self._client.close()
            raise Unreachable(_sentence(error)) from None

    async def _hand_over(self, mail: QueuedMail, raw: bytes) -> dict[str, Outcome]:
        client = self._client
        if mail.tls == "required" and not client.supports_extension("requiretls"):
            return dict.fromkeys(mail.recipients, _NO_REQUIRETLS)
        utf8 = client.supports_extension("smtputf8")
        dsn = client.supports_extension("dsn")
        limit = client.esmtp_extensions.get("size", "")
        if limit.isdigit() and 0 < int(limit) < len(raw):
            return dict.fromkeys(mail.recipients, _TOO_LARGE)
        results = {
            one: _NEEDS_SMTPUTF8 for one in mail.recipients if not utf8 and not is_ascii(one)
        }
        if not utf8 and not is_ascii(mail.sender):
            return dict.fromkeys(mail.recipients, _NEEDS_SMTPUTF8)
        encoding = "utf-8" if utf8 else "ascii"
        await client.mail(mail.sender, options=self._options(mail, raw), encoding=encoding)
        accepted: list[str] = []
        for recipient in mail.recipients:
            if recipient in results:
                continue
            try:
                asked = recipient_parameters(mail.wishes, recipient) if dsn else []
                await client.rcpt(recipient, options=asked, encoding=encoding)
            except aiosmtplib.SMTPRecipientRefused as error:
                results[recipient] = self._refusal(error)
            else:
                accepted.append(recipient)
        if not accepted:
            await self._forget_mail()
            return results
        return results | await self._send_text(mail, accepted, raw)

    async def _send_text(
        self, mail: QueuedMail, accepted: Sequence[str], raw: bytes
    ) -> dict[str, Outcome]:
        try:
            answer = await self._client.data(raw)
        except aiosmtplib.SMTPDataError as error:
            return dict.fromkeys(accepted, self._refusal(error))
        said = _clean(f"{answer.code} {answer.message}")
        last = not self._client.supports_extension("dsn")  # RFC 3461 5.2.2: nobody after us tells
        return {
            one: Outcome(
                "relayed" if last and mail.wishes.notice(one).wants("SUCCESS") else "delivered",
                said,
                self._remote,
            )
            for one in accepted
        }

    def _options(self, mail: QueuedMail, raw: bytes) -> list[str]:
        client = self._client
        options = []
        if client.supports_extension("size"):
            options.append(f"SIZE={len(raw)}")
        if client.supports_extension("8bitmime") and not raw.isascii():
            options.append("BODY=8BITMIME")
        if client.supports_extension("smtputf8") and mail.smtputf8:
            options.append("SMTPUTF8")
        if mail.tls == "required":
            options.append("REQUIRETLS")
        if client.supports_extension("dsn"):
            options += mail_parameters(mail.wishes)
        if client.supports_extension(SUBMISSION_KEYWORD.lower()):
            options.append(f"{SUBMISSION_KEYWORD}={mail.handover_id}")
        return options

    async def _forget_mail(self) -> None:
        try:
            await self._client.rset()
        except (aiosmtplib.SMTPException, OSError):
            self._client.close()

    def _refusal(self, error: aiosmtplib.SMTPResponseException) -> Outcome:
        # 5yz is permanent (RFC 5321 4.2.1), everything else that is not success can be tried again.
        answer = _clean(f"{error.code} {error.message}")
        if 500 <= error.code < 600:
            return Outcome("permanent", answer, self._remote)
        return Outcome("temporary", answer, self._remote)

    @property
    def open(self) -> bool:
        """Whether another mail can be handed over on this connection."""
        return self._client.is_connected

    def abort(self) -> None:
        """Hangs up."""
        self._client.close()

    async def close(self) -> None:
        """Says QUIT when the other side still listens."""
        if not self._client.is_connected:
            return
        try:
            await self._client.quit(timeout=5.0)
        except (aiosmtplib.SMTPException, OSError):
            pass
        finally:
            self._client.close()


def _clean(text: str) -> str:
    return _UNPRINTABLE.sub(" ", text)[:MAX_ANSWER]


def _sentence(error: Exception) -> str:
    return _clean(f"The other server could not be reached: {error}")
