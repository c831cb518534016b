"""What there is of OpenPGP in the shared corpus: armored blocks and binary parts, however they are wrapped in MIME.

Mails are split by our own parser and every part is decoded (base64, quoted-printable); opened messages are searched in
the same way. Blocks that no part shows (in preambles, in mail without its header) are found in the raw octets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from leap.mail.message.header import iter_fields
from leap.mail.message.scanner import Part
from leap.mail.message.view import Message

Kind = Literal["message", "signature", "cleartext", "key", "autocrypt", "gossip"]

_BLOCK = re.compile(
    rb"^-----BEGIN PGP (MESSAGE|SIGNATURE|SIGNED MESSAGE|PUBLIC KEY BLOCK|PRIVATE KEY BLOCK)-----",
    re.M,
)
_FIELDS: dict[str, Kind] = {"autocrypt": "autocrypt", "autocrypt-gossip": "gossip"}


class Found(NamedTuple):
    """One thing of OpenPGP: where, what, its octets; of a detached signature, also what it is over."""

    name: str
    kind: Kind
    data: bytes
    signed: bytes | None = None


def mails(corpus: Path) -> Iterator[tuple[str, bytes]]:
    """Every mail: the .eml files, then those in the mboxes."""
    for path in sorted(corpus.rglob("*.eml")):
        yield f"{path.parent.name}/{path.name}", path.read_bytes()
    for path in sorted((corpus / "mbox").rglob("*.mbox*")):
        pieces = re.split(rb"(?m)^From .*\r?\n", path.read_bytes())
        for number, mail in enumerate(filter(None, pieces), 1):
            yield f"{path.name}#{number}", mail


def key_files(corpus: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of keys, of S/MIME too."""
    for path in sorted((corpus / "keys").rglob("*")):
        if path.is_file() and path.name != "MANIFEST.tsv" and path.suffix != ".NOTE":
            yield path.name, path.read_bytes()


def is_openpgp(data: bytes) -> bool:
    """Whether a file of keys is of OpenPGP: armored, or beginning with a key packet."""
    return b"-----BEGIN PGP" in data or data.startswith((b"\x94", b"\x95", b"\x98", b"\x99"))


def search(name: str, raw: bytes) -> list[Found]:
    """Everything of OpenPGP in one mail, each thing once."""
    found: list[Found] = []
    message = Message(raw)
    encrypted: list[Part] = []
    for part in message.root.walk():
        fields = message.fields_of(part)
        if part.content_type == "text/rfc822-headers":  # of a mail that came back
            fields = iter_fields(message.content(part))
        for field in fields:
            if field.key in _FIELDS:
                found.append(Found(name, _FIELDS[field.key], field.value))
        if part.children:
            if part.subtype == "encrypted":
                encrypted += part.children
            if part.subtype == "signed" and len(part.children) > 1:
                first, second = part.children[:2]
                if second.subtype == "pgp-signature":
                    signed = raw[first.header_start : first.end]
                    found.append(Found(name, "signature", message.content(second), signed))
            continue
        if part.subtype == "pgp-signature":
            continue
        content = message.content(part)
        if content[:1] >= b"\x80":  # a packet, not text
            if part.subtype == "pgp-keys":
                found.append(Found(name, "key", content))
            elif part in encrypted:
                found.append(Found(name, "message", content))
        found += blocks(name, content)
    bare = blocks(name, raw)
    for kind in {thing.kind for thing in bare}:
        if sum(t.kind == kind for t in bare) > sum(t.kind == kind for t in found):
            found += [
                t for t in bare if t.kind == kind and not any(t.data in f.data for f in found)
            ]
    return found


def blocks(name: str, text: bytes) -> list[Found]:
    """The armored blocks of a text, one after the other."""
    found = []
    at = 0
    while begin := _BLOCK.search(text, at):
        title = begin[1].replace(b"SIGNED MESSAGE", b"SIGNATURE")
        end = re.compile(rb"^-----END PGP %s-----[ \t]*\r?$" % title, re.M).search(
            text, begin.end()
        )
        at = end.end() if end else len(text)
        kinds: dict[bytes, Kind] = {
            b"MESSAGE": "message",
            b"SIGNATURE": "signature",
            b"SIGNED MESSAGE": "cleartext",
        }
        found.append(Found(name, kinds.get(begin[1], "key"), text[begin.start() : at]))
    return found
