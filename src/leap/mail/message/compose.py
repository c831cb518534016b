"""Writes the messages that are our own: replies, reports, containers around encrypted mail.

Never used to rebuild what others wrote: their octets are kept. Output has CRLF line ends, lines within 78 columns where
a field can be folded at all (RFC 5322 2.1.1), 7-bit unless `utf8` asks for RFC 6532.
"""

from __future__ import annotations

import binascii
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from leap.mail.message.words import encode_words

_WIDTH = 78
_BARE = re.compile(rb"\r\n|\r|\n")
_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~ ]+")
_NAME = re.compile(r"[!-9;-~]+")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


def to_crlf(data: bytes) -> bytes:
    """Every line end (CRLF, LF, CR) as CRLF."""
    return _BARE.sub(b"\r\n", data)


def field(name: str, value: str, *, utf8: bool = False) -> bytes:
    """One unstructured header field, folded. Raises ValueError for a name that is none, or a line end in the
    value: whoever puts foreign text into a header must not be able to add a second one."""
    _check(name, value)
    words = (
        value.split(" ")
        if value.isascii() or utf8
        else encode_words(value, first_width=_WIDTH - len(name) - 3)
    )
    return _fold(f"{name}:", words)


def address_field(name: str, addresses: Sequence[tuple[str, str]], *, utf8: bool = False) -> bytes:
    """A field of (display name, address) pairs, folded between them."""
    _check(name, "".join(text + address for text, address in addresses))
    items = [_mailbox(text, address, utf8) for text, address in addresses]
    words = [
        word
        for i, item in enumerate(items)
        for word in (item + "," * (i < len(items) - 1)).split(" ")
    ]
    return _fold(f"{name}:", words)


def structured_field(name: str, value: str, params: Mapping[str, str] | None = None) -> bytes:
    """A field with parameters (Content-Type, Content-Disposition); non-ASCII values by RFC 2231."""
    _check(name, value + "".join((params or {}).values()))
    words = value.split(" ")
    for key, text in (params or {}).items():
        words[-1] += ";"
        words.append(_parameter(key, text))
    return _fold(f"{name}:", words)


def message_id(domain: str, *, random: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """A new Message-ID with its brackets; it tells nothing but the domain."""
    return f"<{random(16).hex()}@{domain}>"


def new_boundary(*, random: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """128 random bits: no text that was written before it can hold it."""
    return "=_" + random(16).hex()


def entity(fields: Sequence[bytes], body: bytes) -> bytes:
    """Header fields, the empty line, the body."""
    return b"".join(fields) + b"\r\n" + body


def text_entity(text: str, *, subtype: str = "plain", fields: Sequence[bytes] = ()) -> bytes:
    """A text part in UTF-8: 7bit when it can be, else quoted-printable."""
    data = to_crlf(text.encode("utf-8", "replace"))
    charset = "us-ascii" if data.isascii() else "utf-8"
    plain = (
        data.isascii()
        and b"\0" not in data
        and all(len(line) <= 998 for line in data.split(b"\r\n"))
    )
    if not plain:
        # binascii writes soft breaks with the line end it has seen: CRLF
        data = binascii.b2a_qp(data, istext=True)
    head = [
        *fields,
        structured_field("Content-Type", f"text/{subtype}", {"charset": charset}),
        field("Content-Transfer-Encoding", "7bit" if plain else "quoted-printable"),
    ]
    return entity(head, data)


def binary_entity(
    data: bytes, content_type: str, *, filename: str = "", fields: Sequence[bytes] = ()
) -> bytes:
    """An attachment in base64."""
    named = {"filename": filename} if filename else None
    head = [
        *fields,
        structured_field("Content-Type", content_type),
        structured_field("Content-Disposition", "attachment", named),
        field("Content-Transfer-Encoding", "base64"),
    ]
    lines = [binascii.b2a_base64(data[i : i + 57], newline=False) for i in range(0, len(data), 57)]
    return entity(head, b"\r\n".join(lines) + b"\r\n")


def message_entity(raw: bytes, *, fields: Sequence[bytes] = ()) -> bytes:
    """A whole message as a part, octets untouched (RFC 2046 5.2.1); 8bit or binary when it needs them."""
    encoding = "7bit" if raw.isascii() else "8bit"
    if b"\0" in raw or any(len(line) > 1000 for line in raw.split(b"\n")):
        encoding = "binary"
    head = [
        *fields,
        field("Content-Type", "message/rfc822"),
        field("Content-Transfer-Encoding", encoding),
    ]
    return entity(head, raw)


def multipart_entity(
    subtype: str,
    parts: Sequence[bytes],
    *,
    params: Mapping[str, str] | None = None,
    fields: Sequence[bytes] = (),
    boundary: str | None = None,
    preamble: bytes = b"",
) -> bytes:
    """A multipart around whole parts (each with its own header). Raises ValueError if `boundary` occurs in one."""
    mark = boundary or new_boundary()
    delimiter = b"--" + mark.encode("ascii")
    if any(part.startswith(delimiter) or b"\n" + delimiter in part for part in parts):
        raise ValueError("the boundary occurs in a part")
    head = [
        *fields,
        structured_field(
            "Content-Type", f"multipart/{subtype}", {**(params or {}), "boundary": mark}
        ),
    ]
    out = [preamble + b"\r\n"] if preamble else []
    for part in parts:
        out += [delimiter, b"\r\n", part, b"\r\n"]
    out += [delimiter, b"--\r\n"]
    return entity(head, b"".join(out))


def _check(name: str, value: str) -> None:
    if not _NAME.fullmatch(name):
        raise ValueError("this is no name of a header field")
    if _FORBIDDEN.search(value):
        raise ValueError(f"the value of {name} holds a control character or line end")


def _fold(start: str, words: Sequence[str]) -> bytes:
    lines: list[str] = []
    line = start
    for word in words:
        if len(line) + 1 + len(word) > _WIDTH and line.strip() and line != start:
            lines.append(line)
            line = ""
        line += " " + word
    lines.append(line)
    # A line of nothing but white space would end the header for some programs (RFC 5322 4.2)
    text = "\r\n".join(line for line in lines if line.strip())
    return text.encode("utf-8", "replace") + b"\r\n"


def _mailbox(text: str, address: str, utf8: bool) -> str:
    if not text:
        return address
    if not text.isascii() and not utf8:
        text = " ".join(encode_words(text))
    elif not _ATOMS.fullmatch(text) or "=?" in text:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        text = f'"{escaped}"'
    return f"{text} <{address}>"


def _parameter(name: str, value: str) -> str:
    if not value.isascii():
        return f"{name}*=utf-8''{quote(value, safe='')}"
    if _TOKEN.fullmatch(value):
        return f"{name}={value}"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{name}="{escaped}"'
