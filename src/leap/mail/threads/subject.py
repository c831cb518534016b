"""The base subject of RFC 5256 2.1: what is left of a subject without the marks of replies and forwards. Pure.

subject         = *subj-leader [subj-middle] *subj-trailer
subj-refwd      = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":"
subj-blob       = "[" *BLOBCHAR "]" *WSP
subj-fwd        = "[fwd:" subject "]"
subj-leader     = (*subj-blob subj-refwd) / WSP
subj-trailer    = "(fwd)" / WSP
"""

from __future__ import annotations

import re
from typing import NamedTuple

_SPACE = re.compile(r"[ \t\r\n]+")
_BLOB = r"\[[^\[\]]*+\] *+"
_LEADER = re.compile(rf"(?:{_BLOB})*+(?:re|fwd?) *+(?:{_BLOB})?+:", re.IGNORECASE)
_ONE_BLOB = re.compile(_BLOB)


class BaseSubject(NamedTuple):
    """`reply`: the subject was marked as that of a reply or of a forwarded message."""

    text: str
    reply: bool


def base_subject(subject: str) -> BaseSubject:
    """The base subject of a decoded subject; two are compared by their `subject_key`. Never raises."""
    text = _SPACE.sub(" ", subject)  # (1)
    reply = False
    while True:
        while True:  # (2)
            text = text.rstrip(" ")
            if text[-5:].lower() != "(fwd)":
                break
            text, reply = text[:-5], True
        start = 0
        while True:  # (3) to (5)
            while text.startswith(" ", start):
                start += 1
            if found := _LEADER.match(text, start):
                start, reply = found.end(), True
            elif (found := _ONE_BLOB.match(text, start)) and found.end() < len(text):
                start = found.end()
            else:
                break
        text = text[start:]
        if text[:5].lower() != "[fwd:" or not text.endswith("]"):
            return BaseSubject(text, reply)
        text, reply = text[5:-1], True  # (6)


def subject_key(text: str) -> str:
    """What two base subjects are compared by (RFC 5051, i;unicode-casemap, as far as it can be told)."""
    return text.casefold()
