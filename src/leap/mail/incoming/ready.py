"""From the sealed octets of an inbox item to all that is stored of it: one pure function, for any thread or process.

    unseal -> open_mail -> header record -> sealed blobs

Invariants:
* What one item does, no other feels: each has an outcome of its own.
* Clear text stays in here; what comes out is sealed, but for the header record, which the encrypted database holds.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from leap.keymanager.mail_material import KeyMaterial
from leap.keymanager.openpgp import SecretKey
from leap.mail.contract import TooLarge
from leap.mail.incoming.assembly import from_address_of
from leap.mail.incoming.key_material import find_key_material
from leap.mail.incoming.opening import Opened, open_mail, unopened
from leap.mail.incoming.senders import Senders, SendersWanted
from leap.mail.model import HeaderRecord
from leap.mail.storing import MAX_SERVED_BYTES, Prepared, check_size, prepare_now
from leap.soledad.envelope import Epoch
from leap.soledad.errors import ProviderLies
from leap.soledad.inbox_seal import InboxPrivateKey, open_from_inbox

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Desk:
    """What opening needs besides the mail; travels to a worker process through a pipe, never over disk."""

    account: str
    inbox_keys: Sequence[InboxPrivateKey] = field(repr=False)
    own_keys: Sequence[SecretKey] = field(repr=False)
    epoch: Epoch
    own_domain: str
    now: float
    senders: Senders = field(repr=False, default_factory=Senders)


class SignedBy(NamedTuple):
    """Whose good signature is on a mail, and the fingerprint of the certificate."""

    address: str
    fingerprint: str


class Ready(NamedTuple):
    """An item ready to be stored; `fault` names what this version failed at, if it is served as it came.

    `signed_by` is its From address, and the key, if a good signature of that address's key is on it; `keys` is what it
    says of keys.
    """

    prepared: Prepared
    fault: str = ""
    signed_by: SignedBy | None = None
    keys: KeyMaterial | None = None

    def __repr__(self) -> str:
        return "Ready()"


class Refused(NamedTuple):
    """An item that cannot be stored for now, and why: it goes to quarantine.

    `poisoned`: it brought down, or held up, the process that opened it.
    """

    reason: str
    poisoned: bool = False


Outcome = Ready | Refused | SendersWanted


def make_ready(sealed: bytes, desk: Desk) -> Outcome:
    """Opens and prepares one item. Raises MemoryError, OSError: faults of this machine, not of the mail."""
    try:
        raw = open_from_inbox(sealed, desk.inbox_keys, desk.account)
        try:
            opened, fault = _opened(raw, desk)
        except SendersWanted as wanted:
            return wanted
        check_size(opened.served, MAX_SERVED_BYTES)
        prepared = _prepared(opened, desk)
        keys = _key_material(raw, opened, prepared.record)
        return Ready(prepared, fault, _signed_by(opened), keys)
    except (ProviderLies, TooLarge) as error:
        return Refused(str(error))
    except (MemoryError, OSError):
        raise
    except Exception as error:  # a fault of ours that this mail brings out
        return Refused(f"this version cannot store it ({type(error).__name__})")


def make_all_ready(items: Sequence[bytes], desk: Desk) -> list[Outcome]:
    """`make_ready` for each."""
    return [make_ready(sealed, desk) for sealed in items]


def _opened(raw: bytes, desk: Desk) -> tuple[Opened, str]:
    try:
        opened = open_mail(
            raw, desk.own_keys, desk.senders, own_domain=desk.own_domain, now=desk.now
        )
        return opened, ""
    except (SendersWanted, MemoryError, OSError):
        raise
    except Exception as error:
        return unopened(raw, desk.own_domain), type(error).__name__


def _key_material(raw: bytes, opened: Opened, record: HeaderRecord) -> KeyMaterial | None:
    """What the mail says of keys; a fault of ours in it must not keep the mail back."""
    try:
        return find_key_material(raw, opened, record)
    except (MemoryError, OSError):
        raise
    except Exception as error:
        logger.warning("what a mail says of keys cannot be read: %s", type(error).__name__)
        return None


def _signed_by(opened: Opened) -> SignedBy | None:
    good = next((one for one in opened.security.signatures if one.state == "good"), None)
    address = opened.from_address or from_address_of(opened.served) if good is not None else None
    return SignedBy(address, good.fingerprint) if good is not None and address else None


def _prepared(opened: Opened, desk: Desk) -> Prepared:
    return prepare_now(
        opened.served,
        opened.security,
        opened.original,
        account=desk.account,
        epoch=desk.epoch,
    )
