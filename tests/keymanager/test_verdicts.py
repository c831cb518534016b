"""What is said of a signature: by when it was made, when it is judged, and what its key's certificate says."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey

from leap.keymanager.openpgp import (
    Certificate,
    Decrypted,
    Malformed,
    RawSignature,
    SecretKey,
    Unsupported,
    Verdict,
    decrypt,
    encrypt,
    generate,
    micalg,
    read_signatures,
    read_signed,
    sign_detached,
    verify_detached,
    verify_signatures,
)
from leap.keymanager.openpgp.component import Component
from leap.keymanager.openpgp.contents import literal
from leap.keymanager.openpgp.key_state import CERTIFY, ENCRYPT, SIGN
from leap.keymanager.openpgp.packets import Tag, packet
from leap.keymanager.openpgp.public_key import PublicKey
from leap.keymanager.openpgp.secret_material import SecretMaterial
from leap.keymanager.openpgp.seipd import seal_v1
from leap.keymanager.openpgp.self_signatures import pieces_of
from leap.keymanager.openpgp.session_key import SessionKey, wrap
from leap.keymanager.openpgp.signature import (
    SignatureType,
    Subpacket,
    make_signature,
    subpacket,
)

from .conftest import BIRTH, DAY
from .making import rsa_material

TEXT = b"Dear Bob,\r\nhow are you?\r\n"
SUPERSEDED, COMPROMISED, RETIRED, NO_REASON = 1, 2, 3, 0


@dataclass
class Maker:
    """A certificate in the making, with a primary key and a signing subkey."""

    primary: SecretMaterial
    subkey: SecretMaterial
    lifetime: int | None = None
    subkey_lifetime: int | None = None
    back_signed: bool = True
    subkey_flags: int = SIGN
    revoked: tuple[int, int] | None = None
    subkey_revoked: tuple[int, int] | None = None

    def certificate(self) -> Certificate:
        public, sub = self.primary.public, self.subkey.public
        name = Component(Tag.USER_ID, b"alice@example.test", ())
        flags = [subpacket(Subpacket.KEY_FLAGS, bytes([CERTIFY | SIGN])), *_ends(self.lifetime)]
        name = self._with(name, SignatureType.CERTIFY_POSITIVE, BIRTH, flags)
        says = [subpacket(Subpacket.KEY_FLAGS, bytes([self.subkey_flags]))]
        says += _ends(self.subkey_lifetime)
        if self.back_signed:
            pieces = (public.hashed, sub.hashed)
            kind = SignatureType.PRIMARY_BINDING
            back = make_signature(self.subkey, kind, pieces, created=BIRTH)
            says.append(subpacket(Subpacket.EMBEDDED, back))
        bound = Component(Tag.PUBLIC_SUBKEY, sub.body, ())
        bound = self._with(bound, SignatureType.SUBKEY_BINDING, BIRTH, says)
        if self.subkey_revoked:
            bound = self._revoke(bound, SignatureType.REVOKE_SUBKEY, self.subkey_revoked)
        head = Component(Tag.PUBLIC_KEY, public.body, ())
        if self.revoked:
            head = self._revoke(head, SignatureType.REVOKE_KEY, self.revoked)
        return Certificate([head, name, bound])

    def _revoke(self, component: Component, kind: int, how: tuple[int, int]) -> Component:
        reason, at = how
        says = [subpacket(Subpacket.REVOCATION_REASON, bytes([reason]))]
        return self._with(component, kind, at, says)

    def _with(self, to: Component, kind: int, at: int, says: Sequence[bytes]) -> Component:
        pieces = pieces_of(self.primary.public, to)
        body = make_signature(self.primary, kind, pieces, created=at, statements=says)
        return to._replace(signatures=(*to.signatures, body))


def _ends(lifetime: int | None) -> list[bytes]:
    span = [lifetime.to_bytes(4, "big")] if lifetime else []
    return [subpacket(Subpacket.KEY_EXPIRES, octets) for octets in span]


@pytest.fixture(scope="module")
def materials() -> tuple[SecretMaterial, SecretMaterial]:
    one, two = (generate("x@example.test", now=lambda: BIRTH) for _ in range(2))
    return one.primary_secret(), two.primary_secret()


@pytest.fixture
def maker(materials: tuple[SecretMaterial, SecretMaterial]) -> Maker:
    return Maker(*materials)


def signed(
    by: SecretMaterial,
    at: int,
    *,
    says: Sequence[bytes] = (),
    hash_number: int = 10,
    kind: int = SignatureType.BINARY,
) -> RawSignature:
    body = make_signature(by, kind, (TEXT,), created=at, statements=says, hash_number=hash_number)
    return RawSignature(body)


def judged(signature: RawSignature, certificate: Certificate, now: int) -> Verdict:
    [verdict] = verify_signatures(TEXT, [signature], [certificate], now=lambda: now)
    assert bool(verdict.reason) == (verdict.state != "good")
    return verdict


# --- time ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", ["primary", "subkey"])
@pytest.mark.parametrize(
    ("made", "now", "state"),
    [
        (BIRTH, BIRTH, "good"),
        (BIRTH + DAY, BIRTH + 2 * DAY, "good"),
        # a true signature stays true: the key was alive when it was made
        (BIRTH + 9 * DAY, BIRTH + 11 * DAY, "good"),
        (BIRTH + 9 * DAY, BIRTH + 10_000 * DAY, "good"),
        (BIRTH + 10 * DAY - 1, BIRTH + 20 * DAY, "good"),
        (BIRTH + 10 * DAY, BIRTH + 20 * DAY, "expired"),
        (BIRTH + 12 * DAY, BIRTH + 20 * DAY, "expired"),
        (BIRTH - 1, BIRTH + DAY, "bad"),
        (BIRTH + 9 * DAY, BIRTH + 7 * DAY, "bad"),
        (BIRTH + 9 * DAY, BIRTH + 8 * DAY + 1, "good"),  # a clock that is ahead
    ],
)
def test_a_key_that_ends_after_ten_days(
    maker: Maker, of: str, made: int, now: int, state: str
) -> None:
    if of == "primary":
        maker.lifetime = 10 * DAY
    else:
        maker.subkey_lifetime = 10 * DAY
    verdict = judged(signed(maker.subkey, made), maker.certificate(), now)
    assert verdict.state == state, verdict.reason
    assert (verdict.created, verdict.hash_name) == (made, "sha512")
    assert verdict.fingerprint == maker.primary.public.fingerprint.hex().upper()
    if of == "subkey" and state == "expired":
        assert judged(signed(maker.primary, made), maker.certificate(), now).state == "good"


@pytest.mark.parametrize("of", ["primary", "subkey"])
@pytest.mark.parametrize(
    ("reason", "made", "state"),
    [
        (SUPERSEDED, BIRTH + 4 * DAY, "good"),
        (RETIRED, BIRTH + 4 * DAY, "good"),
        (SUPERSEDED, BIRTH + 5 * DAY, "revoked"),
        (RETIRED, BIRTH + 6 * DAY, "revoked"),
        # whoever has the key can write any date
        (COMPROMISED, BIRTH + 4 * DAY, "revoked"),
        (COMPROMISED, BIRTH + 6 * DAY, "revoked"),
        (NO_REASON, BIRTH + 4 * DAY, "revoked"),
        (99, BIRTH + 4 * DAY, "revoked"),
    ],
)
def test_a_key_that_is_revoked_after_five_days(
    maker: Maker, of: str, reason: int, made: int, state: str
) -> None:
    how = (reason, BIRTH + 5 * DAY)
    if of == "primary":
        maker.revoked = how
    else:
        maker.subkey_revoked = how
    certificate = maker.certificate()
    verdict = judged(signed(maker.subkey, made), certificate, BIRTH + 9 * DAY)
    assert verdict.state == state, verdict.reason
    if of == "subkey":  # its owner is not
        assert judged(signed(maker.primary, made), certificate, BIRTH + 9 * DAY).state == "good"


@pytest.mark.parametrize(
    ("span", "now", "state"),
    [
        (DAY, DAY, "good"),
        (DAY, 2 * DAY, "expired"),
        (DAY, 9 * DAY, "expired"),
        (0, 9 * DAY, "good"),
    ],
)
def test_a_signature_with_an_end_of_its_own(maker: Maker, span: int, now: int, state: str) -> None:
    says = [subpacket(Subpacket.EXPIRES, span.to_bytes(4, "big"))]
    signature = signed(maker.subkey, BIRTH + DAY, says=says)
    assert judged(signature, maker.certificate(), BIRTH + now).state == state


# --- what it says, and what its key may do ---------------------------------------------------------


def _notation(critical: bool) -> bytes:
    name, value = b"x@example.test", b"y"
    lengths = len(name).to_bytes(2, "big") + len(value).to_bytes(2, "big")
    data = b"\x80\0\0\0" + lengths + name + value
    return subpacket(Subpacket.NOTATION, data, critical=critical)


@pytest.mark.parametrize(
    ("statement", "state"),
    [
        (_notation(critical=False), "good"),
        (_notation(critical=True), "bad"),
        (subpacket(100, b"x"), "good"),
        (subpacket(100, b"x", critical=True), "bad"),
        (subpacket(Subpacket.POLICY, b"x", critical=True), "good"),
    ],
)
def test_demands_that_are_not_understood(maker: Maker, statement: bytes, state: str) -> None:
    signature = signed(maker.subkey, BIRTH + 1, says=[statement])
    assert judged(signature, maker.certificate(), BIRTH + DAY).state == state


def test_subkeys_that_may_not_sign_or_never_agreed_to(maker: Maker) -> None:
    signature = signed(maker.subkey, BIRTH + 1)
    assert judged(signature, maker.certificate(), BIRTH + DAY).state == "good"
    maker.back_signed = False
    assert judged(signature, maker.certificate(), BIRTH + DAY).state == "bad"
    maker.subkey_flags, maker.back_signed = ENCRYPT, True
    assert judged(signature, maker.certificate(), BIRTH + DAY).state == "bad"


# --- strength ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hash_number", "name", "state"),
    [
        (1, "md5", "weak"),
        (2, "sha1", "weak"),
        (8, "sha256", "good"),
        (9, "sha384", "good"),
        (10, "sha512", "good"),
        (11, "sha224", "weak"),  # too short for Ed25519, RFC 9580 5.2.3.4
        (12, "sha3_256", "good"),
        (14, "sha3_512", "good"),
    ],
)
def test_hashes(maker: Maker, hash_number: int, name: str, state: str) -> None:
    signature = signed(maker.subkey, BIRTH + 1, hash_number=hash_number)
    verdict = judged(signature, maker.certificate(), BIRTH + DAY)
    assert (verdict.state, verdict.hash_name) == (state, name)


@pytest.mark.parametrize(("bits", "state"), [(1024, "weak"), (2048, "good")])
def test_small_keys_are_weak(maker: Maker, bits: int, state: str) -> None:
    maker.primary = rsa_material(bits)
    certificate = maker.certificate()
    for by in (maker.primary, maker.subkey):  # what hangs on a weak key is weak, too
        assert judged(signed(by, BIRTH + 1), certificate, BIRTH + DAY).state == state


def version_3(by: SecretMaterial, hash_number: int) -> RawSignature:
    """As PGP wrote them until 2000 (RFC 9580 5.2.2)."""
    from leap.keymanager.openpgp import algorithms

    head = bytes([SignatureType.BINARY]) + (BIRTH + 1).to_bytes(4, "big")
    digest = algorithms.new_hash(hash_number)
    digest.update(TEXT + head)
    value = by.sign(hash_number, digest.digest())
    tail = bytes([by.public.algorithm, hash_number]) + digest.digest()[:2] + value
    return RawSignature(b"\x03\x05" + head + by.public.key_id + tail)


def test_signatures_of_version_3_are_read_and_called_weak(maker: Maker) -> None:
    maker.primary = rsa_material(2048)
    certificate = maker.certificate()
    for hash_number, name in ((1, "md5"), (2, "sha1"), (8, "sha256")):
        signature = version_3(maker.primary, hash_number)
        verdict = judged(signature, certificate, BIRTH + DAY)
        assert (verdict.state, verdict.hash_name) == ("weak", name)
        [changed] = verify_signatures(TEXT + b"!", [signature], [certificate])
        assert changed.state == "bad"


def test_kinds_of_the_future_are_unknown_and_not_bad(maker: Maker) -> None:
    body = bytearray(signed(maker.subkey, BIRTH + 1).body)
    certificate = maker.certificate()
    body[0] = 5
    assert judged(RawSignature(bytes(body)), certificate, BIRTH + DAY).state == "unknown-key"
    body[0], body[3] = 4, 99
    assert judged(RawSignature(bytes(body)), certificate, BIRTH + DAY).state == "unknown-key"
    body[0] = 2
    assert judged(RawSignature(b"\x04"), certificate, BIRTH + DAY).state == "bad"


# --- choice of hash and form ---------------------------------------------------------------------


def test_detached_signatures_by_either_hash_over_octets_or_text(alice: SecretKey) -> None:
    now: Callable[[], float] = lambda: BIRTH + 9.0  # noqa: E731
    for name in ("sha256", "sha512"):
        for text in (False, True):
            made = sign_detached(TEXT, alice, hash_name=name, text=text, now=now)  # type: ignore[arg-type]
            for data, fits in ((TEXT, True), (TEXT.replace(b"\r\n", b"\n"), text)):
                [verdict] = verify_detached(data, made, [alice.certificate], now=now)
                assert (verdict.state == "good", verdict.hash_name) == (fits, name)
    assert (micalg("sha256"), micalg("sha512")) == ("pgp-sha256", "pgp-sha512")


def test_ed448_takes_no_short_hash() -> None:
    """RFC 9580 5.2.3.5: writers must not, readers must reject."""
    private = Ed448PrivateKey.generate()
    fields = private.public_key().public_bytes_raw()
    body = b"\x06" + BIRTH.to_bytes(4, "big") + b"\x1c" + len(fields).to_bytes(4, "big") + fields
    secret = SecretMaterial(PublicKey(body), private.private_bytes_raw())
    head = Component(Tag.PUBLIC_KEY, body, ())
    says = [subpacket(Subpacket.KEY_FLAGS, bytes([CERTIFY | SIGN]))]
    pieces = pieces_of(secret.public, head)
    direct = make_signature(
        secret, SignatureType.DIRECT_KEY, pieces, created=BIRTH, statements=says
    )
    key = SecretKey(
        Certificate([head._replace(signatures=(direct,))]), {secret.public.fingerprint: secret}
    )
    made = sign_detached(TEXT, key, now=lambda: BIRTH + 1)
    [verdict] = verify_detached(TEXT, made, [key.certificate])
    assert verdict.state == "good"
    with pytest.raises(Unsupported):
        sign_detached(TEXT, key, hash_name="sha256", now=lambda: BIRTH + 1)
    short = signed(secret, BIRTH + 1, hash_number=8)
    assert judged(short, key.certificate, BIRTH + DAY).state == "weak"


# --- forms of signed messages --------------------------------------------------------------------


def one_pass(by: SecretMaterial, *, last: bool) -> bytes:
    head = bytes([SignatureType.BINARY, 10, by.public.algorithm])
    return packet(Tag.ONE_PASS, b"\x03" + head + by.public.key_id + bytes([last]))


def test_each_form_of_signed_message_gives_all_its_signatures(
    alice: SecretKey, bob: SecretKey, eve: SecretKey
) -> None:
    """RFC 9580 10.3: one-pass in order and nested, signatures in front as PGP wrote them, packed inside or outside."""
    signers = [key.primary_secret() for key in (alice, bob, eve)]
    a, b, _ = signers
    in_front = [packet(Tag.SIGNATURE, signed(by, BIRTH + 1).body) for by in signers]
    sig_a, sig_b, sig_e = in_front
    content = literal(TEXT)

    def packed(packets: bytes) -> bytes:
        return packet(Tag.COMPRESSED, b"\x02" + zlib.compress(packets))

    once = one_pass(a, last=True) + content + sig_a
    forms = {
        once: 1,
        sig_a + content: 1,
        packed(once): 1,
        packed(sig_a + content): 1,
        one_pass(a, last=True) + packed(content) + sig_a: 1,
        sig_a + packed(content): 1,
        sig_a + sig_b + sig_e + content: 3,
        one_pass(a, last=False) + one_pass(b, last=True) + content + sig_b + sig_a: 2,
        one_pass(a, last=True) + one_pass(b, last=True) + content + sig_b + sig_a: 2,
        sig_e
        + one_pass(a, last=True)
        + packed(one_pass(b, last=True) + content + sig_b)
        + sig_a: 3,
        one_pass(a, last=True) + content: 0,
        content: 0,
    }
    certificates = [key.certificate for key in (alice, bob, eve)]
    session = SessionKey(9, bytes(32))
    for packets, count in forms.items():
        sealed = wrap(session, bob.decryption_keys()[0].public) + seal_v1(packets, session)
        for opened in (read_signed(packets), decrypt(sealed, [bob])):
            assert opened.plaintext == TEXT
            verdicts = verify_signatures(
                TEXT, opened.signatures, certificates, now=lambda: BIRTH + 9
            )
            assert [verdict.state for verdict in verdicts] == ["good"] * count
            assert len({verdict.fingerprint for verdict in verdicts}) == count
    with pytest.raises(Malformed):
        read_signed(content + content)
    with pytest.raises(Unsupported):
        read_signed(encrypt(TEXT, [bob.certificate], now=lambda: BIRTH + 1))


def test_each_of_several_signatures_has_a_verdict_of_its_own(
    maker: Maker, alice: SecretKey, eve: SecretKey
) -> None:
    maker.revoked = (COMPROMISED, BIRTH + DAY)
    certificates = [maker.certificate(), alice.certificate]
    bodies = [
        signed(alice.primary_secret(), BIRTH + 1),
        signed(eve.primary_secret(), BIRTH + 1),
        signed(maker.subkey, BIRTH + 1),
        signed(alice.primary_secret(), BIRTH + 1, hash_number=2),
        RawSignature(b"\x04\x00"),
    ]
    together = b"".join(packet(Tag.SIGNATURE, raw.body) for raw in bodies)
    assert len(read_signatures(together)) == 5
    for address, first in (
        (None, "good"),
        ("alice@example.test", "good"),
        ("x@y.test", "not-from"),
    ):
        verdicts = verify_detached(
            TEXT,
            together,
            certificates,
            now=lambda: BIRTH + 9 * DAY,
            from_address=address,
            owners={"alice@example.test": [alice.fingerprint]},
        )
        assert [v.state for v in verdicts] == [first, "unknown-key", "revoked", "weak", "bad"]
        assert verdicts[1].fingerprint == eve.fingerprint


# --- session keys --------------------------------------------------------------------------------


class Untouched(SecretKey):
    """A secret key that fails the test when anybody uses it."""

    def decryption_keys(self) -> list[SecretMaterial]:
        pytest.fail("a private key was used")

    signing_key = primary_secret = decryption_keys  # type: ignore[assignment]


@pytest.mark.parametrize("version", [4, 6])
def test_opening_and_verifying_again_uses_no_private_key(alice: SecretKey, version: int) -> None:
    def at() -> float:
        return BIRTH + 9

    key = generate("x@example.test", now=lambda: BIRTH, version=version)
    message = encrypt(TEXT, [key.certificate], alice, now=at)
    first: Decrypted = decrypt(message, [key])
    watched = Untouched(key.certificate, key._secrets)
    with pytest.raises(BaseException, match="a private key was used"):
        decrypt(message, [watched])
    again = decrypt(message, [watched], session_key=first.session_key)
    assert (again.plaintext, again.session_key) == (TEXT, first.session_key)
    [verdict] = verify_signatures(TEXT, again.signatures, [alice.certificate], now=at)
    assert verdict.state == "good"
