"""What the provider's mail side (MX, submission, queue) and its HTTP side ask of each other.

Invariants:
* `deliver` returns only when every delivery is on disk; it is all or nothing.
* What is delivered is sealed already: nothing in clear passes this contract.
* Addresses are compared in lower case; `normal_address` is the one place which says how.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from leap.mail.smtp.scram import ScramAccount
    from leap.provider.mx.authentication import MailChecks
    from leap.provider.submission.dkim_signing import DkimSigner
    from leap.soledad.inbox_seal import InboxKey
    from leap.soledad.sqlite import Database

SUBMISSION_MEMORY = 30 * 24 * 3600  # seconds a submission id is remembered for each recipient

Endpoint = tuple[str, int]


class UnknownAccount(LookupError):
    """The account a delivery is for does not exist (any more)."""


@dataclass(frozen=True, slots=True)
class LocalAccount:
    """Where mail for a local address goes: it is sealed to `inbox_key` before it is delivered."""

    account_id: str
    address: str
    inbox_key: InboxKey


@dataclass(frozen=True, slots=True)
class Delivery:
    """One sealed mail for one account.

    `submission` is the random id of the sending client or None; `recipient` is the envelope address
    the id is remembered with.
    """

    account_id: str
    key_id: str
    sealed: bytes = field(repr=False)
    submission: str | None
    recipient: str


class MailDrop(Protocol):
    """What the mail side needs of accounts and inboxes."""

    @property
    def db(self) -> Database:
        """The provider's database, in which the queue keeps its own tables."""
        ...

    async def find_account(self, address: str) -> LocalAccount | None:
        """The account of a local address, in any case of letters, or None."""
        ...

    async def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Put all of them into their inboxes in one durable transaction.

        A (submission, recipient) delivered during the last 30 days is left out silently. Raises
        UnknownAccount when an account is gone and `leap.soledad.errors.StoreFull` when the disk is
        full; then nothing of the call was stored.
        """
        ...

    async def check_token(self, address: str, token: str) -> bool:
        """Whether `token` is a live device token of the account at `address`."""
        ...

    async def find_verifiers(self, address: str) -> ScramAccount:
        """What SCRAM needs to know a live device token of the account at `address` by, which need not exist."""
        ...


class MailServers(Protocol):
    """The running mail side; the addresses are those really bound."""

    @property
    def mx_address(self) -> Endpoint: ...

    @property
    def submission_address(self) -> Endpoint: ...

    async def close(self) -> None:
        """Stop taking mail, let running transactions end, and give up the ports."""
        ...


class StartMail(Protocol):
    """The signature of `leap.provider.mail_servers.start_mail`, which the daemon calls.

    `routes` maps a foreign domain to the MX that takes its mail. `checks` judges who sent mail from outside; without it
    nothing is said of that. `signer` signs outgoing mail. A port 0 means any free one. Raises OSError when a port
    cannot be bound.
    """

    async def __call__(
        self,
        provider: MailDrop,
        *,
        domain: str,
        hostname: str,
        routes: Mapping[str, Endpoint],
        tls: ssl.SSLContext | None,
        mx: Endpoint,
        submission: Endpoint,
        checks: MailChecks | None = None,
        refuse_disowned: bool = False,
        signer: DkimSigner | None = None,
    ) -> MailServers: ...


def normal_address(address: str) -> str:
    """The form in which addresses of this provider are stored and compared."""
    return address.strip().lower()
