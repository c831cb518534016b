"""From an accepted mail to sealed deliveries in inboxes: the one way into an inbox.

Invariants:
* What cannot be sealed is not stored: the caller gets the exception and answers 4xx.
* The clear mail exists in memory only, and nothing of it is logged.
* A delivery is durable when `deliver_mail` returns.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from leap.mail.authentication_results import strip_spoken_for
from leap.mail.smtp import Reply
from leap.mail.smtp.address import split_address
from leap.provider.contract import Delivery, LocalAccount, MailDrop, normal_address
from leap.soledad.errors import StoreFull
from leap.soledad.inbox_seal import InboxKey, seal_to_inbox

log = logging.getLogger(__name__)

SEAL_INLINE = 256 * 1024  # octets: below, sealing takes less than the 5 ms a loop may be kept
HEADER_INLINE = 16 * 1024  # octets of a header looked through on the loop
COPIES = (
    256 * 1024 * 1024
)  # octets of a mail times its recipients: all copies are in memory together
DISK_FULL = Reply(452, "4.3.1", "The disk is full here; try again later.")
TRY_LATER = Reply(451, "4.3.0", "The mail could not be stored safely; try again later.")

Seal = Callable[[bytes, InboxKey, str], bytes]


@dataclass(frozen=True, slots=True)
class Recipient:
    """A local address of an envelope and whose it is."""

    address: str
    account: LocalAccount


async def find_recipient(drop: MailDrop, address: str) -> Recipient | None:
    """Whose the address is; `alice+anything@` is alice's unless it is somebody's own."""
    account = await drop.find_account(normal_address(address))
    if account is None:
        local, domain = split_address(address)
        name, plus, _ = local.partition("+")
        if not plus or not name or local.startswith('"'):
            return None
        account = await drop.find_account(normal_address(f"{name}@{domain}"))
    return None if account is None else Recipient(address, account)


async def deliver_mail(
    drop: MailDrop,
    recipients: Sequence[Recipient],
    mail_for: Callable[[Recipient], bytes],
    submission: str | None,
    seal: Seal = seal_to_inbox,
) -> None:
    """Seals one copy for each recipient and puts them all into inboxes, durably, or none.

    Raises what sealing or storing raises: then the mail is the sender's still.
    """

    def seal_all() -> list[Delivery]:
        return [
            Delivery(
                account_id=one.account.account_id,
                key_id=one.account.inbox_key.key_id,
                sealed=seal(mail_for(one), one.account.inbox_key, one.account.account_id),
                submission=submission,
                recipient=normal_address(one.address),
            )
            for one in recipients
        ]

    size = len(mail_for(recipients[0])) * len(recipients) if recipients else 0
    deliveries = seal_all() if size <= SEAL_INLINE else await asyncio.to_thread(seal_all)
    await drop.deliver(deliveries)


async def without_forged_results(raw: bytes, domain: str) -> bytes:
    """The mail without header fields that speak in this provider's name (RFC 8601 5)."""
    if len(raw) <= HEADER_INLINE or raw.find(b"\r\n\r\n", 0, HEADER_INLINE) >= 0:
        return strip_spoken_for(raw, domain)
    return await asyncio.to_thread(strip_spoken_for, raw, domain)


def reply_to_failure(error: Exception) -> Reply:
    """What to say when a mail could not be taken; logs the type of the failure only."""
    log.error("mail not taken: %s", type(error).__name__)
    return DISK_FULL if isinstance(error, StoreFull) else TRY_LATER


async def submission_of_stranger(sender: str, submission_id: str | None, raw: bytes) -> str | None:
    """The id under which a mail from another server is remembered, apart from ids given here.

    Sender and content are part of it: who knows somebody's id can have nothing left out but the same mail.
    """
    if submission_id is None:
        return None
    if len(raw) <= SEAL_INLINE:
        content = hashlib.sha256(raw).hexdigest()
    else:
        content = await asyncio.to_thread(lambda: hashlib.sha256(raw).hexdigest())
    return hashlib.sha256(f"mx\0{sender}\0{submission_id}\0{content}".encode()).hexdigest()
