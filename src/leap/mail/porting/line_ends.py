"""Line ends of imported mail: what is stored for mail programs, and how the octets of the source come back.

    at the source       stored and served                       remembered as   to have it back
    LF only             each LF becomes CRLF (RFC 5322 2.1)     "lf"            CRLF becomes LF
    CRLF only           as it is                                "crlf"          as it is
    both                each bare LF becomes CRLF               "mixed"         the octets of the source, stored beside
    none                as it is                                "crlf"          as it is

Bare CR is never touched. The second row of "lf" can be undone because the source holds no CRLF.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

ImportedAs = Literal["", "lf", "crlf", "mixed"]
_BARE_LF = re.compile(rb"(?<!\r)\n")


class Served(NamedTuple):
    """`original` is what must be kept beside, or None when `raw` says it all."""

    raw: bytes
    imported_as: ImportedAs
    original: bytes | None = None


def served_form(source: bytes) -> Served:
    """What is stored of a message with these octets."""
    crlf, lf = source.count(b"\r\n"), source.count(b"\n")
    if lf == crlf:
        return Served(source, "crlf")
    if crlf == 0:
        return Served(source.replace(b"\n", b"\r\n"), "lf")
    return Served(_BARE_LF.sub(b"\r\n", source), "mixed", source)


def source_form(raw: bytes, imported_as: str) -> bytes:
    """The octets of the source, of a message that was not "mixed"."""
    return raw.replace(b"\r\n", b"\n") if imported_as == "lf" else raw


def unix_form(raw: bytes) -> bytes:
    """A message as programs on Unix keep it, with LF; as it is where that could not be undone."""
    return raw if _BARE_LF.search(raw) else raw.replace(b"\r\n", b"\n")
