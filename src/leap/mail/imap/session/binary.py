"""BINARY (RFC 3516): parts of messages with their transfer encoding undone.

A multipart, a message inside and the message as a whole have no encoding but the identity (RFC 2045 6.4), so they are
given as they are.
"""

from __future__ import annotations

import asyncio

from leap.mail.imap.session.replies import No
from leap.mail.imap.session.sections import sliced
from leap.mail.imap.wire.fetching import BodySection
from leap.mail.imap.wire.responses import literal8
from leap.mail.message import Message
from leap.mail.message.decoding import UU_ENCODINGS

_INLINE = 1 << 18  # octets decoded in about a millisecond; more leaves the event loop
_KNOWN = frozenset({"", "7bit", "8bit", "binary", "base64", "quoted-printable"}) | UU_ENCODINGS


async def binary_value(message: Message, item: BodySection) -> bytes:
    """What stands behind the label. Raises No with UNKNOWN-CTE (RFC 3516 4.3)."""
    octets = await _decoded(message, item)
    if item.binary == "size":
        return b"%d" % len(octets or b"")
    return b"NIL" if octets is None else literal8(sliced(octets, item.partial))


async def _decoded(message: Message, item: BodySection) -> bytes | None:
    """None where the message has no such part."""
    part = message.part(item.path)
    if part is None:
        return None
    if part.is_multipart or part.is_message:
        return message.body(part)
    if part.encoding not in _KNOWN:
        raise No("The transfer encoding of this part is not known.", b"UNKNOWN-CTE")
    if part.end - part.body_start <= _INLINE:
        return message.content(part)
    return await asyncio.to_thread(message.content, part)
