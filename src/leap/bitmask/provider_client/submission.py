"""Submission to the account's provider: finds the server by asking the provider, and keeps what it said.

Invariant: the certificate is verified against the same authority as the provider's HTTPS.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from leap.mail.delivery_wishes import NO_WISHES, DeliveryWishes
from leap.mail.outgoing.submission import Result, SmtpSubmission, SubmissionUnavailable
from leap.soledad.errors import SoledadError
from leap.soledad.remote.client import ProviderClient


class ProviderSubmission:
    """A `Submission` whose address is asked for when it is first needed, and again when it stops answering."""

    def __init__(self, client: ProviderClient, address: str) -> None:
        self._client = client
        self._address = address
        self._smtp: SmtpSubmission | None = None

    async def submit(
        self,
        submission_id: str,
        sender: str,
        recipients: Sequence[str],
        message: bytes,
        wishes: DeliveryWishes = NO_WISHES,
    ) -> Result:
        """See `Submission.submit`; raises SubmissionUnavailable when the provider cannot be reached."""
        smtp = self._smtp
        if smtp is None:
            smtp = self._smtp = await self._find()
        try:
            return await smtp.submit(submission_id, sender, recipients, message, wishes)
        except SubmissionUnavailable:
            if (
                self._smtp is smtp
            ):  # it may have moved to another port; others may have found that out
                self._smtp = None
                await smtp.close()
            raise

    async def close(self) -> None:
        if self._smtp is not None:
            await self._smtp.close()

    async def _find(self) -> SmtpSubmission:
        try:
            info = await self._client.info()
        except SoledadError as error:
            raise SubmissionUnavailable(str(error), may_have_arrived=False) from error
        pem = self._client.ca_pem
        tls = ssl.create_default_context(cadata=pem.decode() if pem is not None else None)
        return SmtpSubmission(
            info.submission_host,
            info.submission_port,
            user=self._address,
            token=lambda: self._client.token,
            tls=tls,
        )
