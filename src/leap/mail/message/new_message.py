"""A whole new message out of what a person wrote: text, perhaps HTML, files, whom it answers.

    multipart/mixed { multipart/alternative { text/plain; format=flowed, text/html }, file, file, ... }

with each level only when there is something for it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from leap.mail.message.compose import (
    address_field,
    binary_entity,
    field,
    id_field,
    message_entity,
    message_id,
    multipart_entity,
    new_boundary,
    text_entity,
)
from leap.mail.message.dates import format_date
from leap.mail.message.flowed import flow

People = Sequence[tuple[str, str]]  # (display name, address)


@dataclass(frozen=True, slots=True)
class File:
    """A file to send along; of type message/rfc822 it is a whole message, whose octets are not touched."""

    name: str
    content_type: str
    content: bytes


def new_message(
    *,
    sender: tuple[str, str],
    to: People = (),
    cc: People = (),
    bcc: People = (),
    subject: str = "",
    text: str = "",
    html: str | None = None,
    files: Sequence[File] = (),
    in_reply_to: Sequence[str] = (),
    references: Sequence[str] = (),
    seconds: float,
    zone: int = 0,
    own_id: str | None = None,
    utf8: bool = False,
    random: Callable[[int], bytes] = secrets.token_bytes,
) -> bytes:
    """The message as octets. `text` has one paragraph a line and ">" before what is quoted. `seconds` since 1970 and
    `zone` in minutes east of UTC date it. `bcc` is written too: who sends takes the field away.

    Raises ValueError for what can be no address, id, type or line of a header, and for an address that needs `utf8`.
    """
    parts = [text_entity(flow(text), flowed=True)]
    if html is not None:
        parts.append(text_entity(html, subtype="html"))
    if len(parts) > 1:
        parts = [multipart_entity("alternative", parts, boundary=new_boundary(random=random))]
    for file in files:
        if file.content_type.lower() == "message/rfc822":
            parts.append(message_entity(file.content))
        else:
            parts.append(binary_entity(file.content, file.content_type, filename=file.name))
    body = (
        parts[0]
        if len(parts) == 1
        else multipart_entity("mixed", parts, boundary=new_boundary(random=random))
    )
    domain = sender[1].rpartition("@")[2]
    head = [
        field("Date", format_date(seconds, zone)),
        address_field("From", [sender], utf8=utf8),
        *(
            address_field(name, people, utf8=utf8)
            for name, people in (("To", to), ("Cc", cc), ("Bcc", bcc))
            if people
        ),
        *([field("Subject", subject, utf8=utf8)] if subject.strip() else []),
        id_field("Message-ID", [own_id or message_id(domain, random=random)]),
        *([id_field("In-Reply-To", in_reply_to)] if in_reply_to else []),
        *([id_field("References", references)] if references else []),
        field("MIME-Version", "1.0"),
    ]
    return b"".join(head) + body
