"""What a Content-Type field says, when it says it beyond doubt.

    content-type = type "/" subtype *(";" attribute "=" (token / quoted-string)) [";"]     ; RFC 2045 5.1

Comments may stand between tokens. Nothing here raises: what is broken gives None.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f]")
MAX_VALUE = 8192  # octets; real values have under 300, and a longer one is treated as broken

_WORD = r"[!#$%&'*+.^_`{|}~0-9A-Za-z-]+"  # RFC 2045 5.1 token
_TYPE = re.compile(rf"({_WORD})/({_WORD})")
_PARAMETER = re.compile(rf'({_WORD})[ \t]*=[ \t]*(?:({_WORD})|"((?:[^"\\]|\\.)*)")')
_QUOTED = re.compile(r'"[^"]*"')
_STRUCTURAL = frozenset({"boundary", "protocol", "hp", "protected-headers"})
_SPACE = re.compile(r"(?:[ \t]+|\((?:[^()\\]|\\.)*\))*+")


@dataclass(frozen=True, slots=True)
class ContentType:
    """Type and subtype in lower case as "text/plain"; parameter names in lower case.

    `open` says that the value ends with ";", so that a further parameter needs none before it. `plain` says
    that nothing in it is beyond a simple reader: no comment, no backslash, no structure by RFC 2231.
    """

    media_type: str
    parameters: dict[str, str] = field(default_factory=dict)
    open: bool = False
    plain: bool = True


def parse_content_type(value: bytes) -> ContentType | None:
    """The meaning of an unfolded value, or None when it is not exactly of the grammar above."""
    if len(value) > MAX_VALUE:
        return None
    try:
        text = value.decode("ascii")
    except UnicodeDecodeError:
        return None
    if _CONTROL.search(text):
        return None
    position = _space(text, 0)
    match = _TYPE.match(text, position)
    if match is None:
        return None
    media_type = f"{match[1]}/{match[2]}".lower()
    parameters: dict[str, str] = {}
    position = _space(text, match.end())
    while position < len(text):
        if text[position] != ";":
            return None
        position = _space(text, position + 1)
        if position == len(text):
            return _found(media_type, parameters, text, open=True)
        match = _PARAMETER.match(text, position)
        if match is None:
            return None
        name = match[1].lower()
        if name in parameters:
            return None  # two values of one name: readers differ
        parameters[name] = match[2] if match[2] is not None else re.sub(r"\\(.)", r"\1", match[3])
        position = _space(text, match.end())
    return _found(media_type, parameters, text, open=False)


def _found(
    media_type: str, parameters: dict[str, str], text: str, *, open: bool
) -> ContentType | None:
    starred = {name.partition("*")[0] for name in parameters if "*" in name} & _STRUCTURAL
    if starred & parameters.keys():
        return None  # boundary="a"; boundary*=us-ascii''b (RFC 2231) are two values of one name too
    plain = not starred and "\\" not in text and "(" not in _QUOTED.sub("", text)
    return ContentType(media_type, parameters, open, plain)


def _space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position
