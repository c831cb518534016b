"""Handing a mail to another server: one SMTP connection out, per-recipient results.

Invariants:
* A recipient is "delivered" only after the other server's 250 to the whole mail.
* STARTTLS is used whenever it is offered, and a handshake that fails is a temporary failure: a mail does
  not fall back to clear on a connection where encryption was promised. The certificate of a foreign
  MX proves nothing without DANE or MTA-STS, so it is checked only when `verify` is given.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass

import aiosmtplib

from leap.mail.smtp.address import is_ascii
from leap.mail.smtp.contract import SUBMISSION_KEYWORD
from leap.provider.contract import Endpoint
from leap.provider.queue.storage import Outcome, QueuedMail

TIMEOUT = 120.0  # seconds for a reply; RFC 5321 4.5.3.2 has 2 to 10 minutes
MAX_ANSWER = 500
_UNPRINTABLE = re.compile(r"[^ -~]+")
_NEEDS_SMTPUTF8 = Outcome("permanent", "550 5.6.7 The other server does not take such addresses.")
_TOO_LARGE = Outcome("permanent", "552 5.3.4 The mail is over the other server's limit.")


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
        verify: ssl.SSLContext | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        self._remote = endpoint[0]
        self._client = aiosmtplib.SMTP(
            hostname=endpoint[0],
            port=endpoint[1],
            local_hostname=hostname,
            timeout=timeout,
            start_tls=True if verify is not None else None,  # None: when it is offered
            tls_context=verify if verify is not None else opportunistic_tls(),
        )

    async def connect(self) -> None:
        """Raises Unreachable."""
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
        utf8 = client.supports_extension("smtputf8")
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
                await client.rcpt(recipient, encoding=encoding)
            except aiosmtplib.SMTPRecipientRefused as error:
                results[recipient] = self._refusal(error)
            else:
                accepted.append(recipient)
        if not accepted:
            await self._forget_mail()
            return results
        return results | await self._send_text(accepted, raw)

    async def _send_text(self, accepted: Sequence[str], raw: bytes) -> dict[str, Outcome]:
        try:
            answer = await self._client.data(raw)
        except aiosmtplib.SMTPDataError as error:
            return dict.fromkeys(accepted, self._refusal(error))
        return dict.fromkeys(
            accepted, Outcome("delivered", _clean(f"{answer.code} {answer.message}"), self._remote)
        )

    def _options(self, mail: QueuedMail, raw: bytes) -> list[str]:
        client = self._client
        options = []
        if client.supports_extension("size"):
            options.append(f"SIZE={len(raw)}")
        if client.supports_extension("8bitmime") and not raw.isascii():
            options.append("BODY=8BITMIME")
        if client.supports_extension("smtputf8") and mail.smtputf8:
            options.append("SMTPUTF8")
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
