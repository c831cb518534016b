"""What a mail program, or the person through it, asks for one message: header fields, and tags in the subject.

    X-Leap-Encrypt: require | never | split
    X-Leap-Sign: yes | no
    Subject: [encrypt] ... | [clear] ... | [split] ...         where the account's rules allow tags

A tag stands at the beginning of the subject, after any "Re:", or at its end. It is taken off, with the space beside it.
In an answer or a forwarded mail the subject is another's text: what loosens encryption must stand first there.

Invariants:
* Where field and tag, or two of them, ask for different things, the one that shows least counts.
* What cannot be understood is a `problem` of the wish, never silence: a mistyped "require" would leave readable.
* Nobody else's subject makes an answer leave readable.
* A subject without a tag is not touched; one with a tag is written anew only when the tag is in an encoded word.
* Nothing here raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from email.header import Header
from typing import Literal

from leap.mail.message.words import decode_words
from leap.mail.outgoing.field_lines import Field, values_of
from leap.mail.outgoing.names import POLICY_FIELD, SIGN_FIELD

EncryptWish = Literal["", "require", "split", "never"]

_STRICTEST_FIRST: tuple[EncryptWish, ...] = ("require", "split", "never")
_TAGS: dict[str, EncryptWish] = {"encrypt": "require", "split": "split", "clear": "never"}
_REPLY = r"(?:(?:re|fwd?|aw|wg|sv|antw)\s*:\s*)*"
_FIRST = re.compile(rf"(\s*{_REPLY})\[({'|'.join(_TAGS)})\]\s*", re.IGNORECASE)
_LAST = re.compile(rf"\s*\[({'|'.join(_TAGS)})\]\s*\Z", re.IGNORECASE)
_WORDS = re.compile(r"[a-z=]+")
_OWN_FIRST = re.compile(r"\s*\[(?:clear|split)\]", re.IGNORECASE)
_ANOTHERS = re.compile(
    r"\s*[^\W\d_]{1,8}(?:\s*[\[(]\d+[\])])?\s*[:\uff1a]"
)  # "Re:" in any language


@dataclass(frozen=True, slots=True)
class Wish:
    """What one message asks for; "" and None: nothing. `problem`: a sentence why it cannot be obeyed, or ""."""

    encrypt: EncryptWish = ""
    sign: bool | None = None
    problem: str = ""

    @property
    def text(self) -> str:
        """As the outbox keeps it."""
        sign = "" if self.sign is None else f"sign={'yes' if self.sign else 'no'}"
        return " ".join(part for part in (self.encrypt, sign) if part)

    def with_tag(self, tag: EncryptWish) -> Wish:
        return Wish(_strictest((self.encrypt, tag)), self.sign, self.problem)


def wish_named(text: str) -> Wish:
    """The wish that `Wish.text` wrote, or the outbox of an earlier version kept."""
    words = set(_WORDS.findall(text.lower()))
    sign = False if "sign=no" in words else True if "sign=yes" in words else None
    return Wish(_strictest(one for one in _STRICTEST_FIRST if one in words), sign)


def wish_of(fields: Sequence[Field]) -> Wish:
    """What the header fields of a submitted message ask for; an empty one asks for nothing."""
    encrypt = {_word(value) for value in values_of(fields, POLICY_FIELD.lower())} - {""}
    sign = {_word(value) for value in values_of(fields, SIGN_FIELD.lower())} - {""}
    problem = ""
    if not encrypt <= set(_STRICTEST_FIRST):
        problem = f"Not sent: the header field {POLICY_FIELD} can say require, split or never."
    elif not sign <= {"yes", "no"}:
        problem = f"Not sent: the header field {SIGN_FIELD} can say yes or no."
    return Wish(
        _strictest(one for one in _STRICTEST_FIRST if one in encrypt),
        False if "no" in sign else True if "yes" in sign else None,
        problem,
    )


def with_subject_tag(fields: Sequence[Field], wish: Wish) -> tuple[list[Field], Wish]:
    """The fields without the tags of their Subject, and the wish with what those ask for."""
    rest, tag = take_subject_tag(fields)
    wish = wish.with_tag(tag)
    if tag in ("split", "never") and wish.encrypt == tag and _may_be_anothers(fields):
        sentence = (
            "Not sent: the mail it answers or forwards may have brought the tag in its subject; remove it,"
            " or put it first, before the Re."
        )
        wish = Wish(wish.encrypt, wish.sign, wish.problem or sentence)
    return rest, wish


def _may_be_anothers(fields: Sequence[Field]) -> bool:
    """Whether a tag in the subject may come from a mail that was answered: a program writes its "Re:" before it."""
    text = "".join(decode_words(value) for value in values_of(fields, "subject"))
    if _OWN_FIRST.match(text):
        return False
    names = {field.name for field in fields}
    return not names.isdisjoint(("in-reply-to", "references")) or _ANOTHERS.match(text) is not None


def take_subject_tag(fields: Sequence[Field]) -> tuple[list[Field], EncryptWish]:
    """The fields with the tag of the one Subject taken off, and what it asks for; without one the same fields."""
    places = [at for at, field in enumerate(fields) if field.name == "subject"]
    if len(places) != 1:
        return list(fields), ""
    place = places[0]
    raw = fields[place].raw
    name, colon, value = raw.partition(b":")
    found: list[EncryptWish] = []
    text = value.decode("latin-1")  # octet for octet
    rest = _untagged(text.rstrip("\r\n"), found)
    if found:
        value = rest.encode("latin-1") + b"\r\n"
    else:
        decoded = decode_words(fields[place].value)
        rest = _untagged(decoded, found)
        if not found:
            return list(fields), ""
        value = b" " + _encoded(rest) + b"\r\n"
    out = list(fields)
    out[place] = Field("subject", name + colon + value)
    return out, _strictest(found)


def _untagged(text: str, found: list[EncryptWish]) -> str:
    while first := _FIRST.match(text):
        found.append(_TAGS[first[2].lower()])
        text = first[1] + text[first.end() :]
    while last := _LAST.search(text):
        found.append(_TAGS[last[1].lower()])
        text = text[: last.start()]
    return text


def _encoded(text: str) -> bytes:
    if text.isascii():
        return text.encode("ascii").replace(b"\r", b" ").replace(b"\n", b" ")
    return Header(text, "utf-8", maxlinelen=70).encode(linesep="\r\n").encode("ascii")


def _word(value: bytes) -> str:
    return value.decode("ascii", "replace").strip().lower()


def _strictest(wishes: Iterable[EncryptWish]) -> EncryptWish:
    asked = set(wishes)
    return next((one for one in _STRICTEST_FIRST if one in asked), "")
