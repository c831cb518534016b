"""From an outer message and its decrypted payload to the one message a mail program is served.

    ours      trace fields the transport added, then what was submitted, byte for byte
    foreign   outer fields without Content-*, protected fields replacing outer ones (RFC 9788, and its
              forerunner protected-headers="v1"), then the payload's content fields and body unchanged

Invariants:
* No byte of the outer body is served: what stood around the encrypted part was not protected (EFAIL).
* Outer fields which a person sees are not served beside protected ones (RFC 9788 4.2).
* Whom From names is read from the very bytes that are served, guard and trace fields included.
* Reserved fields of every layer are gone. Nothing here raises.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import NamedTuple

from leap.mail.incoming.differences import differing, hp_outer_of, protection_of
from leap.mail.incoming.security_fields import MAX_FIELDS as MAX_OURS
from leap.mail.incoming.security_fields import drop_forged, without_forged
from leap.mail.message.addresses import parse_addresses
from leap.mail.message.header import MAX_FIELDS, iter_fields
from leap.mail.message.header_lines import begins_field, header_end
from leap.mail.outgoing.addresses import normal, only_address
from leap.mail.outgoing.field_lines import (
    Field,
    begins_with_continuation,
    header_fields,
    is_plain,
    join_fields,
    split_header,
    values_of,
    with_fields,
)
from leap.mail.outgoing.header_protection import restore
from leap.mail.outgoing.names import GUARD, TRACE_FIELDS, USER_FACING_FIELDS


@dataclass(frozen=True, slots=True)
class Assembled:
    """`message` lacks only our security fields; the addresses are None when not beyond doubt.

    `from_address` is whom the served From names, `outer_from` whom the outer one named;
    `headers_protected` tells whether the served From comes from inside. `differ` names protected fields which said
    something else outside.
    """

    message: bytes = field(repr=False)
    from_address: str | None
    outer_from: str | None
    headers_protected: bool
    differ: tuple[str, ...] = ()


def from_address_of(message: bytes) -> str | None:
    """The one address of the one From field, or None.

    Two readers must agree: the one that sees a field wherever some program could, and the one whose
    ENVELOPE is served.
    """
    strict = only_address(values_of(header_fields(message), "from"))
    if strict is None:
        return None
    body_start, _ = header_end(message, 0, len(message))
    fields = islice(iter_fields(message, 0, body_start), MAX_FIELDS - MAX_OURS)
    shown = [one for one in fields if one.key == "from"]
    if len(shown) != 1 or shown[0].raw[:5].lower() != b"from:":
        return None  # a space before the colon ends the header for some
    addresses = parse_addresses(shown[0].value)
    agree = len(addresses) == 1 and normal(addresses[0].address) == strict
    return strict if agree else None


def assemble(outer: bytes, payload: bytes, own_domain: str = "") -> Assembled:
    """The served message for a payload, its protected header honoured."""
    outer_fields, outer_from = _outer(outer, own_domain)
    restored = restore(payload)
    if restored is not None:
        theirs = without_forged(restored.message, own_domain)
        trace = _joined(one for one in outer_fields if one.name in TRACE_FIELDS)
        guard = GUARD if begins_with_continuation(theirs) else b""
        message = b"".join([trace, restored.added, guard, theirs])
        inner = header_fields(b"".join((restored.added, theirs)))
        differ = differing(outer_fields, inner, hp_outer_of(header_fields(payload)))
        return Assembled(message, from_address_of(message), outer_from, True, differ)
    fields, body = _entity(payload, own_domain)
    protection = protection_of(fields)
    if not protection:
        return _unprotected(outer_fields, fields, body, outer_from)
    inner = [one for one in fields if one.name != "hp-outer"]
    hp = protection in ("cipher", "clear")
    differ = differing(outer_fields, inner, hp_outer_of(fields) if hp else None)
    names = {one.name for one in inner}
    hidden = USER_FACING_FIELDS if hp else frozenset()
    kept = [
        one
        for one in outer_fields
        if not one.name.startswith("content-") and one.name not in names and one.name not in hidden
    ]
    header = _joined(kept) + _joined(inner)
    made = _served(header, body, outer_from, headers_protected="from" in names)
    return replace(made, differ=differ)


class SignedHeader(NamedTuple):
    """A signed message with the fields its content protects in front, and the names of those that said something
    else outside."""

    message: bytes
    differ: tuple[str, ...]


def with_signed_header(message: bytes, content: bytes, *, inside: bool) -> SignedHeader | None:
    """The header of a signed message as its content protects it (RFC 9788); None when it protects none.

    `message` is served but for our fields; `content` is the signed entity in it. `inside`: both are inside an
    encryption, where a program of before RFC 9788 leaves a placeholder outside. With `hp`, outer fields that people see
    and that are not protected are left behind; where nothing is said in another way outside, the octets stay.
    """
    fields = header_fields(content)
    protection = protection_of(fields)
    if not protection:
        return None
    hp = protection in ("cipher", "clear")
    inner = [one for one in fields if one.name in USER_FACING_FIELDS and begins_field(one.raw)]
    outer = header_fields(message)
    meant = hp_outer_of(fields) if hp and inside else None
    differ = differing(outer, inner, meant)
    names = {one.name for one in inner} | (USER_FACING_FIELDS if hp else frozenset())
    if all(values_of(outer, name) == values_of(inner, name) for name in names):
        return SignedHeader(
            message, differ
        )  # octet for octet: what else signs it (DKIM) still holds
    kept = [one for one in outer if one.name not in names]
    return SignedHeader(with_fields([*inner, *kept], message), differ)


def assemble_unprotected(outer: bytes, payload: bytes, own_domain: str = "") -> Assembled:
    """The served message when the protected header must not be believed: the outer one, and the content."""
    outer_fields, outer_from = _outer(outer, own_domain)
    restored = restore(payload)
    fields, body = _entity(payload if restored is None else restored.message, own_domain)
    return _unprotected(outer_fields, fields, body, outer_from)


def _outer(outer: bytes, own_domain: str) -> tuple[list[Field], str | None]:
    """The outer fields that may be served, and whom From names.

    Lines that are no fields for every program are left behind: some take what follows one for the body, which
    the outer message must not give.
    """
    fields = drop_forged(header_fields(outer), own_domain)
    return [one for one in fields if is_plain([one])], only_address(values_of(fields, "from"))


def _unprotected(
    outer_fields: Sequence[Field], fields: Sequence[Field], body: bytes, outer_from: str | None
) -> Assembled:
    kept = [one for one in outer_fields if not one.name.startswith("content-")]
    content = [one for one in fields if one.name.startswith("content-")]
    return _served(_joined(kept) + _joined(content), body, outer_from, headers_protected=False)


def _served(
    header: bytes, body: bytes, outer_from: str | None, *, headers_protected: bool
) -> Assembled:
    """The two put together, From judged on the whole; nobody's where the body would not begin with `body`."""
    message = header + body
    empty = 1 if body.startswith(b"\n") else 2
    sound = header_end(message, 0, len(message))[0] == len(header) + empty
    from_address = from_address_of(message) if sound else None
    return Assembled(message, from_address, outer_from, headers_protected)


def _joined(fields: Iterable[Field]) -> bytes:
    """The fields, each ending in LF: what a bare CR ended could become one with what comes next."""
    return b"".join(one.raw if one.raw.endswith(b"\n") else one.raw + b" \r\n" for one in fields)


def _entity(payload: bytes, own_domain: str) -> tuple[list[Field], bytes]:
    """Header fields and body of a payload; the body begins with the empty line.

    Some senders encrypt plain text without any header: from the first line that is no field on, all
    is body, so that nothing of it is lost.
    """
    fields, rest = split_header(payload)
    for index, one in enumerate(fields):
        if not one.name or one.raw[:1] in (b" ", b"\t"):
            body = b"\r\n" + join_fields(fields[index:]) + rest
            return drop_forged(fields[:index], own_domain), body
    return drop_forged(fields, own_domain), rest or b"\r\n"
