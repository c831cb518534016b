"""Tags, as people write them, and the IMAP keywords which they are on a message.

    keyword = modified UTF-7 of the tag (RFC 3501 5.1.3), a space written as "_"

as Thunderbird makes keywords of tags, so that a tag that is set here shows there, and the reverse. What a keyword
cannot hold, and "_" itself, is written in the shifted form too; keywords from elsewhere that are not so written
are read as they stand. Keywords that begin with "$" belong to standards and programs and are no tags, nor are the
marks which programs set by themselves (Junk, NonJunk and their like).
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable
from functools import lru_cache

from leap.mail.contract import NotPermitted

MAX_KEYWORD = 255  # octets, as of every flag
_MARKS = frozenset({"junk", "nonjunk", "notjunk", "forwarded", "mdnsent"})  # set by programs
# Neither in an atom (RFC 9051 9) nor free for itself: "_" stands for a space, "$" begins other keywords
_SHIFTED = re.compile(r"[^!#'+,\-./0-9:;<=>?@A-Z\[^`a-z|}~ ]+")
_ENCODED = re.compile(r"&([A-Za-z0-9+,]*)-")


def keyword_of(tag: str) -> str:
    """The keyword of a tag. Raises NotPermitted for a tag that is empty or too long, and for control characters."""
    name = tag.strip()
    if not name or any(ord(c) < 32 or ord(c) == 127 or 0xD800 <= ord(c) < 0xE000 for c in name):
        raise NotPermitted("A tag is a text in one line.")
    keyword = _SHIFTED.sub(lambda found: _shift(found[0]), name).replace(" ", "_")
    if keyword.lower() in _MARKS:
        keyword = _shift(keyword[0]) + keyword[1:]
    if len(keyword) > MAX_KEYWORD:
        raise NotPermitted("The tag is too long; a shorter one is needed.")
    return keyword


@lru_cache(maxsize=4096)
def tag_of(keyword: str) -> str | None:
    """The tag that a flag stands for; None when it is a system flag or a keyword that is no tag."""
    if not keyword or keyword[0] in "\\$" or keyword.lower() in _MARKS:
        return None
    return _ENCODED.sub(lambda found: _unshift(found), keyword.replace("_", " "))


def tags_of(flags: Iterable[str]) -> tuple[str, ...]:
    """The tags among the flags of a message, sorted."""
    return tuple(sorted({tag for flag in flags if (tag := tag_of(flag)) is not None}))


def _shift(text: str) -> str:
    octets = binascii.b2a_base64(text.encode("utf-16-be"), newline=False)
    return "&" + octets.rstrip(b"=").replace(b"/", b",").decode("ascii") + "-"


def _unshift(found: re.Match[str]) -> str:
    if not found[1]:
        return "&"
    try:
        padded = found[1].replace(",", "/") + "=" * (-len(found[1]) % 4)
        text = binascii.a2b_base64(padded, strict_mode=True).decode("utf-16-be")
    except (binascii.Error, UnicodeDecodeError):
        return found[0]
    return text if text.isprintable() else found[0]
