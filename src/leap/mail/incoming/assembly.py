"""From an outer message and its decrypted payload to the one message a mail program is served.

    ours      trace fields the transport added, then what was submitted, byte for byte
    foreign   outer fields without Content-*, protected fields replacing outer ones (RFC 9788, and its
              forerunner protected-headers="v1"), then the payload's content fields and body unchanged

Invariants:
* No byte of the outer body is served: what stood around the encrypted part was not protected (EFAIL).
* Outer fields which a person sees are not served beside protected ones (RFC 9788 4.2).
* Reserved fields of every layer are gone. Nothing here raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from leap.mail.incoming.security_fields import without_forged
from leap.mail.outgoing.addresses import only_address
from leap.mail.outgoing.field_lines import (
    Field,
    begins_with_continuation,
    drop_fields,
    is_reserved,
    join_fields,
    split_header,
    values_of,
)
from leap.mail.outgoing.header_protection import restore
from leap.mail.outgoing.names import GUARD, TRACE_FIELDS, USER_FACING_FIELDS
from leap.mail.outgoing.pgp_mime import content_type_of


@dataclass(frozen=True, slots=True)
class Assembled:
    """`message` lacks only our security fields; the addresses are None when not beyond doubt.

    `from_address` is whom the served From names, `outer_from` whom the outer one named;
    `headers_protected` tells whether the served From comes from inside.
    """

    message: bytes = field(repr=False)
    from_address: str | None
    outer_from: str | None
    headers_protected: bool


def from_address_of(message: bytes) -> str | None:
    """The one address of the one From field, or None."""
    fields, _ = split_header(message)
    return only_address(values_of(fields, "from"))


def assemble(outer: bytes, payload: bytes) -> Assembled:
    """The served message for a payload, its protected header honoured."""
    outer_fields = drop_fields(split_header(outer)[0], is_reserved)
    outer_from = only_address(values_of(outer_fields, "from"))
    restored = restore(payload)
    if restored is not None:
        trace = [one for one in outer_fields if one.name in TRACE_FIELDS]
        theirs = without_forged(restored.message)
        before = join_fields(trace) + without_forged(restored.added)
        guard = GUARD if begins_with_continuation(theirs) else b""
        from_address = from_address_of(restored.added + theirs)
        return Assembled(b"".join([before, guard, theirs]), from_address, outer_from, True)
    fields, body = _entity(payload)
    kind = content_type_of(fields)
    protection = None
    if kind is not None:
        protection = kind.parameters.get("hp") or kind.parameters.get("protected-headers")
    if protection is None:
        return _unprotected(outer_fields, fields, body, outer_from)
    inner = [one for one in fields if one.name != "hp-outer"]
    names = {one.name for one in inner}
    hidden = USER_FACING_FIELDS if protection in ("cipher", "clear") else frozenset()
    kept = [
        one
        for one in outer_fields
        if not one.name.startswith("content-") and one.name not in names and one.name not in hidden
    ]
    message = join_fields(kept) + join_fields(inner) + body
    return Assembled(message, from_address_of(message), outer_from, "from" in names)


def assemble_unprotected(outer: bytes, payload: bytes) -> Assembled:
    """The served message when the protected header must not be believed: the outer one, and the content."""
    outer_fields = drop_fields(split_header(outer)[0], is_reserved)
    outer_from = only_address(values_of(outer_fields, "from"))
    restored = restore(payload)
    fields, body = _entity(payload if restored is None else without_forged(restored.message))
    return _unprotected(outer_fields, fields, body, outer_from)


def _unprotected(
    outer_fields: Sequence[Field], fields: Sequence[Field], body: bytes, outer_from: str | None
) -> Assembled:
    kept = [one for one in outer_fields if not one.name.startswith("content-")]
    content = [one for one in fields if one.name.startswith("content-")]
    message = join_fields(kept) + join_fields(content) + body
    return Assembled(message, outer_from, outer_from, False)


def _entity(payload: bytes) -> tuple[list[Field], bytes]:
    """Header fields and body of a payload; the body begins with the empty line.

    Some senders encrypt plain text without any header: from the first line that is no field on, all
    is body, so that nothing of it is lost.
    """
    fields, rest = split_header(payload)
    for index, one in enumerate(fields):
        if not one.name or one.raw[:1] in (b" ", b"\t"):
            return drop_fields(fields[:index], is_reserved), b"\r\n" + join_fields(
                fields[index:]
            ) + rest
    return drop_fields(fields, is_reserved), rest or b"\r\n"
