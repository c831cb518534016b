"""A mail signed by a key it brings along: which key that is, and when it is none."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.keymanager.mail_material import MAX_ATTACHED, SIGNED_BY_ATTACHED, KeyMaterial
from leap.keymanager.openpgp import SecretKey, encrypt, generate, read_signatures, sign_detached
from leap.mail.incoming.attached_keys import attached_keys, attached_signer
from leap.mail.incoming.key_material import find_key_material
from leap.mail.model import header_record
from leap.mail.outgoing.header_protection import protect
from leap.mail.outgoing.pgp_mime import wrap
from tests.keymanager.making import with_user_id
from tests.mail.incoming.look_ups import open_with_look_ups
from tests.mail.incoming.test_opening import Ring
from tests.mail.travel import NOW, mail, own_key

STRANGER, OTHER = "stranger@elsewhere.test", "other@elsewhere.test"


@pytest.fixture(scope="module")
def stranger() -> SecretKey:
    return generate(STRANGER, now=lambda: NOW - 1000)


def entity(*keys: bytes, text: bytes = b"Hello") -> bytes:
    """What Enigmail signs: a text, and the keys."""
    parts = [b"Content-Type: text/plain\r\n\r\n" + text]
    parts += [b"Content-Type: application/pgp-keys; name=key.asc\r\n\r\n" + key for key in keys]
    body = b"".join(b"--in\r\n" + part + b"\r\n" for part in parts)
    return b"Content-Type: multipart/mixed; boundary=in\r\n\r\n" + body + b"--in--\r\n"


def signed(content: bytes, signer: SecretKey, sender: str = STRANGER, at: float = NOW) -> bytes:
    signature = sign_detached(content, signer, now=lambda: at)
    return (
        f"From: {sender}\r\nMessage-ID: <1@x>\r\nContent-Type: multipart/signed;"
        ' protocol="application/pgp-signature"; boundary=out\r\n\r\n--out\r\n'
    ).encode() + (
        content
        + b"\r\n--out\r\nContent-Type: application/pgp-signature\r\n\r\n"
        + signature
        + b"\r\n--out--\r\n"
    )


async def read(raw: bytes, ring: Ring | None = None) -> tuple[list[str], KeyMaterial]:
    """The verdicts on a mail, and what it says of keys."""
    one = await open_with_look_ups(raw, ring or Ring([own_key("bob")]))
    found = find_key_material(raw, one, header_record(one.served, one.security))
    assert found is not None
    return [signature.state for signature in one.security.signatures], found


async def test_a_mail_signed_by_its_attached_key_brings_that_key_and_no_other(
    stranger: SecretKey,
) -> None:
    decoy = generate(STRANGER, now=lambda: NOW - 10).certificate
    ring = decoy.armored(), stranger.certificate.binary.hex().encode()
    content = entity(*ring, decoy.armored(), stranger.certificate.armored())
    assert (await read(signed(content, stranger)))[1].authentication == ""  # the fourth: too many
    content = entity(decoy.armored(), stranger.certificate.armored())
    states, found = await read(signed(content, stranger))
    assert states == ["unknown-key"]
    assert found.authentication == SIGNED_BY_ATTACHED
    assert found.sender_authentication == ""
    assert found.attached == (stranger.certificate.binary,)


async def test_the_key_may_lie_within_the_encryption(stranger: SecretKey) -> None:
    inner = mail(sender=STRANGER, extra=b"OpenPGP: url=https://a.test/k\r\n")
    head, _, _ = inner.partition(b"\r\n\r\n")
    content = head + b"\r\n" + entity(stranger.certificate.armored())
    outer = [("From", STRANGER), ("To", "bob@example.test")]
    to = [own_key("bob").certificate]
    armored = encrypt(protect(content, outer), to, stranger, now=lambda: NOW)
    states, found = await read(wrap(outer, None, armored, "=_b"))
    assert (states, found.authentication) == (["unknown-key"], SIGNED_BY_ATTACHED)
    assert (found.attached, found.url) == ((stranger.certificate.binary,), "")
    # one From inside, another outside: the outer one is served, and the key is not for it
    forged = wrap([("From", OTHER), ("To", "bob@example.test")], None, armored, "=_b")
    states, found = await read(forged)
    assert (states, found.from_address) == (["unknown-key"], OTHER)
    assert found.authentication == ""


@pytest.mark.parametrize(
    "change",
    [
        (b"Hello", b"Hallo"),
        (b"--out--\r\n", b"--out\r\n\r\nmore\r\n--out--\r\n"),
        (b"From: ", b"From: alice@example.test\r\nFrom: "),
        (b"From: stranger@", b"From: other@"),
    ],
)
async def test_what_was_changed_or_is_not_whole_or_of_another_brings_nothing(
    stranger: SecretKey, change: tuple[bytes, bytes]
) -> None:
    raw = signed(entity(stranger.certificate.armored()), stranger)
    changed = raw.replace(*change)
    assert changed != raw
    one = await open_with_look_ups(changed, Ring([own_key("bob")]))
    assert one.attached_signer is None
    found = find_key_material(changed, one, header_record(one.served, one.security))
    assert found is None or found.authentication == ""


async def test_a_key_beside_what_is_signed_is_none(stranger: SecretKey) -> None:
    raw = signed(entity(), stranger)
    key = b"Content-Type: application/pgp-keys\r\n\r\n" + stranger.certificate.armored()
    beside = raw.replace(b"--out--\r\n", b"--out\r\n" + key + b"\r\n--out--\r\n")
    wrapped = (
        f"From: {STRANGER}\r\nContent-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n".encode()
        + raw.partition(b"Message-ID: <1@x>\r\n")[2]
        + b"\r\n--o\r\n"
        + key
        + b"\r\n--o--\r\n"
    )
    for one in (beside, wrapped):
        assert (await read(one))[1].authentication == ""


async def test_the_attached_key_of_somebody_else_brings_nothing(stranger: SecretKey) -> None:
    eve = own_key("eve")
    key_of_stranger = entity(stranger.certificate.armored())
    assert (await read(signed(key_of_stranger, eve)))[1].authentication == ""
    # and one's own key does not carry the From that one forges
    own = entity(eve.certificate.armored())
    assert (await read(signed(own, eve)))[1].authentication == ""


async def test_a_key_that_is_over_or_too_weak_brings_nothing(stranger: SecretKey) -> None:
    ended = generate(STRANGER, now=lambda: NOW - 10_000, lifetime=5000)
    raw = signed(entity(ended.certificate.armored()), ended, at=NOW - 8000)
    assert (await read(raw))[1].authentication == ""
    late = signed(entity(stranger.certificate.armored()), stranger, at=NOW + 10 * 86400)
    assert (await read(late))[1].authentication == ""


async def test_a_known_key_of_another_address_of_the_same_person_is_brought_for_this_one(
    stranger: SecretKey,
) -> None:
    both = with_user_id(stranger, f"Other <{OTHER}>")
    ring = Ring([own_key("bob")], [stranger.certificate])
    states, found = await read(signed(entity(both.certificate.armored()), both, OTHER), ring)
    assert (states, found.authentication) == (["not-from"], SIGNED_BY_ATTACHED)


async def test_with_a_good_signature_every_attached_key_counts_as_before(
    stranger: SecretKey,
) -> None:
    ring = Ring([own_key("bob")], [stranger.certificate])
    other = generate(STRANGER, now=lambda: NOW - 10).certificate.armored()
    states, found = await read(signed(entity(other), stranger), ring)
    assert (states, found.authentication) == (["good"], "signature good")
    assert found.attached == (other,)


def test_a_large_hostile_key_costs_little(stranger: SecretKey) -> None:
    """What counts is the time a stranger can take with 3 keys of 128 KiB, each full of user ids."""
    large = stranger
    for number in range(40):
        large = with_user_id(large, f"{number} <{number}@{'x' * 60}.test>")
    octets = large.certificate.binary
    packets = octets[len(stranger.certificate.binary) :]
    octets += packets * ((120 * 1024 - len(octets)) // max(1, len(packets)))
    content = entity(b"x")
    signature = read_signatures(sign_detached(content, stranger, now=lambda: NOW))
    begin = time.process_time()
    three = [octets] * MAX_ATTACHED
    found = attached_signer(three, content, signature, STRANGER, intended_for=(), now=NOW)
    took = time.process_time() - begin
    print(f"{took * 1e3:.0f} ms for {MAX_ATTACHED} keys of {len(octets)} octets")
    assert found is not None
    assert took < 3


@given(st.lists(st.binary(max_size=300), max_size=4), st.binary(max_size=200))
@settings(max_examples=30, deadline=None)
def test_nothing_raises_whatever_is_attached(keys: list[bytes], data: bytes) -> None:
    signature = read_signatures(sign_detached(b"x", own_key("alice"), now=lambda: NOW))
    assert attached_signer(keys, data, signature, STRANGER, intended_for=(), now=NOW) is None
    attached_keys(b"Content-Type: application/pgp-keys\r\n" + data)
