"""Writes the fields and parts of messages that are our own: replies, reports, containers around encrypted mail.

Never used to rebuild what others wrote: their octets are kept. Invariants, whatever the values are:

* lines end with CRLF, are within 78 columns where a field can be folded at all and never over 998 octets (RFC 5322
  2.1.1), and no line of a header is white space only;
* all is ASCII, unless `utf8` asks for raw UTF-8 in header fields (RFC 6532, which needs SMTPUTF8 on the way);
* no value can end its field: control characters are refused with ValueError;
* what is written reads back as the same value, here and in the standard library.
"""

from __future__ import annotations

import binascii
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

import idna
import pybase64

from leap.mail.message.words import encode_words

_WIDTH = 78
_LONGEST = 900  # octets of a word that is left as it is: with its name it stays within 998
_BARE = re.compile(rb"\r\n|\r|\n")
_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]")
# RFC 5322 3.2.3, and RFC 6532 3.2: all that is not ASCII is atext too
_ATOMS = re.compile(
    r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\xa1-\U0010ffff]+(?: [A-Za-z0-9!#$%&'*+\-/=?^_`{|}~\xa1-\U0010ffff]+)*"
)
_NAME = re.compile(r"[!-9;-~]{1,70}")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_ADDRESS = re.compile(
    r"(?:[^\s\"(),:;<>@\[\\\]]+|\"(?:[^\"\\]|\\.)*\")(?:@(?:[^\s\"(),:;<>@\[\\\]]+|\[[^\s\[\]\\]+\]))?"
)
_ID = re.compile(r"<[!-;=?-~]{1,900}>")
_AWKWARD = re.compile(r"[<>\"\\]|=\?")
_MAX_QUOTED = (
    70  # characters of a parameter in one quoted string; what is longer is cut by RFC 2231
)
_SECTION = 48  # characters of one section of it


def to_crlf(data: bytes) -> bytes:
    """Every line end (CRLF, LF, CR) as CRLF."""
    return _BARE.sub(b"\r\n", data)


def field(name: str, value: str, *, utf8: bool = False) -> bytes:
    """One unstructured header field, folded; outer white space is not kept. Raises ValueError for a name that is none,
    or a control character in the value: whoever puts foreign text into a header must not be able to add a second
    one."""
    _check(name, value)
    value = value.replace("\t", " ").strip()
    if _plain(value, utf8):
        return _fold(f"{name}:", value.split(" "))
    return _fold(f"{name}:", encode_words(value, first_width=_WIDTH - len(name) - 2))


def is_id(text: str) -> bool:
    """Whether `id_field` takes it."""
    return _ID.fullmatch(text) is not None


def is_address(text: str) -> bool:
    """Whether `address_field` takes it, with `utf8` if it is not ASCII."""
    return (
        _ADDRESS.fullmatch(text) is not None
        and _FORBIDDEN.search(text) is None
        and len(text.encode("utf-8")) <= _LONGEST
    )


def id_field(name: str, ids: Sequence[str]) -> bytes:
    """A field of message ids (Message-ID, In-Reply-To, References), folded between them. Raises ValueError for one
    that is none."""
    _check(name, "")
    for one in ids:
        if not is_id(one):
            raise ValueError(f"{name} takes ids like <left@right>")
    return _fold(f"{name}:", ids)


def address_field(name: str, addresses: Sequence[tuple[str, str]], *, utf8: bool = False) -> bytes:
    """A field of (display name, address) pairs, folded between them. An international domain is written in ASCII
    unless `utf8`. Raises ValueError for what is no address, and for a local part that needs `utf8`."""
    _check(name, "".join(text + address for text, address in addresses))
    words: list[str] = []
    for text, address in addresses:
        if words:
            words[-1] += ","
        words += _mailbox(text, address, utf8)
    return _fold(f"{name}:", words)


def structured_field(name: str, value: str, params: Mapping[str, str] | None = None) -> bytes:
    """A field with parameters (Content-Type, Content-Disposition); values that are not ASCII or long by RFC 2231."""
    _check(name, value + "".join((params or {}).values()))
    words = value.split(" ")
    for key, text in (params or {}).items():
        for section in _parameter(key, text):
            words[-1] += ";"
            words.append(section)
    return _fold(f"{name}:", words)


def message_id(domain: str, *, random: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """A new Message-ID with its brackets; it tells nothing but the domain."""
    return f"<{random(16).hex()}@{_ascii_domain(domain)}>"


def new_boundary(*, random: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """128 random bits: no text that was written before it can hold it."""
    return "=_" + random(16).hex()


def entity(fields: Sequence[bytes], body: bytes) -> bytes:
    """Header fields, the empty line, the body."""
    return b"".join(fields) + b"\r\n" + body


def text_entity(
    text: str, *, subtype: str = "plain", flowed: bool = False, fields: Sequence[bytes] = ()
) -> bytes:
    """A text part in UTF-8: 7bit when it can be, else the shorter of quoted-printable and base64.

    `flowed` says that the text was made by `flowed.flow` (RFC 3676).
    """
    data = to_crlf(text.encode("utf-8", "replace"))
    charset = "us-ascii" if data.isascii() else "utf-8"
    plain = (
        data.isascii()
        and b"\0" not in data
        and all(len(line) <= 998 for line in data.split(b"\r\n"))
    )
    encoding = "7bit"
    if not plain:
        # binascii writes soft breaks with the line end it has seen: CRLF
        encoding, quoted = "quoted-printable", binascii.b2a_qp(data, istext=True)
        if len(quoted) > 2 * len(data):
            encoding, quoted = "base64", _base64_lines(data)
        data = quoted
    params = {"charset": charset} | ({"format": "flowed"} if flowed else {})
    head = [
        *fields,
        structured_field("Content-Type", f"text/{subtype}", params),
        field("Content-Transfer-Encoding", encoding),
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
    return entity(head, _base64_lines(data))


def _base64_lines(data: bytes) -> bytes:
    return pybase64.encodebytes(data).replace(b"\n", b"\r\n")


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


def _plain(text: str, utf8: bool) -> bool:
    """Whether a text can stand in a field as it is and reads back the same."""
    return (
        (utf8 or text.isascii())
        and "=?" not in text
        and "  " not in text
        and (len(text) <= 200 or max(len(w.encode("utf-8")) for w in text.split(" ")) <= _LONGEST)
    )


def _fold(start: str, words: Sequence[str]) -> bytes:
    lines: list[str] = []
    line = start
    for word in words:
        if len(line) + 1 + len(word) > _WIDTH and line != start and word:
            lines.append(line)
            line = ""
        line += " " + word
    lines.append(line)
    return "\r\n".join(lines).encode("utf-8") + b"\r\n"


def _mailbox(text: str, address: str, utf8: bool) -> list[str]:
    """A mailbox in pieces between which it may be folded."""
    if address and not _ADDRESS.fullmatch(address):
        raise ValueError("this is no mail address")
    if not address.isascii() and not utf8:
        local, _, domain = address.rpartition("@")
        if not local.isascii():
            raise ValueError("this address needs UTF-8 in the header (SMTPUTF8)")
        address = f"{local}@{_ascii_domain(domain)}"
    if len(address.encode("utf-8")) > _LONGEST:
        raise ValueError("this mail address is too long")
    text = text.replace("\t", " ").strip()
    if not text:
        return [address]
    if _plain(text, utf8) and _ATOMS.fullmatch(text):
        return [*text.split(" "), f"<{address}>"]
    if _plain(text, utf8) and len(text) <= _MAX_QUOTED * 3:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return [f'"{escaped}"', f"<{address}>"]
    return [*encode_words(text), f"<{address}>"]


def _ascii_domain(domain: str) -> str:
    if domain.isascii():
        return domain
    try:
        return idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError as error:
        raise ValueError("this domain is none") from error


def _parameter(name: str, value: str) -> list[str]:
    """A parameter, or the sections of one (RFC 2231 3 and 4)."""
    if value.isascii() and len(value) <= _MAX_QUOTED:
        if _TOKEN.fullmatch(value):
            return [f"{name}={value}"]
        # escapes are read wrongly by many, the standard library among them
        if not _AWKWARD.search(value) and value == value.strip():
            return [f'{name}="{value}"']
    sections = [""]
    for character in value:
        octets = quote(character, safe="")
        if len(sections[-1]) + len(octets) > _SECTION:
            sections.append("")
        sections[-1] += octets
    if len(sections) == 1:
        return [f"{name}*=utf-8''{sections[0]}"]
    first, *others = sections
    return [
        f"{name}*0*=utf-8''{first}",
        *(f"{name}*{number}*={section}" for number, section in enumerate(others, 1)),
    ]
