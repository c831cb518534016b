"""Handing a ready mail to the provider: SMTP submission with STARTTLS and an id that makes repeating harmless.

Invariants:
* Nothing is said before the connection is encrypted to the host the authority vouches for: no STARTTLS, no mail.
* One reply for each recipient; a recipient without a clear answer counts as not delivered yet.
* The token is not sent where the provider offers SCRAM, and the provider must then show that it knows the token.
* A submission id is used only with a provider that offers to remember it (X-LEAP-SUBMISSION).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPException,
    SMTPRecipientRefused,
    SMTPResponseException,
    SMTPSenderRefused,
)

from leap.mail.delivery_wishes import (
    NO_WISHES,
    DeliveryWishes,
    mail_parameters,
    recipient_parameters,
)
from leap.mail.message.header_lines import empty_line
from leap.mail.outgoing.scram_login import log_in
from leap.mail.smtp.auth import BadExchange
from leap.mail.smtp.contract import SUBMISSION_KEYWORD

TIMEOUT = (
    60.0  # seconds for one command; RFC 5321 4.5.3.2 asks for more, from clients without a queue
)
IDLE = 20.0  # seconds a connection is kept for the next mail; the provider waits 300
CONNECTIONS = 4
_LOG_IN_CODES = (530, 534, 535, 538)  # RFC 4954 6: about the log-in, not about the mail

Result = dict[str, tuple[int, str]]


class Refused(tuple[int, str]):
    """A (code, reply) from before the message was sent: nothing was handed over for this recipient.

    A refusal that comes after it says less: a provider may have kept the mail for some of the recipients.
    """

    __slots__ = ()


_NO_REQUIRETLS = Refused(
    (550, "5.7.30 The provider does not promise to keep the mail inside TLS on its way.")
)


class SubmissionUnavailable(Exception):
    """The provider could not be reached, or cannot take mail now; the text is a sentence for people.

    `may_have_arrived`: False when it is certain that the provider was not handed the mail.
    """

    def __init__(self, sentence: str, *, may_have_arrived: bool = True) -> None:
        super().__init__(sentence)
        self.may_have_arrived = may_have_arrived


class _AnswerLost(Exception):
    """The message was on its way when the connection ended."""


class Submission(Protocol):
    """How mail leaves this machine."""

    async def submit(
        self,
        submission_id: str,
        sender: str,
        recipients: Sequence[str],
        message: bytes,
        wishes: DeliveryWishes = NO_WISHES,
    ) -> Result:
        """(code, reply) for each recipient, or Refused; repeating a call with its id delivers nothing twice.

        Raises SubmissionUnavailable when nothing is known of any recipient.
        """
        ...


class SmtpSubmission:
    """Submission to a provider as `user`, with the device's token as password."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        user: str,
        token: Callable[[], str | None],
        tls: ssl.SSLContext | None = None,
        local_hostname: str = "localhost",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`token` is asked for each connection, as it changes with each log-in; `tls` must verify."""
        self._host = host
        self._port = port
        self._user = user
        self._token = token
        self._tls = tls or ssl.create_default_context()
        if self._tls.verify_mode != ssl.CERT_REQUIRED or not self._tls.check_hostname:
            raise ValueError("the TLS context must verify the provider")
        self._local_hostname = local_hostname  # never this machine's own name
        self._clock = clock
        self._idle: list[tuple[SMTP, float]] = []
        self._gate = asyncio.Semaphore(CONNECTIONS)
        self._closed = False

    async def submit(
        self,
        submission_id: str,
        sender: str,
        recipients: Sequence[str],
        message: bytes,
        wishes: DeliveryWishes = NO_WISHES,
    ) -> Result:
        """See `Submission.submit`."""
        try:
            async with self._gate, self._connection() as client:
                return await self._transaction(
                    client, submission_id, sender, recipients, message, wishes
                )
        except _AnswerLost as error:
            raise SubmissionUnavailable(
                "The provider's submission server ended the connection before it answered."
            ) from error
        except SMTPAuthenticationError as error:
            raise SubmissionUnavailable(
                "The provider does not accept this device's log-in any more; log in again.",
                may_have_arrived=False,
            ) from error
        except SMTPResponseException as error:
            raise SubmissionUnavailable(
                f"The provider answered: {error.code} {_one_line(error.message)}",
                may_have_arrived=False,
            ) from error
        except BadExchange as error:
            raise SubmissionUnavailable(
                "The submission server could not show that it knows this device; nothing was sent.",
                may_have_arrived=False,
            ) from error
        except ssl.SSLCertVerificationError as error:
            raise SubmissionUnavailable(
                "The submission server's certificate is not valid for this provider.",
                may_have_arrived=False,
            ) from error
        except (SMTPException, OSError, ValueError) as error:
            if isinstance(error.__cause__, ssl.SSLCertVerificationError):
                raise SubmissionUnavailable(
                    "The submission server's certificate is not valid for this provider.",
                    may_have_arrived=False,
                ) from error
            raise SubmissionUnavailable(
                "The provider's submission server cannot be reached.", may_have_arrived=False
            ) from error

    async def close(self) -> None:
        """Closes the connections that are kept, and those in use when their mail is done."""
        self._closed = True
        idle, self._idle = self._idle, []
        for client, _ in idle:
            with contextlib.suppress(SMTPException, OSError, TimeoutError):
                await client.quit(timeout=2)
            client.close()

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[SMTP]:
        """A connection that is logged in; kept for the next one if nothing went wrong."""
        client = await self._reuse() or await self._connect()
        with contextlib.ExitStack() as unless_kept:
            unless_kept.callback(client.close)
            yield client
            if not self._closed:
                unless_kept.pop_all()
                self._idle.append((client, self._clock()))

    async def _reuse(self) -> SMTP | None:
        while self._idle:
            client, since = self._idle.pop()
            if client.is_connected and self._clock() - since < IDLE:
                # The other side may have gone: asking costs less than a mail that fails.
                try:
                    await client.rset(timeout=5)
                except (SMTPException, OSError):
                    client.close()
                    continue
                return client
            client.close()
        return None

    async def _connect(self) -> SMTP:
        token = self._token()
        if token is None:
            raise SubmissionUnavailable(
                "This device is not logged in; log in again.", may_have_arrived=False
            )
        client = SMTP(
            hostname=self._host,
            port=self._port,
            start_tls=True,  # required: without it aiosmtplib raises
            tls_context=self._tls,
            local_hostname=self._local_hostname,
            timeout=TIMEOUT,
        )
        with contextlib.ExitStack() as on_failure:
            on_failure.callback(client.close)
            await client.connect()
            await client.ehlo()
            await log_in(client, self._user, token)
            on_failure.pop_all()
        return client

    async def _transaction(
        self,
        client: SMTP,
        submission_id: str,
        sender: str,
        recipients: Sequence[str],
        message: bytes,
        wishes: DeliveryWishes,
    ) -> Result:
        if wishes.require_tls and not client.supports_extension("requiretls"):
            return dict.fromkeys(recipients, _NO_REQUIRETLS)  # RFC 8689 4.2.1
        options = [f"SIZE={len(message)}"]
        if wishes.require_tls:
            options.append("REQUIRETLS")
        dsn = client.supports_extension("dsn")
        if dsn:
            options += mail_parameters(wishes)
        if client.supports_extension(SUBMISSION_KEYWORD):
            options.append(f"{SUBMISSION_KEYWORD}={submission_id}")
        if not message.isascii():
            options.append("BODY=8BITMIME")  # RFC 6152
        encoding = "ascii"
        if not all(address.isascii() for address in (sender, *recipients)):
            options.append("SMTPUTF8")  # RFC 6531
            encoding = "utf-8"
        elif _has_utf8_header(message) and client.supports_extension("smtputf8"):
            options.append("SMTPUTF8")  # RFC 6532 3: the fields need it, whatever the addresses are
        try:
            await client.mail(sender, options=options, encoding=encoding)
        except SMTPSenderRefused as error:
            if error.code < 500 or error.code in _LOG_IN_CODES:
                raise
            return dict.fromkeys(recipients, Refused((error.code, _one_line(error.message))))
        results: Result = {}
        for recipient in recipients:
            try:
                asked = recipient_parameters(wishes, recipient) if dsn else []
                await client.rcpt(recipient, options=asked, encoding=encoding)
            except SMTPRecipientRefused as error:
                results[recipient] = Refused((error.code, _one_line(error.message)))
        accepted = [recipient for recipient in recipients if recipient not in results]
        if not accepted:
            await client.rset()
            return results
        try:
            code, reply = await client.data(message)
        except SMTPResponseException as error:
            if error.code < 400:
                raise _AnswerLost from error
            code, reply = error.code, error.message
        except (SMTPException, OSError, ValueError) as error:
            raise _AnswerLost from error
        for recipient in accepted:
            results[recipient] = (code, _one_line(reply))
        return results


def _has_utf8_header(message: bytes) -> bool:
    header = message[: empty_line(message)]
    if header.isascii():
        return False
    try:
        header.decode("utf-8")
    except UnicodeDecodeError:  # octets of an old character set, which no extension is for
        return False
    return True


def _one_line(text: str) -> str:
    return " ".join(text.split())[:400]
