"""Which parts of a message are files beside its text, and what they are called.

Order for a name: `filename` of Content-Disposition, `name` of Content-Type (each by RFC 2231, by RFC 2047 words written
there against RFC 2047 5, or as raw octets), the name in a uuencoded body, and last what the kind of part suggests:
a message inside is called by its subject, Outlook's wrapper by the name Outlook gives it.

A part is a file when it says so (`attachment`), when it is of a kind no program shows as text, or when it has a name
and is not the picture of a page (multipart/related). What only carries a protocol (signatures, the halves of an
encrypted mail, the machine's half of a report) is none, whatever it says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from leap.mail.message.decoding import UU_ENCODINGS, decode_uu
from leap.mail.message.header import find_field, iter_fields
from leap.mail.message.parameters import decoded_parameter, parse_disposition
from leap.mail.message.scanner import Part
from leap.mail.message.words import decode_words

MAX_NAME = 255  # characters, what file systems hold
TNEF = frozenset({"application/ms-tnef", "application/vnd.ms-tnef"})  # Outlook's own container
_PROTOCOL = frozenset({
    "application/pgp-signature", "application/pgp-encrypted", "application/pkcs7-signature",
    "application/x-pkcs7-signature", "message/delivery-status", "message/global-delivery-status",
    "message/disposition-notification", "message/global-disposition-notification", "message/feedback-report",
    "text/rfc822-headers", "message/global-headers",
})  # fmt: skip
_DISPOSITION = re.compile(
    rb"^content-disposition[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)", re.IGNORECASE | re.MULTILINE
)
_UU_BEGIN = re.compile(rb"^begin [0-7]{3,4} ([^\r\n]{1,255})\r?\n", re.MULTILINE)
# A uuencoded file in plain text: its lines have no lower-case letters, so that "end" ends them
_UU_IN_TEXT = re.compile(
    r"^begin [0-7]{3,4} ([^\n]{1,255})\n((?:[!-`][ -`]{0,84}\n)*+)(?:[ `]?\n)?end[ \t]*(?:\n|\Z)",
    re.MULTILINE,
)
_PATH = re.compile(r"[\\/]")


def disposition(raw: bytes, part: Part) -> tuple[str, dict[str, bytes]] | None:
    """What Content-Disposition says of a part: its word in lower case and its parameters."""
    found = _DISPOSITION.search(raw, part.header_start, part.body_start)
    return parse_disposition(found[1]) if found else None


def attachment_name(raw: bytes, part: Part) -> str | None:
    """The file name of a part as its sender wrote it, or one that its kind suggests; None without any.

    It is for showing and searching: whoever writes a file takes `safe_name`.
    """
    parsed = disposition(raw, part)
    name = decoded_parameter(parsed[1], "filename") if parsed else None
    name = name or decoded_parameter(part.params, "name")
    if name and name.strip():
        return name.strip()[:MAX_NAME]
    if part.encoding in UU_ENCODINGS and (
        begin := _UU_BEGIN.search(raw, part.body_start, part.end)
    ):
        return decode_words(begin[1])[:MAX_NAME] or None
    if part.is_message and part.children:
        inner = part.children[0]
        subject = find_field(iter_fields(raw, inner.header_start, inner.body_start), "subject")
        return f"{(subject.text if subject else '')[: MAX_NAME - 4] or 'message'}.eml"
    if part.content_type in TNEF:
        return "winmail.dat"
    return None


def safe_name(name: str) -> str:
    """A name that is one component of a path on any system: no separators, no dots in front, never empty."""
    last = "".join(c for c in _PATH.split(name)[-1] if c.isprintable() and c not in '<>:"|?*')
    return last.strip(" .")[:MAX_NAME] or "attachment"


def is_attachment(raw: bytes, part: Part, *, in_related: bool = False) -> bool:
    """Whether a part is a file beside the text."""
    if part.is_multipart or part.content_type in _PROTOCOL:
        return False
    parsed = disposition(raw, part)
    if parsed and parsed[0] == "attachment":
        return True
    if in_related and part.type in ("image", "text"):
        return False
    inline = parsed is not None and parsed[0] == "inline"
    if part.type == "text" or inline:
        named = parsed is not None and decoded_parameter(parsed[1], "filename")
        return bool(named or decoded_parameter(part.params, "name"))
    return True


def attachments(raw: bytes, root: Part, *, nested: bool = False) -> Iterator[tuple[str, Part]]:
    """(name or "", part) of every file, in order; also of those inside messages inside when `nested`."""
    stack: list[tuple[Part, bool]] = [(root, False)]
    while stack:
        part, in_related = stack.pop()
        if is_attachment(raw, part, in_related=in_related) and (
            part is not root or part.type != "text"
        ):
            yield attachment_name(raw, part) or "", part
        if part.is_multipart or nested:
            related = part.subtype == "related" and part.is_multipart
            # the first part of multipart/related is the page itself (RFC 2387 3.2), the others belong to it
            stack.extend((child, related) for child in reversed(part.children))


def uuencoded_files(text: str) -> Iterator[tuple[str, bytes]]:
    """(name, content) of the files that a plain text holds uuencoded, as mail did before MIME."""
    if "\nbegin " in text or text.startswith("begin "):
        for found in _UU_IN_TEXT.finditer(text):
            yield found[1].strip(), decode_uu(found[0].encode("ascii", "replace"))


def without_uuencoded(text: str) -> tuple[str, list[str]]:
    """A text without its uuencoded files, and their names."""
    if "\nbegin " not in text and not text.startswith("begin "):
        return text, []
    names = [found[1].strip() for found in _UU_IN_TEXT.finditer(text)]
    return (_UU_IN_TEXT.sub("", text), names) if names else (text, [])
