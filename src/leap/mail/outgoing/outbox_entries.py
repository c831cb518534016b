"""What is in the outbox: a mail to keep, a mail on its way, its copies, and what became of each recipient."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from leap.mail.delivery_wishes import NO_WISHES, DeliveryWishes
from leap.mail.outbox_contract import Handling, ResultState

Protection = Literal["open", "encrypted", "as-is"]


@dataclass(frozen=True, slots=True)
class RecipientState:
    """`copy` names the one for it, None until the copies are made; `code` and `reply` are the last word heard.

    `in_hand`: it may have been handed over, or is just being. `how` it goes: decided once as "encrypted", it stays so.
    """

    address: str
    copy: str | None
    state: ResultState
    code: int
    reply: str
    in_hand: bool = False
    how: Handling = ""


@dataclass(frozen=True, slots=True)
class Copy:
    """What some of the recipients get: ready bytes, and the id by which a repetition is known.

    `name` is that id, or for one of several copies that stand for an older one, that id, a dot and a number.
    `keys`: the key each recipient's is encrypted to (`copies.key_of`); `made`: when it was kept, in seconds since 1970.
    """

    name: str
    recipients: tuple[str, ...]
    message: bytes = field(repr=False)
    keys: Mapping[str, str] = field(default_factory=dict)
    made: float = 0.0
    how: Handling = ""

    @property
    def submission_id(self) -> str:
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class NewEntry:
    """A mail to keep; `added` are header lines of ours, `message` lacks what must not travel.

    `message_id_was_given`: by the mail program, which makes a second submission recognisable. `not_before`: when it may
    leave, in seconds since 1970, 0 at once; None after the delay that was set. `encrypted`: to whom it goes
    encrypted or not at all, whatever comes.
    """

    outbox_id: str
    sender: str
    recipients: tuple[str, ...]
    subject: str
    message: bytes = field(repr=False)
    added: tuple[bytes, ...]
    message_id: str
    protection: Protection
    policy: str
    created: float
    message_id_was_given: bool = False
    not_before: float | None = None
    encrypted: Collection[str] = ()
    wishes: DeliveryWishes = NO_WISHES

    @property
    def digest(self) -> bytes | None:
        """The same for a repeated submission only; None where that cannot be told."""
        if not self.message_id_was_given:
            return None
        parts = [
            self.sender.encode(),
            *sorted(one.encode() for one in self.recipients),
            self.message,
        ]
        if self.wishes != NO_WISHES:
            parts.append(msgspec.json.encode(self.wishes))
        return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest()


@dataclass(frozen=True, slots=True)
class Entry:
    """A mail on its way. `protection` "encrypted" means: decided once, never in clear any more."""

    outbox_id: str
    sender: str
    subject: str
    message: bytes = field(repr=False)
    added: tuple[bytes, ...]
    message_id: str
    protection: Protection
    policy: str
    attempts: int
    created: float
    expires: float
    reason: str
    recipients: tuple[RecipientState, ...]
    copies: tuple[Copy, ...]
    wishes: DeliveryWishes = NO_WISHES
    delay_told: bool = False

    @property
    def waiting(self) -> tuple[str, ...]:
        return tuple(one.address for one in self.recipients if one.state == "waiting")

    @property
    def pinned(self) -> frozenset[str]:
        """To whom it goes encrypted or not at all."""
        return frozenset(
            one.address
            for one in self.recipients
            if one.how == "encrypted" or self.protection == "encrypted"
        )
