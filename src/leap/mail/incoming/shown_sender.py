"""Whom a person takes a mail to be from, and why that may not be the address its From has. Pure; nothing raises.

A program shows the name of a From, often without its address, and a font may draw two letters alike. So a From which
could be taken for another one gives no signature a good verdict, whoever made it:

* more than one From, a group, several addresses, or what two readers understand in two ways;
* another address in the name, in a comment or in an encoded word of the same field;
* letters of several scripts in one label of the address, a label that is spelled in letters which all look Latin, or
  Latin letters that are drawn as plain ones.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

import idna

from leap.mail.incoming.assembly import from_address_of
from leap.mail.message.words import decode_words
from leap.mail.outgoing.addresses import mentioned_addresses
from leap.mail.outgoing.field_lines import header_fields, values_of

_NOBODY = "the mail does not say beyond doubt who it is from"
_ANOTHER = "the name in From looks like another address"
_LOOKALIKE = "the address in From is spelled in letters that look like others"
_MAX_VALUE = 16 * 1024  # octets of From looked at; a longer one is a trick

# What Unicode draws like "@" and ".", after which NFKC leaves something else
_LIKE_AT = str.maketrans(
    {
        "\N{CIRCLED LATIN SMALL LETTER A}": "@",
        "\N{ONE DOT LEADER}": ".",
        "\N{LISU LETTER TONE MYA TI}": ".",
        "\N{ARABIC-INDIC DIGIT ZERO}": ".",
        "\N{EXTENDED ARABIC-INDIC DIGIT ZERO}": ".",
        "\N{SYRIAC SUPRALINEAR FULL STOP}": ".",
        "\N{SYRIAC SUBLINEAR FULL STOP}": ".",
        "\N{MIDDLE DOT}": ".",
    }
)
_INVISIBLE = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
# Scripts that are written together (Unicode TS 39 5.2, "highly restrictive", each with Latin letters among them)
_TOGETHER = frozenset(
    {"CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "KATAKANA-HIRAGANA", "IDEOGRAPHIC"}
)
_LIKE_OTHERS = frozenset("ɑɡɩıǀꞁꝇʟ")  # Latin letters that are drawn as plain ones, without any mark
# Small letters that are drawn as Latin ones (Unicode TS 39, single letters of scripts in use)
_LIKE_LATIN = frozenset("асеіјорѕухԁԛԝһӏвкмнтгпьοανυιρτκχωհոսօցքզաӕғѵ")


@dataclass(frozen=True, slots=True)
class ShownSender:
    """`address` is the one address of the one From, or None; `doubt` says why no signature may count as its own."""

    address: str | None
    doubt: str = ""


def shown_sender(message: bytes) -> ShownSender:
    """Whom the From of a message names, as it will be served."""
    return sender_with(message, from_address_of(message))


def sender_with(message: bytes, address: str | None) -> ShownSender:
    """The same when the one address of its one From is known already, or None."""
    values = values_of(header_fields(message), "from") if address is not None else []
    if address is None or len(values) != 1 or len(values[0]) > _MAX_VALUE:
        return ShownSender(None, _NOBODY)
    if _names_another(values[0], address):
        return ShownSender(address, _ANOTHER)
    return ShownSender(address, _LOOKALIKE if looks_like_another(address) else "")


def _names_another(value: bytes, address: str) -> bool:
    shown = decode_words(value)
    if _INVISIBLE.search(shown):
        # what is not drawn, or turns the order of what is
        return True
    texts = {shown, unicodedata.normalize("NFKC", shown.translate(_LIKE_AT))}
    found = {one for text in texts for one in mentioned_addresses([_unquoted(text)])}
    return bool({one for one in found if _has_domain(one)} - {address})


def _unquoted(text: str) -> bytes:
    """Words of a name stand apart from what holds them."""
    return re.sub(r"[\"'\\|]", " ", text).encode("utf-8", "replace")


def _has_domain(address: str) -> bool:
    return "." in address.rpartition("@")[2]


def looks_like_another(address: str) -> bool:
    """Whether a label of the domain, or the local part, could be read as other letters than it has."""
    local, _, domain = address.rpartition("@")
    labels = [local, *(_label(one) for one in domain.split("."))]
    return any(_mixed(one) or _all_like_latin(one) for one in labels if not one.isascii())


def _label(label: str) -> str:
    if not label.startswith("xn--"):
        return label
    try:
        return idna.decode(label)
    except (idna.IDNAError, UnicodeError):
        return label


def _mixed(label: str) -> bool:
    """Whether it has letters of scripts that nobody writes in one word, or Latin ones that are drawn as others."""
    # the first word of a letter's name is its script
    found = {unicodedata.name(one, "?").split()[0] for one in label if one.isalpha()}
    foreign = found - {"LATIN"} - (_TOGETHER if len(found) > 1 else frozenset())
    return (
        len(foreign) > 1
        or (bool(foreign) and foreign != found)
        or not _LIKE_OTHERS.isdisjoint(label)
    )


def _all_like_latin(label: str) -> bool:
    letters = {one for one in label if one.isalpha()}
    return bool(letters) and letters <= _LIKE_LATIN
