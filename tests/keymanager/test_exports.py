"""What leaves the ring: for mail headers, for publishing, for gpg; and gpg's own exports with all they may hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from leap.keymanager.openpgp import (
    Certificate,
    NoEncryptionKey,
    NoSuchPart,
    RevocationReason,
    SecretKey,
    add_user_id,
    armored_certificates,
    certify,
    decrypt,
    encrypt,
    extend,
    generate,
    read_certificates,
    read_secret_keys,
    recipients_of,
    revoke,
    revoke_subkey,
    revoke_user_id,
    rotate_encryption_subkey,
)
from leap.keymanager.openpgp.algorithms import ML_KEM
from leap.keymanager.openpgp.packets import Tag, read_packets
from leap.keymanager.openpgp.signature import SignatureType, Subpacket, subpacket

from .conftest import ALICE, BIRTH, BOB, DAY, Gpg
from .making import CERTIFY_AND_SIGN, sign_on, with_more

NOW = BIRTH + DAY
END = BIRTH + 900 * DAY
AL = "al@example.test"
FIVE = [Tag.PUBLIC_KEY, Tag.USER_ID, Tag.SIGNATURE, Tag.PUBLIC_SUBKEY, Tag.SIGNATURE]


@pytest.fixture(scope="module")
def busy(bob: SecretKey) -> SecretKey:
    """A key with a past: two names, an end that was moved, a rotated subkey, somebody's certification."""
    key = generate(ALICE, now=lambda: BIRTH)
    key = add_user_id(key, f"Al <{AL}>", now=BIRTH)
    key = extend(key, expires=END, now=NOW)
    key = rotate_encryption_subkey(key, now=NOW, expires=END)
    return key.edited(certify(bob, key.certificate, ALICE, now=NOW))


def tags(certificate: Certificate) -> list[int]:
    return [item.tag for item in read_packets(certificate.binary)]


@pytest.mark.parametrize("address", [ALICE, AL, AL.upper()])
def test_the_minimal_form_is_five_packets_that_suffice(busy: SecretKey, address: str) -> None:
    for at in (None, NOW + 2):
        minimal = busy.certificate.minimal(address, at)
        assert tags(minimal) == FIVE
        assert minimal.addresses == (address.lower(),)
        assert minimal.encryption_key(NOW + 2) == busy.certificate.encryption_key(NOW + 2)
        assert minimal.keys[0].flags == busy.certificate.keys[0].flags
        assert (minimal.expires, minimal.keys[1].expires) == (END, END)
        assert busy.certificate.merge(minimal) == busy.certificate
        assert len(minimal.binary) < 500
    mail = encrypt(b"x", [busy.certificate.minimal(address)], now=lambda: NOW + 2)
    assert decrypt(mail, [busy]).plaintext == b"x"


def test_the_minimal_form_of_version_6_has_its_statement_about_the_key_besides() -> None:
    key = generate(ALICE, now=lambda: BIRTH, version=6)
    minimal = extend(key, expires=END, now=NOW).certificate.minimal(ALICE)
    assert tags(minimal) == [Tag.PUBLIC_KEY, Tag.SIGNATURE, *FIVE[1:]]
    assert minimal.expires == END
    assert minimal.takes_seipd_v2


def test_a_direct_signature_goes_along_in_version_4_only_when_it_says_more(bob: SecretKey) -> None:
    head, name, subkey = bob.certificate.components
    kind, end = SignatureType.DIRECT_KEY, bob.certificate.expires

    def signed(*says: bytes) -> Certificate:
        body = sign_on(head, bob.certificate, bob, kind, at=BIRTH + 1, says=says)
        return Certificate([with_more(head, [body]), name, subkey])

    sooner = subpacket(Subpacket.KEY_EXPIRES, (5 * DAY).to_bytes(4, "big"))
    cases = ((signed(), end, 0), (signed(CERTIFY_AND_SIGN, sooner), BIRTH + 5 * DAY, 1))
    for certificate, ends, along in cases:
        assert certificate.expires == certificate.minimal(BOB).expires == ends
        assert len(certificate.minimal(BOB).components[0].signatures) == along
        edited = extend(bob.edited(certificate), expires=END, now=NOW).certificate
        assert edited.minimal(BOB).expires == edited.expires == END
        assert not edited.minimal(BOB).components[0].signatures


@pytest.mark.parametrize("version", [4, 6])
def test_the_minimal_form_prefers_the_subkey_that_old_programs_know(version: int) -> None:
    key = generate(ALICE, now=lambda: BIRTH, version=version, post_quantum=True)
    assert key.certificate.minimal(ALICE).keys[1].key.algorithm != ML_KEM
    classic = key.certificate.minimal(ALICE).fingerprints[1]
    reason = RevocationReason.SUPERSEDED
    alone = revoke_subkey(key, classic, reason=reason, now=NOW).certificate
    assert alone.minimal(ALICE).keys[1].key.algorithm == ML_KEM


def test_there_is_no_minimal_form_of_what_cannot_be_used(busy: SecretKey, bob: SecretKey) -> None:
    with pytest.raises(NoSuchPart):
        busy.certificate.minimal(BOB)
    gone = revoke(bob, reason=RevocationReason.RETIRED, now=NOW).certificate
    for at in (None, NOW + 1):
        with pytest.raises(NoEncryptionKey):
            gone.minimal(BOB, at)
    with pytest.raises(NoEncryptionKey):
        bob.certificate.minimal(BOB, bob.certificate.expires)
    bare = Certificate(bob.certificate.components[:2])
    with pytest.raises(NoEncryptionKey):
        bare.minimal(BOB)


def test_what_is_published_has_only_what_the_owner_signed(busy: SecretKey, bob: SecretKey) -> None:
    published = busy.certificate.without_others()
    assert busy.certificate.merge(published) == busy.certificate
    lost = {
        (c.body, s)
        for c in busy.certificate.components
        for s in c.signatures
        if s not in {t for p in published.components for t in p.signatures}
    }
    assert len(lost) == 1  # bob's
    assert published.addresses == busy.certificate.addresses
    assert [c.body for c in published.components] == [c.body for c in busy.certificate.components]


@pytest.mark.parametrize("version", [4, 6])
def test_a_key_of_many_years_is_published_as_what_it_says_now(version: int) -> None:
    key = generate(ALICE, now=lambda: BIRTH, version=version, more_user_ids=[f"Al <{AL}>"])
    key = revoke_user_id(key, f"Al <{AL}>", now=NOW)
    key = add_user_id(key, "Alice", now=NOW)
    for year in range(1, 30):
        at = BIRTH + year * 365 * DAY
        key = extend(key, expires=at + 730 * DAY, now=at)
        if year % 10 == 0:
            key = rotate_encryption_subkey(key, now=at, expires=at + 730 * DAY, old_expires=at)
    whole, now = key.certificate, BIRTH + 30 * 365 * DAY
    short = whole.current()
    assert len(short.binary) < len(whole.binary) / 5
    assert max(len(c.signatures) for c in short.components) <= 2  # a revocation besides
    assert short.keys == whole.keys
    assert short.user_ids == whole.user_ids
    assert short.cleaned() == short
    assert whole.merge(short) == whole
    assert short.encryption_key(now) == whole.encryption_key(now)
    gone = revoke(key, reason=RevocationReason.COMPROMISED, now=now).certificate
    assert gone.current().revoked


def test_a_statement_with_an_end_is_published_with_the_one_that_counts_after_it(
    bob: SecretKey,
) -> None:
    head, name, subkey = bob.certificate.components
    for_a_day = subpacket(Subpacket.EXPIRES, DAY.to_bytes(4, "big"))
    kind = SignatureType.CERTIFY_POSITIVE
    body = sign_on(name, bob.certificate, bob, kind, says=[CERTIFY_AND_SIGN, for_a_day])
    both = Certificate([head, with_more(name, [body]), subkey])
    assert both.current() == both


def test_many_certificates_go_in_one_armored_block(alice: SecretKey, bob: SecretKey) -> None:
    newer = generate("six@example.test", version=6)
    for ring in ([alice.certificate, bob.certificate], [alice.certificate, newer.certificate]):
        text = armored_certificates(ring)
        assert text.count(b"BEGIN") == 1
        assert read_certificates(text) == ring


# --- gpg -------------------------------------------------------------------------------------------


def test_gpg_encrypts_to_the_minimal_form(gpg: Gpg) -> None:
    key = generate("header@ours.test", name="Header", more_user_ids=["second@ours.test"])
    minimal = key.certificate.minimal("second@ours.test")
    gpg("--import", data=minimal.armored())
    mail = gpg("--encrypt", "-r", "second@ours.test", data=b"x")
    assert decrypt(mail, [key]).plaintext == b"x"
    assert gpg.run("--encrypt", "-r", "header@ours.test", data=b"x", ok=False).returncode != 0
    gpg(
        "--import",
        data=armored_certificates([key.certificate, generate("third@ours.test").certificate]),
    )
    for name in ("header@ours.test", "third@ours.test"):
        assert gpg("--encrypt", "-r", name, data=b"x")


def test_gpgs_keyring_with_a_photo_and_many_keys_is_read_and_kept(gpg: Gpg, tmp_path: Path) -> None:
    for name in ("one@gpg.test", "photo@gpg.test"):
        gpg.make_key(name, "future-default", "default", "1y")
    picture = tmp_path / "face.jpg"
    picture.write_bytes(b"\xff\xd8\xff\xe0\0\x10JFIF" + bytes(200) + b"\xff\xd9")
    photo = ("--edit-key", "photo@gpg.test", "addphoto", "save")
    gpg("--command-fd", "0", "--passphrase", "", *photo, data=f"{picture}\ny\n".encode())
    ring = {c.addresses: c for c in read_certificates(gpg("--export"))}
    face = ring["photo@gpg.test",]
    [attribute] = [c for c in face.components if c.tag == Tag.USER_ATTRIBUTE]
    assert picture.read_bytes() in attribute.body
    assert face.cleaned() == face
    assert face.without_others() == face
    assert tags(face.minimal("photo@gpg.test")) == FIVE

    secrets = {k.fingerprint: k for k in read_secret_keys(gpg("--export-secret-keys"))}
    key = secrets[face.fingerprint]
    extended = extend(key, expires=face.created + 900 * DAY, now=face.created + 1)
    gpg("--import", data=extended.certificate.armored())
    signatures = gpg("--with-colons", "--check-sigs", "photo@gpg.test").decode().splitlines()
    marks = [line.split(":")[1] for line in signatures if line.startswith("sig")]
    assert marks == ["!"] * 5  # two each of name and picture; the subkey has no end
    assert Certificate.from_bytes(gpg("--export", "photo@gpg.test")) == extended.certificate
    mail = gpg("--encrypt", "-r", "photo@gpg.test", data=b"x")
    assert recipients_of(mail) == (extended.certificate.key_ids[1],)
    backup = gpg("--export-options", "backup", "--export", "photo@gpg.test")
    assert (
        Certificate.from_bytes(backup) == extended.certificate
    )  # gpg's trust packets are passed over
