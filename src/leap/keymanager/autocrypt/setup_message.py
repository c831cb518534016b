"""Setup Messages: a secret key in a mail to oneself, which every Autocrypt program can take in.

    From, To: the account    Autocrypt-Setup-Message: v1
    Content-Type: multipart/mixed
      text/plain                   what this is
      application/autocrypt-setup  <html> ... <pre> the armored message ... </pre>
        Passphrase-Format: numeric9x4, Passphrase-Begin: the code's first two digits
        symmetrically encrypted: the armored secret key, with Autocrypt-Prefer-Encrypt

(Autocrypt 1.1, "Message Structure".) Written is the whole key, old subkeys too, where the specification says
"minimized": what opens old mail must not be left behind.

Invariants:
* The code is nowhere in the message but for its first two digits.
* A key is read only out of what the code opened, and only the first armored block of it.
* What is read raises KeyRefused or an OpenPGPError, whatever the bytes are.
"""

from __future__ import annotations

import base64
import binascii
import os
import quopri
import re
from collections.abc import Callable
from email.utils import formatdate
from typing import NamedTuple

from leap.keymanager.autocrypt.header import PreferEncrypt
from leap.keymanager.autocrypt.setup_code import FORMAT, is_setup_code, normal_setup_code
from leap.keymanager.errors import KeyRefused
from leap.keymanager.openpgp import SecretKey
from leap.keymanager.openpgp.armor_headers import read_armor_headers
from leap.keymanager.openpgp.symmetric import decrypt_with_passphrase, encrypt_with_passphrase

MAX_MESSAGE = 2 * 1024 * 1024  # octets looked at; a key with every extra has some kB
MAX_PARTS = 16
FIELD = "Autocrypt-Setup-Message"
VERSION = "v1"
PART_TYPE = "application/autocrypt-setup"

_BEGIN, _END = b"-----BEGIN PGP MESSAGE-----", b"-----END PGP MESSAGE-----"
_KEY_BEGIN, _KEY_END = (
    b"-----BEGIN PGP PRIVATE KEY BLOCK-----",
    b"-----END PGP PRIVATE KEY BLOCK-----",
)
_EMPTY_LINE = re.compile(rb"\r?\n\r?\n|\A\r?\n")
_FIELD = re.compile(rb"(?m)^([!-9;-~]+)[ \t]*:((?:[^\n]|\n[ \t])*)")
_BOUNDARY = re.compile(rb"boundary=(?:\"([^\"\r\n]{1,200})\"|([^\s;\"]{1,200}))", re.IGNORECASE)
_ADDRESS = re.compile(r"[!-;=?-~]+@[!-;=?-~]+")  # no spaces, no angle brackets

_FOR_PEOPLE = """\
This message holds your OpenPGP key, encrypted, so that you can bring it
to another mail program or keep it as a backup.

To use it, open the attachment with a program that knows Autocrypt, and
type the Setup Code you were shown when this message was made.
Without that code nobody can open it, so keep the code somewhere else.
"""
_IN_ATTACHMENT = """\
<p>This file holds an OpenPGP key, encrypted with a Setup Code, for mail
programs that know Autocrypt. The code is not in this file.</p>
"""


class Setup(NamedTuple):
    """What a Setup Message brings."""

    key: SecretKey
    prefer_encrypt: PreferEncrypt


def write_setup_message(
    key: SecretKey,
    code: str,
    address: str,
    *,
    now: float,
    prefer_encrypt: PreferEncrypt = "mutual",
    random: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """The whole mail for `address`, in ASCII with CRLF; `code` is one of `new_setup_code`, `now` in seconds since 1970.

    Raises KeyRefused for a code or address of another form. Takes about 0.1 s: off the event loop.
    """
    code = normal_setup_code(code)
    if not is_setup_code(code):
        raise KeyRefused(
            "a Setup Code has nine blocks of four digits: make one with new_setup_code"
        )
    if not _ADDRESS.fullmatch(address):
        raise KeyRefused("this is no mail address a Setup Message can be sent to")
    headers = {"Passphrase-Format": FORMAT, "Passphrase-Begin": code[:2]}
    armored = encrypt_with_passphrase(
        _with_preference(key.armored(), prefer_encrypt),
        code,
        armor_headers=headers,
        random=random,
    )
    boundary = "=_" + random(16).hex()
    message_id = f"{random(16).hex()}@{address.rpartition('@')[2]}"
    lines = [
        f"From: <{address}>",
        f"To: <{address}>",
        f"Date: {formatdate(int(now))}",
        f"Message-ID: <{message_id}>",
        "Subject: Autocrypt Setup Message",
        f"{FIELD}: {VERSION}",
        "MIME-Version: 1.0",
        f'Content-Type: multipart/mixed; boundary="{boundary}"',
        "",
        f"--{boundary}",
        "Content-Type: text/plain; charset=us-ascii",
        "",
        _FOR_PEOPLE,
        f"--{boundary}",
        f"Content-Type: {PART_TYPE}",
        'Content-Disposition: attachment; filename="autocrypt-setup-message.html"',
        "",
        "<html><body>",
        f"{_IN_ATTACHMENT}<pre>",
        f"{armored.decode('ascii')}</pre></body></html>",
        f"--{boundary}--",
        "",
    ]
    return "\n".join(lines).replace("\n", "\r\n").encode("ascii")


def read_setup_message(raw: bytes, code: str) -> SecretKey:
    """The key in a Setup Message, in its attachment saved as a file, or in the armored block alone.

    Raises KeyRefused when it is no Setup Message, WrongPassphrase, or another OpenPGPError. Off the event loop.
    """
    return open_setup_message(raw, code).key


def open_setup_message(raw: bytes, code: str) -> Setup:
    """The same, with the preference that the other program was set to."""
    opened = decrypt_with_passphrase(
        _block(raw), normal_setup_code(code), max_size=MAX_MESSAGE
    ).plaintext
    start, end = opened.find(_KEY_BEGIN), opened.find(_KEY_END)
    if start < 0 or end < start or opened[:start].strip():
        raise KeyRefused("the Setup Message was opened, but holds no secret key")
    armored = opened[start : end + len(_KEY_END)] + b"\n"  # what follows must not be looked at
    mutual = read_armor_headers(armored).get("Autocrypt-Prefer-Encrypt", "") == "mutual"
    return Setup(SecretKey.from_bytes(armored), "mutual" if mutual else "nopreference")


def is_setup_message(raw: bytes) -> bool:
    """Whether a mail is a well-formed Setup Message, of this version, from oneself to oneself. Never raises."""
    head, _ = _split(raw[:MAX_MESSAGE])
    if FIELD.lower().encode() not in head.lower():
        return False  # as nearly all mail
    fields = _fields(head)
    if _value(fields, FIELD) != VERSION.encode():
        return False
    sender = _addresses(_value(fields, "From"))
    if len(sender) != 1 or sender != _addresses(_value(fields, "To")):
        return False
    try:
        _block(raw)
    except KeyRefused:
        return False
    return True


def code_begins(raw: bytes) -> str:
    """The digits of the code which the message tells, "" when it tells none; they are the writer's word."""
    try:
        headers = read_armor_headers(_block(raw))
    except KeyRefused:
        return ""
    begin = headers.get("Passphrase-Begin", "")
    return begin if len(begin) <= 4 and begin.isdecimal() else ""


def _with_preference(armored: bytes, prefer_encrypt: PreferEncrypt) -> bytes:
    first, end, rest = armored.partition(b"\n")
    return first + end + f"Autocrypt-Prefer-Encrypt: {prefer_encrypt}\n".encode() + rest


def _block(raw: bytes) -> bytes:
    """The armored message of a Setup Message, or of what it was saved as."""
    if len(raw) > MAX_MESSAGE:
        raise KeyRefused("this is too large for a Setup Message")
    head, body = _split(raw)
    fields = _fields(head)
    version = _value(fields, FIELD)
    if version is not None:
        if version != VERSION.encode():
            raise KeyRefused("this Setup Message is of a version that is not known here")
        body = _setup_part(fields, body)
    else:
        body = raw
    start, end = body.find(_BEGIN), body.find(_END)
    if start < 0 or end < start:
        raise KeyRefused("this is no Autocrypt Setup Message: it has no encrypted part")
    return body[start : end + len(_END)] + b"\n"


def _setup_part(fields: list[tuple[str, bytes]], body: bytes) -> bytes:
    """The decoded content of the one part which may hold the key (the second)."""
    kind = _value(fields, "Content-Type") or b""
    boundary = _BOUNDARY.search(kind)
    if not kind.lower().startswith(b"multipart/mixed") or boundary is None:
        raise KeyRefused("the Setup Message is malformed: it is not multipart/mixed")
    delimiter = b"\n--" + (boundary[1] or boundary[2])
    parts = (b"\n" + body).split(delimiter, MAX_PARTS)[1:]
    for part in parts[1:2]:
        head, content = _split(part.partition(b"\n")[2])
        own = _fields(head)
        if (_value(own, "Content-Type") or b"").lower().split(b";")[
            0
        ].strip() == PART_TYPE.encode():
            return _decoded(content, _value(own, "Content-Transfer-Encoding") or b"")
    raise KeyRefused(f"the Setup Message is malformed: its second part is not {PART_TYPE}")


def _decoded(content: bytes, encoding: bytes) -> bytes:
    match encoding.lower():
        case b"base64":
            try:
                return base64.b64decode(content)
            except binascii.Error:
                raise KeyRefused("the Setup Message is malformed: not proper base64") from None
        case b"quoted-printable":
            return quopri.decodestring(content)
    return content


def _split(entity: bytes) -> tuple[bytes, bytes]:
    found = _EMPTY_LINE.search(entity)
    return (entity, b"") if found is None else (entity[: found.start()], entity[found.end() :])


def _fields(head: bytes) -> list[tuple[str, bytes]]:
    return [
        (name.decode("ascii").lower(), re.sub(rb"\r?\n", b"", value).strip())
        for name, value in _FIELD.findall(head)
    ]


def _value(fields: list[tuple[str, bytes]], name: str) -> bytes | None:
    """The value of the only field of a name."""
    values = [value for key, value in fields if key == name.lower()]
    return values[0] if len(values) == 1 else None


def _addresses(value: bytes | None) -> set[str]:
    text = (value or b"").decode("utf-8", "replace")
    return {found.strip("\"',;").lower() for found in _ADDRESS.findall(text)}
