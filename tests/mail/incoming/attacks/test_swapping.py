"""Content fields of attack mails, and honest ones, change on the way: no signature is good over other text then."""

from __future__ import annotations

import random

import pytest

from tests.mail.incoming.attacks.swapping import swapped
from tests.mail.incoming.attacks.test_attacks import FOLDER, ring
from tests.mail.incoming.attacks.test_inserting import SMALL
from tests.mail.incoming.look_ups import open_with_look_ups
from tests.mail.incoming.verdicts.judging import Row, lies, states, wrongly_vouched

FEW = 12  # changed mails of each; there are some 120


@pytest.mark.parametrize("row", SMALL, ids=[row.file for row in SMALL])
async def test_no_signature_is_good_over_what_it_does_not_cover(row: Row) -> None:
    every = list(swapped((FOLDER / row.file).read_bytes()))
    for put_in, raw in random.Random(row.file).sample(every, min(FEW, len(every))):
        one = await open_with_look_ups(raw, ring())
        assert [*lies(one), *wrongly_vouched(one, row)] == [], put_in
        if row.kind == "inline":
            continue  # a text that was of another type: truly signed, once it is text/plain
        told = states(one.security.signatures)
        assert told.count("good") <= row.signatures.count("good"), put_in


@pytest.mark.parametrize("encoding", [b"base64", b"quoted-printable", b"x-uuencode", b"7bit"])
async def test_an_attached_mail_said_to_be_encoded_hides_no_forged_field(encoding: bytes) -> None:
    """Some programs undo the encoding of an attached mail, others do not (RFC 2046 5.2.1 has none)."""
    raw = (FOLDER / "forged-fields/inside-an-attached-mail.eml").read_bytes()
    field = b"Content-Type: message/rfc822\r\n"
    raw = raw.replace(field, field + b"Content-Transfer-Encoding: " + encoding + b"\r\n")
    assert lies(await open_with_look_ups(raw, ring())) == []
