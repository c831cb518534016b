"""Cleartext-signed text (RFC 9580 7), as old mail has it: read, never written.

    message    =  "-----BEGIN PGP SIGNED MESSAGE-----" EOL *("Hash: " names EOL) EOL text EOL signature-block
    text line  =  "- " line        when the line begins with a dash; "From " lines may have it, too

Invariants:
* What is signed is the text alone: what stands before and after the block is not, and is not part of the result.
* The text is given out exactly as it was hashed: without dashes in front, blanks at line ends, the last line end,
  and with CRLF (7.2). Nothing else may hide between the lines of the block: unknown header lines are refused.
* Time is linear in the length of the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from leap.keymanager.openpgp.errors import Malformed, Unsupported
from leap.keymanager.openpgp.verdict import RawSignature, read_signatures

_BEGIN = re.compile(rb"(?m)^-----BEGIN PGP SIGNED MESSAGE-----[ \t]*\r?$")
_SIGNATURE = re.compile(rb"(?m)^-----BEGIN PGP SIGNATURE-----[ \t]*\r?$")
_END = re.compile(rb"(?m)^-----END PGP SIGNATURE-----[ \t]*\r?$")
_MAX_HEADERS = 32
# RFC 9580 9.5; MD5 and RIPEMD160 are of old. Any other words could be read as if they were signed.
_HASH_NAMES = frozenset(
    ["SHA256", "SHA384", "SHA512", "SHA224", "SHA3-256", "SHA3-512", "SHA1", "RIPEMD160", "MD5"]
)
_BLANKS = b" \t\r"  # RFC 9580 7.2: blanks at line ends are not signed; the carriage return is part of the end


@dataclass(frozen=True, slots=True)
class CleartextSigned:
    """A signed text and its signatures, to be judged with `verify_signatures(text, signatures, ...)`."""

    text: bytes = field(repr=False)
    """As it was signed, with CRLF line ends and none at the end."""
    signatures: tuple[RawSignature, ...]
    hashes: tuple[str, ...]
    """Names from the "Hash" lines: a hint for programs that hash while they read, and no proof."""
    start: int
    end: int
    """Where the block stands in what was read: all outside is not signed."""


def is_cleartext_signed(data: bytes) -> bool:
    """Whether a cleartext-signed block begins somewhere in `data`."""
    return _BEGIN.search(data) is not None


def read_cleartext(data: bytes, start: int = 0) -> CleartextSigned:
    """The first cleartext-signed block at or after `start`; for a further one read again from its `end`.

    Raises Malformed (there is none, or it is damaged), Unsupported, TooLarge (absurdly many signatures).
    """
    begin = _BEGIN.search(data, start)
    if begin is None:
        raise Malformed("there is no cleartext-signed text here")
    at, hashes = _read_headers(data, begin.end() + 1)
    signature = _SIGNATURE.search(data, at)
    if signature is None:
        raise Malformed("a cleartext-signed text has no signature")
    end = _END.search(data, signature.end())
    if end is None:
        raise Malformed("the signature of a cleartext-signed text has no last line")
    text = _signed_text(data[at : signature.start()])
    found = read_signatures(data[signature.start() : end.end()])
    return CleartextSigned(text, found, hashes, begin.start(), end.end())


def _read_headers(data: bytes, at: int) -> tuple[int, tuple[str, ...]]:
    """Where the text begins, after the empty line, and what the "Hash" lines say."""
    hashes: list[str] = []
    for _ in range(_MAX_HEADERS):
        end = data.find(b"\n", at)
        if end < 0:
            break
        line = data[at:end].strip(_BLANKS)
        at = end + 1
        if not line:
            return at, tuple(hashes)
        name, _, value = line.partition(b":")
        if name == b"NotDashEscaped":
            raise Unsupported("a cleartext-signed text in GnuPG's own form for patches")
        if name != b"Hash":  # RFC 9580 7: no other; it would look signed and is not
            raise Malformed("a cleartext-signed text has lines above it that are not signed")
        names = [word.strip() for word in value.decode("ascii", "replace").split(",")]
        if not _HASH_NAMES.issuperset(names):
            raise Malformed("a cleartext-signed text has a hash line that names no hashes")
        hashes += names
    raise Malformed("a cleartext-signed text does not begin")


def _signed_text(escaped: bytes) -> bytes:
    lines = []
    for line in escaped.split(b"\n")[:-1]:  # the last line end belongs to the signature
        if line.startswith(b"- "):
            line = line[2:]
        elif line.startswith(b"-----"):
            raise Malformed("a cleartext-signed text has another block inside")
        lines.append(line.rstrip(_BLANKS))
    return b"\r\n".join(lines)
