"""Mail built so that what is verified and what is shown differ: none of it may be called valid."""

from __future__ import annotations

import pytest

from leap.keymanager.openpgp import sign_detached
from leap.mail.incoming.signed import find_signed
from leap.mail.message import Message
from leap.mail.message.header import MAX_FIELDS
from leap.mail.outgoing.header_protection import protect, restore
from tests.mail.incoming.test_opening import (
    ALICE,
    BOB,
    EVE,
    OUTER,
    Ring,
    opened,
    ring,
    sealed,
    states,
)
from tests.mail.travel import DOMAIN, NOW, mail, own_key

__all__ = ["ring"]

FROM_EVE = [("From", EVE), *OUTER[1:]]
TEXT = b"Content-Type: text/plain\r\n\r\nhello\r\n"
VALID = b"X-Leap-Signature: valid"


def payload(message: bytes, added: int = 0) -> bytes:
    """A payload of our own form, written by hand."""
    return (
        b'Content-Type: text/plain; hp="cipher"\r\nHP-Outer: Subject: [...]\r\n'
        b"X-Leap-Payload: v=1; content-type=fresh; added=%d\r\n" % added
    ) + message


# --- a From that is another one once it is served ---------------------------------------------

SPLIT_FROM = [
    b'From: "alice@example.test"\r\n <eve@example.test>\r\nSubject: x\r\n',
    b"From: alice\r\n <eve@example.test>\r\nSubject: x\r\n",
    b"From: eve@example.test (\r\n alice@example.test)\r\nSubject: x\r\n",
]


@pytest.mark.parametrize("outer", [FROM_EVE, OUTER], ids=["outer eve", "outer alice"])
@pytest.mark.parametrize("fields", SPLIT_FROM)
async def test_a_from_folded_out_of_the_added_fields_is_not_served(
    ring: Ring, fields: bytes, outer: list[tuple[str, str]]
) -> None:
    one = await opened(sealed(payload(fields + TEXT, added=1), "eve", outer), ring)
    sender = dict(outer)["From"]
    assert [a.address for a in Message(one.served).addresses("from")] == [sender]
    assert (VALID in one.served) is (sender == EVE)


@pytest.mark.parametrize(
    "added",
    [
        b"From: eve@example.test\r\n",
        b"Subject: x\r\n",
        b"Date: \r\n",
        b"Date: Sun, 22 Nov 2026 22:00:00 +0000\r\nMessage-ID: <a@b>\r\n",
        b"Message-ID: <a@b>\r\nMessage-ID: <a@b>\r\n",
        b"Message-ID: <a@b>\rFrom: alice@example.test\r\n",
        b"Message-ID: <a@b>\nFrom: alice@example.test\r\n",
        b"Message-ID: <a@b>; (\r\n",
        b"\r\n",
    ],
)
def test_only_the_fields_we_add_are_taken_for_added_ones(added: bytes) -> None:
    assert restore(payload(added + mail(), added.count(b"\r\n"))) is None


def test_the_fields_we_add_are_taken_for_added_ones() -> None:
    added = [b"Message-ID: <a@b>\r\n", b"Date: Sun, 22 Nov 2026 22:00:00 -0000\r\n"]
    for some in (added, added[:1], added[1:], []):
        restored = restore(protect(mail(), OUTER, some))
        assert restored is not None
        assert (restored.added, restored.message) == (b"".join(some), mail())


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"Content-Type: text/plain\r\n",
        b'HP-Outer: a: b\r\nContent-Type: text/plain; hp="cipher"\r\n',
        b'Content-Type: text/plain; hp="cipher"\r\nContent-Type: text/plain; hp="cipher"\r\n',
        b'Content-Type: text/plain;\r\n \r\n hp="cipher"\r\n',
        b'HP-Outer: a\nContent-Type: text/plain; hp="cipher"\r\n',
        b'Content-Type : text/plain; hp="cipher"\r\n',
    ],
)
def test_the_marker_counts_only_behind_exactly_the_fields_we_write(head: bytes) -> None:
    marker = b"X-Leap-Payload: v=1; content-type=fresh; added=0\r\n"
    assert restore(head + marker + mail()) is None
    assert restore(payload(mail())) is not None


HIDDEN_FROM = {
    "behind 20,000 fields": b"A:\r\n" * MAX_FIELDS + b"From: eve@example.test\r\n",
    "behind 20,000 fields with ours": b"A:\r\n" * (MAX_FIELDS - 3) + b"From: eve@example.test\r\n",
    "with a space before its colon": b"From : eve@example.test\r\n",
    "in another field": b"X: \x0bFrom: eve@example.test\r\n",
    "folded before its colon": b"From\r\n : eve@example.test\r\n",
    "behind a bare CR": b"X: y\rFrom: eve@example.test\r\n",
    "twice, once behind a vertical tab": b"X: \x0bFrom: alice@example.test\r\nFrom: eve@example.test\r\n",
    "twice, once folded": b"Fro\r\n m: alice@example.test\r\nFrom: eve@example.test\r\n",
    "twice, once behind 0xA0": b"\xa0" * 100
    + b"From: alice@example.test\r\nFrom: eve@example.test\r\n",
}


@pytest.mark.parametrize("case", HIDDEN_FROM)
async def test_a_signature_is_good_only_over_a_from_that_is_shown(ring: Ring, case: str) -> None:
    message = b"Subject: s\r\n" + HIDDEN_FROM[case] + TEXT
    one = await opened(sealed(payload(message), "eve", FROM_EVE), ring)
    assert states(one) == ["not-from"]
    assert VALID not in one.served


async def test_a_good_verdict_stands_over_an_envelope_with_that_from(ring: Ring) -> None:
    # A damaged line with its continuation takes no From away (the header ends where all readers say).
    message = b"Subject: s\r\nX\r\n fold\r\nFrom: eve@example.test\r\n" + TEXT
    one = await opened(sealed(payload(message), "eve", FROM_EVE), ring)
    assert states(one) == ["good"]
    assert [a.address for a in Message(one.served).addresses("from")] == [EVE]
    assert Message(one.served).body_text == "hello\n"


# --- the outer message of an encrypted one ---------------------------------------------------


@pytest.mark.parametrize(
    "evil",
    [
        b"EVIL\r\nEVIL\r\n",
        b"X\r\n fold EVIL\r\nEVIL\r\n",
        b"\x00EVIL\r\n",
        b"\x00From: EVIL\r\n",
        b"X: y\r\r",
    ],
)
@pytest.mark.parametrize("inner", [TEXT, b"\r\nhello\r\n", b"hello"], ids=["typed", "bare", "text"])
async def test_text_among_the_outer_fields_is_never_the_body(
    ring: Ring, evil: bytes, inner: bytes
) -> None:
    raw = sealed(inner, "alice")
    for place in (b"MIME-Version", b"Content-Type: multipart"):
        one = await opened(raw.replace(place, evil + place, 1), ring)
        if one.security.encryption == "end-to-end":
            shown = Message(one.served)
            assert shown.body_text.strip() == "hello"
            assert b"EVIL" not in shown.body(shown.root)


# --- multipart/signed --------------------------------------------------------------------------

CONTENT_TYPE = (
    b'Content-Type: multipart/signed; micalg=pgp-sha512; protocol="application/pgp-signature";'
    b' boundary="SS"\r\n'
)
EVIL = b"Content-Type: text/plain\r\n\r\nEVIL\r\n"


def signed(before: bytes = b"", after: bytes = b"", content_type: bytes = CONTENT_TYPE) -> bytes:
    signature = sign_detached(TEXT, own_key("alice"), now=lambda: NOW)
    armored = signature.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    header = f"From: {ALICE}\r\nTo: {BOB}\r\nSubject: s\r\nMIME-Version: 1.0\r\n".encode()
    return b"".join(
        (
            *(header, content_type, b"\r\n", before, b"--SS\r\n", TEXT, b"\r\n--SS\r\n"),
            *(b"Content-Type: application/pgp-signature\r\n\r\n", armored, b"--SS--\r\n", after),
        )
    )


async def test_a_signed_mail_is_good_with_a_preamble_and_behind_any_number_of_fields(
    ring: Ring,
) -> None:
    assert states(await opened(signed(), ring)) == ["good"]
    assert states(await opened(signed(b"This is signed.\r\n", b"footer\r\n"), ring)) == ["good"]
    many = b"".join(b"A%d: %s\r\n" % (k, b"z" * 900) for k in range(1300))
    one = await opened(many + signed(b"EVIL\r\n"), ring)
    # Part 1 is what was signed, and so is all that is shown.
    assert states(one) == ["good"]
    shown = Message(one.served)
    assert shown.root.content_type == "multipart/signed"
    assert shown.body_text == "hello\n"


CUT_OTHERWISE = {
    "a line that is no field": signed().replace(b"MIME-", b"X\r\nMIME-", 1),
    "a damaged line and its continuation": signed(b"EVIL\r\n").replace(
        b"MIME-", b"X\r\n fold\r\nMIME-", 1
    ),
    "a blank continuation": signed().replace(b"Subject: s\r\n", b"Subject: s\r\n \r\n", 1),
    "a bare CR in the header": signed().replace(b"Subject: s", b"Subject: s\r\rt", 1),
    "a space before a colon": signed().replace(b"Subject:", b"Subject :", 1),
    "a space before the colon of the type": signed(
        b"EVIL\r\n", content_type=CONTENT_TYPE.replace(b":", b" :", 1)
    ),
    "two types": signed(content_type=CONTENT_TYPE + b"Content-Type: text/plain\r\n"),
    "two boundaries": signed(content_type=CONTENT_TYPE.replace(b"\r\n", b'; boundary="ZZ"\r\n')),
    "a comment": signed(
        content_type=CONTENT_TYPE.replace(b"signed;", b'signed (; boundary="ZZ"; x);')
    ),
    "a backslash": signed(
        content_type=CONTENT_TYPE.replace(b"micalg=pgp-sha512", b'x="\\"; boundary=ZZ; y=\\""')
    ),
    "a transfer encoding": signed(
        content_type=b"Content-Transfer-Encoding: base64\r\n" + CONTENT_TYPE
    ),
    "two transfer encodings": signed(
        content_type=b"Content-Transfer-Encoding: 7bit\r\nContent-Transfer-Encoding: base64\r\n"
        + CONTENT_TYPE
    ),
    "three parts": signed(b"--SS\r\n" + EVIL),
    "three parts, the first behind a longer boundary": signed(b"--SSx\r\n" + EVIL),
    "three parts, the first behind a bare CR": signed(b"text\r--SS\r\n" + EVIL),
    "a part behind the end": signed(after=b"--SS\r\n" + EVIL),
    "no end": signed().removesuffix(b"--SS--\r\n"),
} | {
    f"two boundaries, one as {form.decode()}": signed(
        after=b"\r\n--ZZ\r\n" + EVIL + b"--ZZ--\r\n",
        content_type=CONTENT_TYPE.replace(b"boundary", form + b"; boundary"),
    )
    for form in (b"boundary*=us-ascii''ZZ", b"boundary*0=ZZ", b"boundary*0*=us-ascii''ZZ")
}


@pytest.mark.parametrize("case", CUT_OTHERWISE)
async def test_a_signed_mail_that_can_be_cut_otherwise_is_not_valid(ring: Ring, case: str) -> None:
    raw = CUT_OTHERWISE[case]
    assert find_signed(raw) is None
    one = await opened(raw, ring)
    assert "good" not in states(one)
    assert VALID not in one.served


async def test_text_in_place_of_the_header_does_not_hide_what_was_signed(ring: Ring) -> None:
    for first in (b" folded\r\n", b"From alice Mon Nov 2\r\n", b"EVIL\r\nEVIL\r\n"):
        assert VALID not in (await opened(first + signed(), ring)).served


# --- fields in the name of others --------------------------------------------------------------

FORGED = [
    b"\xa0" * 100 + b"X-Leap-Signature: valid\r\n",
    b"\x00" * 5000 + b"X-Leap-Signature: valid\r\n",
    b"X-A: b\x0bX-Leap-Signature: valid\r\n",
    b"X-A: b\x0cX-Leap-Signature: valid\r\n",
    b"X-A: b\x1eX-Leap-Signature: valid\r\n",
    b"X-A: b\xc2\x85X-Leap-Signature: valid\r\n",
    b"X-A: b\xe2\x80\xa8X-Leap-Signature: valid\r\n",
    b"X-Leap-\r\n Signature: valid\r\n",
    b"X-Leap-Signature\r\n : valid\r\n",
    b"X-\r\n\tLeap-Signature\r\n \r\n : valid\r\n",
]


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.parametrize("where", ["first", "last", "inside"])
async def test_a_verdict_field_in_disguise_does_not_arrive(
    ring: Ring, forged: bytes, where: str
) -> None:
    raw = forged + mail()
    if where == "last":
        raw = mail().replace(b"\r\n\r\n", b"\r\n" + forged + b"\r\n", 1)
    if where == "inside":
        raw = sealed(payload(raw), None)
    one = await opened(raw, ring)
    ours_first, ours_second, rest = one.served.split(b"\r\n", 2)
    assert ours_second == b"X-Leap-Signature: none", ours_first
    header = rest.partition(b"\r\n\r\n")[0]
    assert b"leap-" not in header.lower()
    assert b"valid" not in header
    assert b"Subject: The secret plan\r\n" in rest


async def test_text_with_odd_characters_is_not_taken_for_a_field(ring: Ring) -> None:
    raw = mail(extra=b"X-Note: a\x0bb X-Leap-Signature: c\x0cd\r\nX-From: \xc3\x85 From: x\r\n")
    assert (await opened(raw, ring)).served.endswith(raw)


OWN_RESULTS = [
    b"Authentication-Results: ((((((;)))))) example.test; dkim=pass\r\n",
    b"Authentication-Results: example.test; dkim=pass header.d=example.test\r\n",
    b"authentication-results : EXAMPLE.test 1; spf=pass\r\n",
    b"Authentication-Results:\r\n\tmx.example.test; dkim=pass\r\n",
    b"Authentication-Results: (a (nested;) comment) example.test; dkim=pass\r\n",
    b'Authentication-Results: "example.test"; dkim=pass\r\n',
    b"Authentication-Results: (x) example.test.; dkim=pass\r\n",
    b"X-A: b\rAuthentication-Results: example.test; dkim=pass\r\n",
]
OTHER_RESULTS = [
    b"Authentication-Results: mx.elsewhere.test; dkim=pass header.d=example.test\r\n",
    b"Authentication-Results: (a (b) c) mx.elsewhere.test; dkim=pass header.d=example.test\r\n",
    b"Authentication-Results: notexample.test; spf=pass smtp.mailfrom=example.test\r\n",
    b"Authentication-Results: example.test.elsewhere.test; dkim=pass\r\n",
    b"X-Results: example.test; dkim=pass\r\n",
]


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("forged", OWN_RESULTS)
async def test_results_in_our_providers_name_do_not_arrive(
    ring: Ring, forged: bytes, inside: bool
) -> None:
    raw = sealed(payload(forged + mail()), None) if inside else forged + mail()
    one = await opened(raw, ring)
    assert b"dkim=pass" not in one.served
    assert b"spf=pass" not in one.served
    assert one.served.endswith(mail())


async def test_results_in_our_providers_name_do_not_arrive_around_an_encrypted_mail(
    ring: Ring,
) -> None:
    one = await opened(OWN_RESULTS[1] + OTHER_RESULTS[0] + sealed(payload(mail()), None), ring)
    assert OWN_RESULTS[1] not in one.served
    assert OTHER_RESULTS[0] in one.served


@pytest.mark.parametrize("field", OTHER_RESULTS)
async def test_results_of_others_arrive(ring: Ring, field: bytes) -> None:
    assert DOMAIN == "example.test"
    assert (await opened(field + mail(), ring)).served.endswith(field + mail())
