"""Values with parameters: Content-Type and Content-Disposition (RFC 2045 5.1, 2183) and RFC 2231 in them.

`content := type "/" subtype *(";" parameter)`, with comments and folding allowed between the tokens. Real mail
leaves values unquoted, forgets semicolons' values and folds inside quotes; all of that is read as it was meant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from leap.mail.message.charsets import decode_charset, decode_unlabelled
from leap.mail.message.words import decode_words

MAX_PARAMETERS = 200  # more are dropped: no program writes them
_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_TYPE = re.compile(rb"\s*(" + _TOKEN + rb")\s*/\s*(" + _TOKEN + rb")")
_VALUE = re.compile(rb"\s*\"?(" + _TOKEN + rb")")
_FOLD = re.compile(rb"\r*\n")
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_PARAMETER = re.compile(
    rb"\s*([^\s=;()\"]++)\s*=\s*(?:\"((?:[^\"\\]|\\.)*+)\"?|([^;]*+))", re.DOTALL
)
_COMMENT = re.compile(rb"\s\(.*\Z", re.DOTALL)
_SECTION = re.compile(r"\A(.+?)(?:\*(\d{1,3}))?(\*)?\Z", re.DOTALL)


def parse_content_type(value: bytes) -> tuple[str, str, dict[str, bytes]] | None:
    """Type, subtype (lower-case) and parameters; None when there is no type to be seen."""
    found = _TYPE.match(_strip_leading_comment(value))
    if not found:
        return None
    kind, subtype = found[1].decode("ascii").lower(), found[2].decode("ascii").lower()
    return kind, subtype, parse_parameters(found.string[found.end() :])


def parse_disposition(value: bytes) -> tuple[str, dict[str, bytes]] | None:
    """The disposition (lower-case) and its parameters; None when there is none to be seen."""
    found = _VALUE.match(_strip_leading_comment(value))
    if not found:
        return None
    return found[1].decode("ascii").lower(), parse_parameters(found.string[found.end() :])


def parse_parameters(text: bytes) -> dict[str, bytes]:
    """The `;name=value` pairs in order, names lower-case and RFC 2231 sections as they stand; of two with one
    name the first counts."""
    text = (_FOLD.sub(b"", text) if b"\n" in text else text).strip()
    out: dict[str, bytes] = {}
    position = 0
    while len(out) < MAX_PARAMETERS:
        semicolon = text.find(b";", position)
        if semicolon < 0:
            return out
        position = semicolon + 1
        found = _PARAMETER.match(text, position)
        if not found:
            continue
        position = found.end()
        if (value := found[2]) is None:
            value = found[3]
            value = (_COMMENT.sub(b"", value) if b"(" in value else value).strip()
        elif b"\\" in value:
            value = _ESCAPED.sub(rb"\1", value)
        out.setdefault(found[1].decode("latin-1").lower(), value)
    return out


def decoded_parameter(params: Mapping[str, bytes], name: str) -> str | None:
    """The value of `name` as text: RFC 2231 sections joined and decoded, else RFC 2047 words (which many write
    there against RFC 2047 5), else raw octets guessed. None when there is no such parameter."""
    sections: list[tuple[int, bool, bytes]] = []
    for key, value in params.items():
        found = _SECTION.match(key)
        if found and found[1] == name and (found[2] or found[3]):
            sections.append((int(found[2] or 0), bool(found[3]), value))
    if not sections:
        plain = params.get(name)
        return None if plain is None else decode_words(plain)
    sections.sort(key=lambda section: section[0])
    charset = ""
    joined = b""
    for number, (_, encoded, value) in enumerate(sections):
        if encoded:
            if number == 0 and value.count(b"'") >= 2:
                label, _, value = value.split(b"'", 2)
                charset = label.decode("latin-1")
            value = unquote_to_bytes(value)
        joined += value
    return decode_charset(joined, charset) if charset else decode_unlabelled(joined)


def _strip_leading_comment(value: bytes) -> bytes:
    value = value.lstrip()
    while value.startswith(b"("):
        end = value.find(b")")
        if end < 0:
            return b""
        value = value[end + 1 :].lstrip()
    return value
