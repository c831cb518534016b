"""What threads and contacts ask of a message, taken from its header record once. Pure.

Ids are kept as numbers of 63 bits (BLAKE2b, cut). Whoever makes two ids with one number gets two threads into one,
which a References field does as well.
"""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

import msgspec

from leap.mail.contacts.envelope import Person, people_of
from leap.mail.model import HeaderRecord
from leap.mail.threads.model import ThreadId
from leap.mail.threads.subject import base_subject, subject_key

_LATEST_DATE = 1 << 60  # what a Date field can say lies far below
_people = msgspec.msgpack.Decoder(tuple[list[Person], list[Person]])


class Facts(NamedTuple):
    """Of one message. `ids`: its own number, then those of its references, oldest first. `subject`: of its base
    subject, 0 without one. `orphan`: a reply by its subject which says not to what."""

    ids: tuple[int, ...]
    date: int | None  # of the Date field
    subject: int
    orphan: bool
    senders: list[Person]
    recipients: list[Person]

    @property
    def ids_octets(self) -> bytes:
        return struct.pack(f">{len(self.ids)}Q", *self.ids)

    @property
    def people_octets(self) -> bytes:
        return msgspec.msgpack.encode((self.senders, self.recipients))


def facts_of(record: HeaderRecord) -> Facts:
    """CPU about 40 µs. Never raises."""
    references = [number_of(b"<" + one.encode()) for one in record.references]
    # without an id the same octets, stored twice, are one message to threads
    name = b"<" + record.internet_id.encode() if record.internet_id else b"=" + record.sha256
    own = number_of(name)
    base = base_subject(record.subject)
    senders, recipients = people_of(record.envelope)
    date = record.date
    return Facts(
        ids=(own, *dict.fromkeys(one for one in references if one != own)),
        date=None if date is None else max(-_LATEST_DATE, min(date, _LATEST_DATE)),
        subject=number_of(b"S" + subject_key(base.text).encode("utf-8", "replace"))
        if base.text
        else 0,
        orphan=base.reply and not references,
        senders=senders,
        recipients=recipients,
    )


def number_of(octets: bytes) -> int:
    """1..2^63-1."""
    digest = hashlib.blake2b(octets, digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1 or 1


def ids_of(octets: bytes) -> tuple[int, ...]:
    return struct.unpack(f">{len(octets) // 8}Q", octets)


def people_in(octets: bytes) -> tuple[list[Person], list[Person]]:
    """Senders and recipients."""
    return _people.decode(octets)


def thread_id_of(number: int) -> ThreadId:
    return ThreadId(f"{number:016x}")


def find_number(thread_id: str) -> int | None:
    """The number a thread id stands for; None when it is no thread id."""
    try:
        return int(thread_id, 16) if len(thread_id) == 16 and thread_id.isalnum() else None
    except ValueError:
        return None
