"""What search may find in a message: made once, at storage, and the same for every question asked later.

What counts as its text says `all_text`; here are the limits of what is kept for an index.
"""

from __future__ import annotations

from dataclasses import dataclass

from leap.mail.message.addresses import Address
from leap.mail.message.all_text import MAX_PART, all_texts
from leap.mail.message.view import Message

MAX_BODY = 1_000_000  # characters; a novel. What is beyond is only found by reading the message
MAX_FIELD = 50_000  # characters of one address list or of the names of attachments


@dataclass(frozen=True, slots=True)
class Searchable:
    """The texts of one message by what a person asks for, one entry a line.

    `to` holds To, Cc and Bcc. An international domain stands as written and as people read it. `complete` is
    False when something was cut at a limit: then only reading the message tells what it does not hold.
    """

    from_: str
    to: str
    subject: str
    attachments: str
    body: str
    complete: bool = True

    def __repr__(self) -> str:
        return f"Searchable({len(self.body)} characters)"  # what people write is never in a log


def searchable(message: Message) -> Searchable:
    """The texts of a message. Never raises; CPU about 0.2 ms for a mail of 10 kB, at most about 0.3 s."""
    names: list[str] = []
    pieces: list[str] = []
    room = MAX_BODY
    complete = True
    for kind, text in all_texts(message.raw, message.root, MAX_PART):
        if kind == "name":
            names.append(text)
            continue
        if len(text) > room:
            text, complete = text[:room], False
        if text:
            pieces.append(text)
            room -= len(text)
        if room <= 0:
            complete = False
            break
    complete = complete and all(
        part.size <= MAX_PART for part in message.root.walk() if part.type == "text"
    )
    from_ = _people(message, "from")
    to = "\n".join(filter(None, (_people(message, name) for name in ("to", "cc", "bcc"))))
    attachments = "\n".join(names)
    if max(map(len, (from_, to, attachments, message.subject))) > MAX_FIELD:
        complete = False
    return Searchable(
        from_[:MAX_FIELD],
        to[:MAX_FIELD],
        _storable(message.subject)[:MAX_FIELD],
        _storable(attachments)[:MAX_FIELD],
        _storable("\n".join(pieces)),
        complete,
    )


def _people(message: Message, name: str) -> str:
    return "\n".join(_person(address) for address in message.addresses(name))


def _person(address: Address) -> str:
    spelled = address.address
    readable = address.readable
    text = f"<{spelled}>" if readable == spelled else f"<{readable}> <{spelled}>"
    return _storable(f"{address.display_name} {text}" if address.name else text)


def _storable(text: str) -> str:
    """NUL ends a text in SQLite's functions."""
    return text.replace("\0", " ") if "\0" in text else text
