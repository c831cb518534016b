"""From the octets of a part to its content: transfer encodings (RFC 2045 6) and charsets. Never raises."""

from __future__ import annotations

import binascii
import re

from leap.mail.message.charsets import decode_charset
from leap.mail.message.parameters import decoded_parameter
from leap.mail.message.scanner import Part
from leap.mail.message.words import decode_base64

UU_ENCODINGS = frozenset({"x-uuencode", "uuencode", "x-uue", "uue"})
_UU_BEGIN = re.compile(rb"^begin [0-7]{3,4} [^\r\n]*\r?\n", re.MULTILINE)
_META_CHARSET = re.compile(
    rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_.:+-]{2,40})", re.IGNORECASE
)
_TRAILING = re.compile(rb"(?<![ \t])[ \t]++(?=\r?\n|\Z)")
_SPACE_AT_END = (b" \n", b" \r\n", b"\t\n", b"\t\r\n")
_DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_META_WINDOW = 2048  # where browsers look for it (HTML 13.2.3.2 says 1024)


def decode_body(raw: bytes, part: Part, limit: int | None = None) -> bytes:
    """The content of a part with its transfer encoding undone; only about the first `limit` octets of what is
    stored when that is given."""
    end = part.end if limit is None else min(part.end, part.body_start + limit)
    return decode_transfer(raw[part.body_start : end], part.encoding)


def decode_transfer(data: bytes, encoding: str) -> bytes:
    """`data` with Content-Transfer-Encoding `encoding` undone; unknown encodings mean "as it is"."""
    if encoding == "base64":
        return decode_base64(data)
    if encoding == "quoted-printable":
        # RFC 2045 6.7 (3): white space at the end of a line was added on the way; binascii keeps it
        if data.endswith((b" ", b"\t")) or any(end in data for end in _SPACE_AT_END):
            data = _TRAILING.sub(
                b"", data
            )  # it stops at each space, and most mails have none there
        return binascii.a2b_qp(data)
    if encoding in UU_ENCODINGS:
        return decode_uu(data)
    return data


def decode_text(raw: bytes, part: Part, limit: int | None = None) -> str:
    """The text of a text part: transfer encoding and charset undone, line ends as LF."""
    data = decode_body(raw, part, limit)
    if part.encoding == "base64" and _is_no_base64(raw, part, limit):
        data = raw[part.body_start : part.end if limit is None else part.body_start + limit]
    charset = decoded_parameter(part.params, "charset") or ""
    if (
        not charset
        and part.subtype == "html"
        and (found := _META_CHARSET.search(data, 0, _META_WINDOW))
    ):
        charset = found[1].decode("ascii")
    text = decode_charset(data, charset or "us-ascii")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _is_no_base64(raw: bytes, part: Part, limit: int | None) -> bool:
    """Whether a text said to be base64 is plain: spaces in it, and signs or a length that base64 cannot have."""
    end = part.end if limit is None else min(part.end, part.body_start + limit)
    data = raw[part.body_start : end].translate(None, b"\r\n")
    if b"=" in data[-4:]:
        return False
    noise = data.translate(None, _DIGITS)
    digits = len(data) - len(noise)
    return len(noise) > len(data) // 20 and (digits % 4 == 1 or bool(noise.strip()))


def decode_uu(data: bytes) -> bytes:
    """The first uuencoded file in `data`; `data` itself when there is none."""
    begin = _UU_BEGIN.search(data)
    if not begin:
        return data
    out: list[bytes] = []
    for line in data[begin.end() :].splitlines():
        if line.strip() == b"end":
            break
        try:
            out.append(binascii.a2b_uu(line))
        except binascii.Error:
            # Encoders differ in padding: the length octet says how much of the line counts
            count = (((line[0] - 32) & 63) * 4 + 5) // 3 if line else 0
            try:
                out.append(binascii.a2b_uu(line[:count]))
            except binascii.Error:
                continue
    return b"".join(out)[
        : len(data)
    ]  # short lines are padded, but content is never larger than its encoding
