"""From octets and a charset's name to text, whatever the name says and whether or not it is true.

Order of guesses, stated once: the charset named, if Python has it and it fits (but ASCII and Latin-1, named by programs
that do not know better, only when the octets are no valid UTF-8); UTF-8, if valid; ISO-2022-JP, if its escape sequences
are there; Windows-1252, which accepts nearly all octets; Latin-1, which accepts all.
"""

from __future__ import annotations

import codecs
import re
from functools import lru_cache

# Names that mail uses and Python does not know, or whose everyday meaning is wider than the standard's (the way
# browsers read them, WHATWG Encoding 4.2)
_ALIASES = {
    "ascii": "cp1252",
    "us-ascii": "cp1252",
    "iso-8859-1": "cp1252",
    "latin1": "cp1252",
    "latin-1": "cp1252",
    "iso-8859-8-i": "iso-8859-8",
    "iso-8859-8-e": "iso-8859-8",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "cp936": "gb18030",
    "ks_c_5601-1987": "cp949",
    "ks_c_5601": "cp949",
    "euc-kr": "cp949",
    "korean": "cp949",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "sjis": "cp932",
    "x-sjis": "cp932",
    "iso-2022-jp": "iso2022_jp_ext",
    "big5": "big5hkscs",
    "tis-620": "cp874",
    "windows-874": "cp874",
    "x-mac-roman": "mac_roman",
    "macintosh": "mac_roman",
    "unicode-1-1-utf-7": "utf-7",
    "unicode-1-1-utf-8": "utf-8",
    "utf8mb4": "utf-8",
    "cp-850": "cp850",
    "ansi_x3.4-1968": "cp1252",
    "8bit": "utf-8",
    "unknown-8bit": "utf-8",
    "x-unknown": "utf-8",
}
# Codecs of Python which are no charsets of text, or which never return in time
_FORBIDDEN = {
    "idna",
    "punycode",
    "unicode-escape",
    "raw-unicode-escape",
    "undefined",
    "mbcs",
    "oem",
    "unicode_escape",
    "raw_unicode_escape",
}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:()+-]{0,40}")


@lru_cache(maxsize=256)
def codec_of(charset: str) -> str | None:
    """The Python codec to read `charset` with, or None when it is unknown."""
    name = charset.strip().strip("\"'").lower()
    if not _NAME.fullmatch(name):
        return None
    name = _ALIASES.get(name, name)
    if name.startswith("x-"):
        name = name[2:]
    try:
        info = codecs.lookup(name)
    except (LookupError, ValueError):
        return None
    if not getattr(info, "_is_text_encoding", True) or info.name in _FORBIDDEN:
        return None
    return info.name


def decode_charset(data: bytes, charset: str) -> str:
    """`data` as text. Never raises; what fits nothing shows as U+FFFD or in Windows-1252."""
    codec = codec_of(charset)
    if codec is None:
        return decode_unlabelled(data)
    if codec == "cp1252" and not data.isascii():
        return decode_unlabelled(
            data
        )  # "us-ascii" and Latin-1 are often a lie; valid UTF-8 hardly ever is one
    try:
        text = data.decode(codec)
    except (UnicodeError, ValueError, OverflowError):
        pass
    else:
        # UTF-7 can spell lone surrogates, which no other encoding can carry on
        return text.encode("utf-8", "replace").decode() if codec == "utf-7" else text
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode(codec, "replace") if codec != "utf-7" else decode_unlabelled(data)


def decode_unlabelled(data: bytes) -> str:
    """`data` as text where no charset is named or the one named is unknown."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        if b"\x1b$" in data or b"\x1b(J" in data:
            try:
                return data.decode("iso2022_jp_ext")
            except (UnicodeError, ValueError):
                return text
        return text
    try:
        return data.decode("cp1252")
    except UnicodeDecodeError:
        return data.decode("latin-1")
