"""Text put into a mail on its way, at every place where a line ends: nothing may then vouch for it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from leap.mail.incoming.opening import Opened
from leap.mail.message import Message
from tests.mail.incoming.verdicts.judging import encryption_of, signatures_of, texts

MARK = "PUT-IN"
_BOUNDARY = re.compile(rb"(?:\A|\n)--([^\s-][^\r\n]*?)(?:--)?[ \t]*\r?(?=\n)")
_PART = b"Content-Type: %s\r\n\r\n" + MARK.encode() + b": pay to another account.\r\n"


def places(raw: bytes) -> list[int]:
    """Where lines begin."""
    return [0, *(found.end() for found in re.finditer(rb"\n", raw))]


def insertions(raw: bytes) -> list[bytes]:
    """What is put in: text, parts in front of each boundary of the mail, early ends, a header's end, armor."""
    word = MARK.encode()
    made = [
        word + b": pay to another account.\r\n",
        b"\r\n" + word + b": pay to another account.\r\n",
        b"X: y\r" + word + b"\r\n\r\n" + word + b"\r\n",
        b"-----BEGIN PGP SIGNED MESSAGE-----\r\nHash: SHA512\r\n\r\n" + word + b"\r\n",
    ]
    for boundary in dict.fromkeys(found[1] for found in _BOUNDARY.finditer(raw)):
        delimiter = b"--" + boundary
        text, page = _PART % b"text/plain", _PART % b"text/html"
        made += [
            delimiter + b"\r\n" + text,
            delimiter + b"\r\n" + page + delimiter + b"\r\n",
            delimiter + b"--\r\n" + word + b"\r\n",
            b"Content-Type: multipart/mixed; boundary="
            + boundary
            + b"\r\n\r\n"
            + delimiter
            + b"\r\n"
            + text,
        ]
    return made


def changed(raw: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Every mail that one insertion makes of this one."""
    for number, insertion in enumerate(insertions(raw)):
        for place in places(raw):
            yield number, place, raw[:place] + insertion + raw[place:]


def vouched(opened: Opened) -> list[str]:
    """The sections that show the text put in as if it were encrypted or signed by somebody."""
    status, found = opened.security, []
    if MARK.encode() not in opened.served:
        return []
    for leaf in texts(Message(opened.served)):
        if MARK in leaf.text:
            if encryption_of(leaf, status) == "end-to-end":
                found.append(f"{leaf.section} end-to-end")
            if "good" in signatures_of(leaf, status):
                found.append(f"{leaf.section} good")
    return found
