"""Which protected header fields say something else than the outer ones, beyond what their sender meant to hide. Pure.

A sender who hides the subject writes "[...]" outside, and says so inside (HP-Outer, RFC 9788 2.2). That is no
difference. One is told when what stood outside is neither what is protected nor what the sender put there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from leap.mail.message.words import decode_words
from leap.mail.outgoing.addresses import mentioned_addresses
from leap.mail.outgoing.field_lines import Field, values_of
from leap.mail.outgoing.pgp_mime import content_type_of

_ADDRESSES = frozenset({"from", "sender", "to", "cc", "reply-to"})
# What stands in the place of a hidden subject (RFC 9788 3.2.1, and programs of before it, which tell nothing)
_PLACEHOLDERS = frozenset(
    {"...", "[...]", "(...)", "encrypted message", "encrypted", "subject unavailable", "p≡p", "pep"}
)
# What a person sees; a Message-ID, which relays write anew, is none of it
_COMPARED = frozenset({"from", "sender", "reply-to", "to", "cc", "subject", "date"})


def protection_of(fields: Sequence[Field]) -> str:
    """What a payload's Content-Type says of its header: "cipher", "clear" (RFC 9788 2.1), another word, or nothing."""
    kind = content_type_of(fields)
    if kind is None:
        return ""
    return kind.parameters.get("hp") or kind.parameters.get("protected-headers") or ""


def hp_outer_of(fields: Sequence[Field]) -> dict[str, list[bytes]]:
    """What the sender put outside, by lower-case name (RFC 9788 2.2)."""
    found: dict[str, list[bytes]] = {}
    for value in values_of(fields, "hp-outer"):
        name, colon, rest = value.partition(b":")
        if colon:
            found.setdefault(name.strip().decode("ascii", "replace").lower(), []).append(rest)
    return found


def differing(
    outer: Sequence[Field],
    protected: Sequence[Field],
    meant: Mapping[str, Sequence[bytes]] | None,
) -> tuple[str, ...]:
    """Lower-case names of fields whose outer value is neither the protected one nor `meant` to stand there.

    `meant` is None where the sender's program does not tell (before RFC 9788). A name that does not stand outside is
    passed over, and so is a subject that is only hidden.
    """
    found = []
    for name in sorted(_COMPARED & {one.name for one in protected}):
        outside = values_of(outer, name)
        if not outside or _same(name, outside, values_of(protected, name)):
            continue
        hidden = name == "subject" and _text(outside).casefold() in _PLACEHOLDERS
        # nobody means to be another outside
        told = meant is not None and name != "from"
        intended = hidden or (told and _same(name, outside, (meant or {}).get(name, ())))
        if not intended:
            found.append(name)
    return tuple(found)


def _same(name: str, one: Sequence[bytes], other: Sequence[bytes]) -> bool:
    if len(one) == len(other) and _text(one) == _text(other):
        return True
    if name not in _ADDRESSES or len(one) != len(other):
        return False
    addresses = mentioned_addresses(one)  # names may be left out, or written in another way
    return bool(addresses) and addresses == mentioned_addresses(other)


def _text(values: Sequence[bytes]) -> str:
    return " ".join(" ".join(decode_words(value) for value in values).split())
