"""The outside of an encrypted message (RFC 9580 10.3.2): what opens it, and the container with its content.

    message  =  (PKESK | SKESK)* container          container = SEIPD, or GnuPG's OCB packet

Invariants:
* A container without protection against changes is refused here, before any key is used.
* Nothing follows the container but markers and padding.
"""

from __future__ import annotations

from typing import NamedTuple

from leap.keymanager.openpgp.armor import dearmor
from leap.keymanager.openpgp.contents import not_encrypted
from leap.keymanager.openpgp.errors import IntegrityError, Malformed, NoSecretKey, OpenPGPError
from leap.keymanager.openpgp.ocb import open_ocb
from leap.keymanager.openpgp.packets import Packet, Tag, read_packets
from leap.keymanager.openpgp.seipd import open_container
from leap.keymanager.openpgp.session_key import SessionKey, WrappedKey, read_wrapped_key

MAX_RECIPIENTS = 512  # keys written and read; a list that encrypts to more must split its mail


class Envelope(NamedTuple):
    """What stands around the content; `refused` is why one of the session keys could not be read."""

    wrapped: tuple[WrappedKey, ...]
    locked: tuple[bytes, ...]
    """The bodies of SKESK packets: `passphrase_key` reads them."""
    refused: OpenPGPError | None
    container: Packet

    @property
    def recipients(self) -> tuple[str, ...]:
        """Fingerprints or key ids in upper hex, "" for each hidden one."""
        return tuple(wrapped.recipient.hex().upper() for wrapped in self.wrapped)

    def open(self, session: SessionKey) -> bytes:
        """The packets inside; raises IntegrityError, Unsupported, Malformed, NoSecretKey."""
        if self.container.tag == Tag.OCB:
            return open_ocb(self.container.body, session)
        if self.container.body[:1] == b"\x02" and session.cipher is not None:
            # RFC 9580 10.3.2.1: version 3 and 4 session keys are of version 1 containers alone
            raise NoSecretKey("the session key is of another kind than the message")
        return open_container(self.container.body, session)


def read_envelope(data: bytes) -> Envelope:
    """The envelope of an encrypted message, armored or not.

    Raises NotEncrypted, IntegrityError (legacy encryption that anybody can change), Malformed, TooLarge.
    """
    wrapped: list[WrappedKey] = []
    locked: list[bytes] = []
    refused: OpenPGPError | None = None
    container: Packet | None = None
    for item in read_packets(dearmor(data), limit=MAX_RECIPIENTS + 16):
        if container is not None:
            _check_after(item)
        elif item.tag == Tag.PKESK:
            try:
                wrapped.append(read_wrapped_key(item.body))
            except (
                OpenPGPError
            ) as error:  # one damaged or future recipient must not lock out the others
                refused = error
        elif item.tag == Tag.SKESK:
            locked.append(item.body)
        elif item.tag in (Tag.SEIPD, Tag.OCB):
            container = item
        elif item.tag == Tag.SED:
            raise IntegrityError(
                "the message is encrypted without protection against changes; it was not opened"
            )
        elif item.tag not in (Tag.MARKER, Tag.PADDING):
            raise not_encrypted(item.tag)
    if container is None:
        raise Malformed("an encrypted message without its encrypted part")
    return Envelope(tuple(wrapped), tuple(locked), refused, container)


def _check_after(item: Packet) -> None:
    if item.tag not in (Tag.MARKER, Tag.PADDING):
        raise Malformed("something follows the encrypted message that is not part of it")
