"""Certificates and keys which somebody changed on their way, where no signature covers it, or made to do harm."""

from __future__ import annotations

import random
import time

import pysequoia
import pytest

from leap.keymanager.documents import CERTIFICATE, MERGES, certificate_document, content_of
from leap.keymanager.openpgp import (
    Certificate,
    Malformed,
    NoSuchPart,
    SecretKey,
    TooLarge,
    WrongPassphrase,
    add_signing_subkey,
    certify,
    decrypt_with_passphrase,
    encrypt_with_passphrase,
    generate,
    read_certificates,
    read_signed,
    revoke_user_id,
    set_expiry,
    sign_detached,
    verify_detached,
)
from leap.keymanager.openpgp.certification import certifiers
from leap.keymanager.openpgp.component import Component
from leap.keymanager.openpgp.key_material import make_encryption_key
from leap.keymanager.openpgp.key_state import CERTIFY, SIGN
from leap.keymanager.openpgp.merging import MAX_OTHERS, ROOM_FOR_OTHERS
from leap.keymanager.openpgp.packets import Cursor, Tag, packet
from leap.keymanager.openpgp.self_signing import end_of
from leap.keymanager.openpgp.signature import (
    Signature,
    SignatureType,
    Subpacket,
    subpacket,
)

from .conftest import ALICE, BIRTH, DAY, Gpg
from .making import changed, replaced, revoked, rsa_material, sign_on, with_more

SECRET = b"\x00\x40SECRET.."


def with_unsigned(body: bytes, unsigned: bytes) -> bytes:
    """A signature of version 4 with something else in its unsigned area."""
    cursor = Cursor(body)
    cursor.take(4)
    cursor.take(cursor.number(2))
    head = body[: cursor.at]
    cursor.take(cursor.number(2))
    return head + len(unsigned).to_bytes(2, "big") + unsigned + cursor.rest()


def with_forms(key: Certificate, component: Component, *forms: bytes) -> Certificate:
    return replaced(key, component, component._replace(signatures=forms))


# --- secrets of kinds we do not know ---------------------------------------------------------------


@pytest.mark.parametrize("algorithm", [20, 21, 31, 99, 110])
def test_the_secret_of_an_unknown_kind_of_key_never_passes_for_its_public_part(
    alice: SecretKey, algorithm: int
) -> None:
    """Only version 6 says where the public part of a key ends."""
    body = b"\x04" + BIRTH.to_bytes(4, "big") + bytes([algorithm])
    body += b"\x00\x08\xab" * 3 + b"\0" + SECRET + b"\0\0"
    subkey = packet(Tag.SECRET_SUBKEY, body)
    (read,) = read_certificates(alice.to_bytes() + subkey)
    assert SECRET not in read.complete
    key = SecretKey.from_bytes(alice.to_bytes() + subkey)  # and the rest of it can still be used
    assert SECRET not in key.certificate.complete
    assert key.certificate == alice.certificate
    with pytest.raises(Exception, match=f"algorithm {algorithm} are not supported"):
        read_certificates(packet(Tag.SECRET_KEY, body))


# --- signatures that say nothing of the key ----------------------------------------------------------


NAME_SAYS = [[], [subpacket(Subpacket.KEY_FLAGS, bytes([CERTIFY]))]]


@pytest.mark.parametrize("says", NAME_SAYS, ids=["nothing", "flags alone"])
def test_a_newer_signature_that_leaves_something_open_takes_nothing_back(
    alice: SecretKey, gpg: Gpg, says: list[bytes]
) -> None:
    """A key for certifying alone and ten days, says its direct signature; on a name it says less, later."""
    head, name, subkey = alice.certificate.components
    end = end_of(alice.certificate.primary, BIRTH + 10 * DAY)
    about = [subpacket(Subpacket.KEY_FLAGS, bytes([CERTIFY])), end]
    direct = sign_on(head, alice.certificate, alice, SignatureType.DIRECT_KEY, at=BIRTH, says=about)
    kind = SignatureType.CERTIFY_POSITIVE
    bare = sign_on(name, alice.certificate, alice, kind, at=BIRTH + 5, says=says)
    certificate = Certificate(
        [head._replace(signatures=(direct,)), name._replace(signatures=(bare,)), subkey]
    )
    for whole in (certificate, certificate.minimal(ALICE), certificate.current()):
        assert (whole.keys[0].expires, whole.keys[0].flags) == (BIRTH + 10 * DAY, CERTIFY)
    seen = pysequoia.Cert.from_bytes(certificate.binary)
    assert seen.expiration is not None
    assert seen.expiration.timestamp() == BIRTH + 10 * DAY
    gpg("--import", data=certificate.binary)
    listed = gpg("--with-colons", "--list-keys", certificate.fingerprint).decode()
    primary = next(line for line in listed.splitlines() if line.startswith("pub")).split(":")
    assert primary[6] == str(BIRTH + 10 * DAY)
    assert [use for use in primary[11] if use.islower()] == ["c"]


# --- the unsigned area ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def signing(alice: SecretKey) -> SecretKey:
    """Alice's key with a signing subkey whose agreement stands where GnuPG writes it: in the unsigned area."""
    key = add_signing_subkey(alice, now=BIRTH + 1, expires=None)
    *others, subkey = key.certificate.components
    (agreement,) = Signature(subkey.signatures[0]).embedded
    says = [subpacket(Subpacket.KEY_FLAGS, bytes([SIGN]))]
    binding = sign_on(subkey, key.certificate, key, SignatureType.SUBKEY_BINDING, says=says)
    binding = with_unsigned(binding, subpacket(Subpacket.EMBEDDED, agreement))
    return changed(key, Certificate([*others, subkey._replace(signatures=(binding,))]))


def cut(key: SecretKey) -> Certificate:
    """The same without the agreement, and with one that is none."""
    subkey = key.certificate.components[-1]
    (binding,) = subkey.signatures
    (agreement,) = Signature(binding).embedded
    false = subpacket(Subpacket.EMBEDDED, agreement[:-1] + bytes([agreement[-1] ^ 1]))
    forms = with_unsigned(binding, b""), with_unsigned(binding, false)
    return with_forms(key.certificate, subkey, *forms)


def test_whoever_cuts_out_what_is_not_signed_cannot_make_a_subkeys_signatures_bad_for_ever(
    signing: SecretKey,
) -> None:
    data = b"hello"
    signature = sign_detached(data, signing, now=lambda: BIRTH + DAY)
    poisoned = cut(signing)

    def state(certificate: Certificate) -> str:
        (verdict,) = verify_detached(data, signature, [certificate], now=lambda: BIRTH + DAY)
        return verdict.state

    assert state(signing.certificate) == "good"
    assert state(poisoned) == "bad"
    for known in (poisoned, poisoned.cleaned()):
        for merged in (known.merge(signing.certificate), signing.certificate.merge(known)):
            assert state(merged) == "good"
            assert merged.components[-1] == signing.certificate.components[-1]
    both = with_more(poisoned.components[-1], signing.certificate.components[-1].signatures)
    assert state(replaced(poisoned, poisoned.components[-1], both)) == "good"


def test_a_certificate_does_not_grow_by_what_is_not_signed(alice: SecretKey) -> None:
    """Else a few hundred mails would fill it, until no revocation came in any more."""
    certificate = alice.certificate
    name = certificate.components[1]
    named = subpacket(Subpacket.ISSUER, certificate.primary.key_id)
    known = certificate
    for number in range(5):
        filler = subpacket(100, number.to_bytes(4, "big") + bytes(60_000))
        form = with_unsigned(name.signatures[0], named + filler)
        offered = with_forms(certificate, name, form, with_unsigned(name.signatures[0], filler))
        assert len(offered.cleaned().components[1].signatures) == 1
        assert known.merge(offered).binary == offered.merge(known).binary == certificate.binary
        known = known.merge(offered)


def test_forms_of_one_signature_merge_to_the_same_in_every_order(signing: SecretKey) -> None:
    certificate, chance = signing.certificate, random.Random(6)
    (agreement,) = Signature(certificate.components[-1].signatures[0]).embedded
    named = subpacket(Subpacket.ISSUER, certificate.primary.key_id)
    wrong = subpacket(Subpacket.ISSUER, bytes(8))
    agreed = subpacket(Subpacket.EMBEDDED, agreement)
    false = subpacket(Subpacket.EMBEDDED, agreement[:-1] + b"\0")
    unsigned = (
        b"",
        named,
        wrong,
        named * 40,
        agreed,
        named + agreed,
        named + false,
        false + agreed,
    )

    def piece() -> Certificate:
        found = []
        for component in certificate.components:
            forms = [with_unsigned(s, u) for s in component.signatures for u in unsigned]
            count = chance.randrange(min(4, len(forms) + 1))
            found.append(component._replace(signatures=tuple(chance.sample(forms, count))))
        return Certificate(found).cleaned()

    def parts(of: Certificate) -> frozenset[Component]:
        return frozenset(c._replace(signatures=tuple(sorted(c.signatures))) for c in of.components)

    for _ in range(60):
        one, two, three = piece(), piece(), piece()
        both = one.merge(two)
        assert parts(both) == parts(two.merge(one)) == parts(both.merge(both))
        assert parts(both.merge(three)) == parts(one.merge(two.merge(three)))


def test_others_do_not_fill_a_certificate_until_a_revocation_finds_no_room(
    alice: SecretKey, bob: SecretKey
) -> None:
    name = alice.certificate.components[1]
    kind = SignatureType.CERTIFY_GENERIC
    model = sign_on(name, alice.certificate, bob, kind)
    known = alice.certificate
    for offer in range(4):  # each of them within what a mail may attach
        flood = [
            with_unsigned(model, subpacket(100, bytes(15_000)))[:-2] + bytes([offer, number])
            for number in range(MAX_OTHERS)
        ]
        known = known.merge(replaced(alice.certificate, name, with_more(name, flood)))
    assert len(known.binary) < ROOM_FOR_OTHERS * 2
    assert known.merge(revoked(alice)).revoked


def test_the_same_signature_many_times_is_read_in_linear_time(alice: SecretKey) -> None:
    """It took 3.5 s for 19,000 signatures."""
    head, name, _ = alice.certificate.components
    body = name.signatures[0]
    flood = b"".join(packet(2, body[:-6] + n.to_bytes(6, "big")) for n in range(19_000))
    data = packet(head.tag, head.body) + packet(name.tag, name.body) + flood
    begun = time.process_time()
    (certificate,) = read_certificates(data)
    assert time.process_time() - begun < 1
    assert len(certificate.components[1].signatures) == 19_000


@pytest.mark.parametrize("version", [4, 6])
def test_subkeys_of_another_version_than_the_key_are_none_of_it(version: int) -> None:
    key = generate(ALICE, now=lambda: BIRTH, version=version)
    other = make_encryption_key(BIRTH + 5, 10 - version, random.Random(1).randbytes)
    bare = Component(Tag.PUBLIC_SUBKEY, other.public.body, ())
    says = [subpacket(Subpacket.KEY_FLAGS, b"\x0c")]
    bound = sign_on(
        bare, key.certificate, key, SignatureType.SUBKEY_BINDING, at=BIRTH + 6, says=says
    )
    mixed = Certificate([*key.certificate.components[:-1], with_more(bare, [bound])])
    assert [state.key.version for state in mixed.keys] == [version]
    assert not mixed.can_encrypt(BIRTH + DAY)


# --- numbers at their ends --------------------------------------------------------------------------


def test_zeros_in_front_do_not_make_a_small_key_large() -> None:
    small = rsa_material(1024).public
    modulus = small.fields[0]
    padded = small.body.replace(
        (1024).to_bytes(2, "big") + modulus, (2048).to_bytes(2, "big") + bytes(128) + modulus
    )
    (certificate,) = read_certificates(packet(Tag.PUBLIC_KEY, padded))
    assert certificate.primary.bits == 1024
    assert certificate.primary.too_weak


def test_keys_with_the_last_date_there_is_are_refused_by_our_error() -> None:
    last = (1 << 32) - 1
    key = generate(ALICE, now=lambda: BIRTH)
    name = key.certificate.components[1]
    kind = SignatureType.CERTIFY_POSITIVE
    says = [subpacket(Subpacket.KEY_FLAGS, b"\x03")]
    late = sign_on(name, key.certificate, key, kind, at=last, says=says)
    key = changed(key, replaced(key.certificate, name, with_more(name, [late])))
    with pytest.raises(Malformed, match="2106"):
        set_expiry(key, expires=BIRTH + 1000 * DAY, now=BIRTH + DAY)
    with pytest.raises(Malformed, match="2106"):
        generate(ALICE, now=lambda: float(1 << 32))


# --- passphrases and texts that cannot be written -----------------------------------------------------


def test_a_passphrase_that_cannot_be_written_is_in_no_exception() -> None:
    message = encrypt_with_passphrase(b"x", "right")
    for work in (decrypt_with_passphrase, encrypt_with_passphrase):
        with pytest.raises(WrongPassphrase) as raised:
            work(message, "hunter2\ud800")
        assert "hunter2" not in repr(
            (raised.value, raised.value.__context__, raised.value.__cause__)
        )


@pytest.mark.parametrize(
    ("body", "shown", "address"),
    [
        (
            b"Eve\n  fingerprint <eve@evil.test>",
            "Eve\ufffd  fingerprint <eve@evil.test>",
            "eve@evil.test",
        ),
        (b"\x1b[2J\x9b Bob <bob@x.test>", "\ufffd[2J\ufffd Bob <bob@x.test>", "bob@x.test"),
        ("<a\u202e@x.test>".encode(), "<a\ufffd@x.test>", "a\ufffd@x.test"),
        (b"<bob@x.test>\n", "<bob@x.test>\ufffd", ""),
        (b"<bob@x.test>\0", "<bob@x.test>\ufffd", ""),
        ("Zo\u00eb\u00a0Z <z@x.test>".encode(), "Zo\u00eb Z <z@x.test>", "z@x.test"),
    ],
)
def test_names_are_shown_without_what_steers_a_terminal(
    alice: SecretKey, body: bytes, shown: str, address: str
) -> None:
    name = Component(Tag.USER_ID, body, ())
    kind = SignatureType.CERTIFY_POSITIVE
    says = [subpacket(Subpacket.KEY_FLAGS, b"\x03")]
    signature = sign_on(name, alice.certificate, alice, kind, says=says)
    head, _, subkey = alice.certificate.components
    key = changed(alice, Certificate([head, with_more(name, [signature]), subkey]))
    assert key.certificate.user_ids == (shown,)
    assert key.certificate.addresses == ((address,) if address else ())
    assert not revoke_user_id(key, shown, now=BIRTH + DAY).certificate.user_ids


def test_a_name_that_only_looks_like_one_that_is_vouched_for_is_not(
    alice: SecretKey, bob: SecretKey
) -> None:
    """Two names with octets which are no text look the same; one of them its owner took back."""
    kind, back = SignatureType.CERTIFY_POSITIVE, SignatureType.REVOKE_CERTIFICATION
    says = [subpacket(Subpacket.KEY_FLAGS, b"\x03")]
    names = [
        Component(Tag.USER_ID, octet + b" <alice@example.test>", ()) for octet in (b"\xff", b"\xfe")
    ]
    old, new = (
        with_more(name, [sign_on(name, alice.certificate, alice, kind, says=says)])
        for name in names
    )
    old = with_more(
        old,
        [
            sign_on(old, alice.certificate, alice, back, at=BIRTH + 9),
            sign_on(old, alice.certificate, bob, kind, at=BIRTH + 10),
        ],
    )
    head, _, subkey = alice.certificate.components
    certificate = Certificate([head, old, new, subkey])
    assert not certifiers(certificate, [bob.certificate], ALICE, BIRTH + DAY)
    assert certificate.minimal(ALICE).components[1].body == new.body
    certified = certify(bob, certificate, ALICE, now=BIRTH + DAY)
    assert certified.components[1] == old
    assert certifiers(certified, [bob.certificate], ALICE, BIRTH + 2 * DAY)


def test_a_name_that_cannot_be_written_is_no_part_of_a_key(alice: SecretKey) -> None:
    with pytest.raises(NoSuchPart):
        revoke_user_id(alice, "Alice \ud800", now=BIRTH + 1)


def test_a_key_its_owner_fills_does_not_stop_the_sync(alice: SecretKey) -> None:
    head, name, subkey = alice.certificate.components
    kind = SignatureType.CERTIFY_POSITIVE

    def filled(first: int) -> Certificate:
        says = [subpacket(Subpacket.KEY_FLAGS, b"\x03"), subpacket(100, bytes(65_000))]
        more = [
            sign_on(name, alice.certificate, alice, kind, at=BIRTH + first + n, says=says)
            for n in range(40)
        ]
        return Certificate([head, with_more(name, more), subkey])

    one, two = filled(0), filled(100)
    with pytest.raises(TooLarge):
        one.merge(two)
    local, remote = (content_of(certificate_document(c)) for c in (one, two))
    assert MERGES[CERTIFICATE](None, local, remote) == remote
    gone = one.merge(revoked(alice))
    local = content_of(certificate_document(gone))
    assert MERGES[CERTIFICATE](None, local, remote) == local
    assert MERGES[CERTIFICATE](None, remote, local) == local


@pytest.mark.parametrize("lead", ["\ufeff", "Über mich:\n", "Мой ключ\r\n\r\n", "鍵\n"])
def test_text_of_any_script_may_stand_before_a_key(alice: SecretKey, lead: str) -> None:
    """Its first octet looks like the head of a packet."""
    (read,) = read_certificates(lead.encode() + alice.certificate.armored())
    assert read == alice.certificate
    signed = packet(Tag.LITERAL, b"b\0\0\0\0\0" + alice.certificate.armored())
    assert read_signed(signed).plaintext == alice.certificate.armored()
