"""Encrypting, decrypting, and one verdict per signature, among keys of our own making."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from leap.keymanager.openpgp import (
    Certificate,
    ExpiredCertificate,
    IntegrityError,
    NoEncryptionKey,
    NoSecretKey,
    NotEncrypted,
    RawSignature,
    SecretKey,
    TooLarge,
    decrypt,
    encrypt,
    generate,
    recipients_of,
    sign_detached,
    verify_detached,
    verify_signatures,
)
from leap.keymanager.openpgp.component import Component
from leap.keymanager.openpgp.contents import literal
from leap.keymanager.openpgp.key_state import CERTIFY, ENCRYPT, SIGN
from leap.keymanager.openpgp.message import MAX_RECIPIENTS
from leap.keymanager.openpgp.packets import Tag
from leap.keymanager.openpgp.signature import (
    Signature,
    SignatureType,
    Subpacket,
    make_signature,
    subpacket,
)
from leap.keymanager.openpgp.verdict import MAX_CANDIDATES

from .conftest import BIRTH
from .making import replaced, sign_on, with_more, with_user_id

Clock = Callable[[], float]
TEXT = b"Dear Bob,\r\nhow are you?\r\n"
YEAR = 365 * 24 * 3600


def test_mail_to_bob_is_read_by_bob_alone(
    alice: SecretKey, bob: SecretKey, eve: SecretKey, now: Clock
) -> None:
    message = encrypt(TEXT, [bob.certificate], alice, now=now)
    assert message.startswith(b"-----BEGIN PGP MESSAGE-----\n")
    opened = decrypt(message, [eve, bob])
    assert opened.plaintext == TEXT
    [verdict] = verify_signatures(TEXT, opened.signatures, [alice.certificate], now=now)
    assert (verdict.state, verdict.fingerprint) == ("good", alice.fingerprint)
    assert verdict.signer == "Alice <alice@example.test>"
    assert (verdict.created, verdict.hash_name) == (int(now()), "sha256")
    with pytest.raises(NoSecretKey):
        decrypt(message, [eve])
    with pytest.raises(NoSecretKey):
        decrypt(message, [])


@pytest.mark.parametrize("size", [0, 1, 191, 8_384, 65_536, 65_537, 300_000])
@pytest.mark.parametrize(
    ("version", "post_quantum"), [(4, False), (6, False), (6, True), (4, True)]
)
def test_every_kind_of_key_and_size_comes_back(
    alice: SecretKey, now: Clock, size: int, version: int, post_quantum: bool
) -> None:
    key = generate("x@example.test", now=lambda: BIRTH, version=version, post_quantum=post_quantum)
    data = bytes(index % 251 for index in range(size))
    for armored in (True, False):
        message = encrypt(data, [key.certificate], key, armor=armored, now=now)
        opened = decrypt(message, [alice, SecretKey.from_bytes(key.to_bytes())])
        assert opened.plaintext == data
        [verdict] = verify_signatures(
            data,
            opened.signatures,
            [key.certificate],
            now=now,
            from_address="X@example.test",
            owners={"x@example.test": [key.fingerprint]},
        )
        assert verdict.state == "good", verdict.reason


def test_version_2_containers_only_when_all_can_read_them(bob: SecretKey, now: Clock) -> None:
    modern = generate("x@example.test", now=lambda: BIRTH, version=6)
    alone = encrypt(b"x", [modern.certificate], armor=False, now=now)
    mixed = encrypt(b"x", [modern.certificate, bob.certificate], armor=False, now=now)
    assert alone[0] == 0xC1
    assert alone[2] == 6
    assert mixed[2] == 3
    assert decrypt(mixed, [modern]).plaintext == decrypt(mixed, [bob]).plaintext == b"x"


def test_several_recipients_and_hidden_ones(
    alice: SecretKey, bob: SecretKey, eve: SecretKey, now: Clock
) -> None:
    message = encrypt(TEXT, [alice.certificate], alice, hidden=[bob.certificate], now=now)
    subkey = alice.certificate.keys[1].key.key_id.hex().upper()
    assert recipients_of(message) == (subkey, "")
    assert decrypt(message, [bob]).recipients == (subkey, "")
    assert decrypt(message, [bob]).plaintext == decrypt(message, [alice]).plaintext == TEXT
    with pytest.raises(NoSecretKey):
        decrypt(message, [eve])
    # whom it was hidden from must not find the name in the signature either
    [signature] = decrypt(message, [bob]).signatures
    assert signature.parsed is not None
    assert signature.parsed.intended_recipients == []


def test_an_unusable_recipient_stops_the_whole_message(alice: SecretKey, now: Clock) -> None:
    old = generate("old@example.test", now=lambda: BIRTH, lifetime=10)
    with pytest.raises(ExpiredCertificate):
        encrypt(TEXT, [alice.certificate, old.certificate], alice, now=now)
    with pytest.raises(NoEncryptionKey):
        encrypt(TEXT, [], alice, now=now)


def test_expired_keys_still_open_old_mail_and_sign_nothing_new(alice: SecretKey) -> None:
    message = encrypt(TEXT, [alice.certificate], alice, now=lambda: BIRTH + 1)
    assert decrypt(message, [alice]).plaintext == TEXT  # decryption has no clock at all
    with pytest.raises(ExpiredCertificate):
        sign_detached(TEXT, alice, now=lambda: BIRTH + 3 * YEAR)
    assert alice.certificate.can_encrypt(BIRTH + 1)
    assert not alice.certificate.can_encrypt(BIRTH + 3 * YEAR)


def test_the_end_is_written_on_primary_and_subkeys(alice: SecretKey) -> None:
    certificate = alice.certificate
    assert certificate.expires == BIRTH + 2 * YEAR
    assert [state.expires for state in certificate.keys] == [BIRTH + 2 * YEAR] * 2
    assert [state.flags & (SIGN | ENCRYPT) for state in certificate.keys] == [SIGN, ENCRYPT]
    modern = generate("x@example.test", now=lambda: BIRTH, version=6, lifetime=100).certificate
    assert [state.expires for state in modern.keys] == [BIRTH + 100] * 2


def test_unsigned_unknown_and_bad_are_told_apart(
    alice: SecretKey, bob: SecretKey, eve: SecretKey, now: Clock
) -> None:
    unsigned = decrypt(encrypt(TEXT, [bob.certificate], now=now), [bob])
    assert unsigned.signatures == ()
    signed = decrypt(encrypt(TEXT, [bob.certificate], alice, now=now), [bob])
    assert signed.signatures[0].issuers == (
        alice.fingerprint,
        alice.fingerprint[-16:],
    )
    [unknown] = verify_signatures(TEXT, signed.signatures, [eve.certificate], now=now)
    assert (unknown.state, unknown.fingerprint) == ("unknown-key", alice.fingerprint)
    [bad] = verify_signatures(TEXT + b"!", signed.signatures, [alice.certificate], now=now)
    assert (bad.state, bad.fingerprint) == ("bad", alice.fingerprint)
    [good] = verify_signatures(TEXT, signed.signatures, [alice.certificate], now=now)
    assert good.state == "good"


def test_a_good_signature_of_somebody_else_is_not_from(
    alice: SecretKey, eve: SecretKey, now: Clock
) -> None:
    signature = sign_detached(TEXT, eve, now=now)
    certificates = [alice.certificate, eve.certificate]
    [verdict] = verify_detached(
        TEXT, signature, certificates, now=now, from_address="alice@example.test"
    )
    assert (verdict.state, verdict.fingerprint) == ("not-from", eve.fingerprint)


def test_one_verdict_per_signature(alice: SecretKey, eve: SecretKey, now: Clock) -> None:
    both = sign_detached(TEXT, alice, now=now) + sign_detached(TEXT + b"x", eve, now=now)
    certificates = [alice.certificate, eve.certificate]
    verdicts = verify_detached(TEXT, both, certificates, now=now)
    assert [verdict.state for verdict in verdicts] == ["good", "bad"]


def _signature(
    signer: SecretKey, *, at: int, kind: int = SignatureType.BINARY, hash_number: int = 10
) -> RawSignature:
    secret = signer.primary_secret()
    return RawSignature(make_signature(secret, kind, (TEXT,), created=at, hash_number=hash_number))


@pytest.mark.parametrize(
    ("at", "hash_number", "state"),
    [
        (BIRTH + 5, 10, "good"),
        (BIRTH + 5, 8, "good"),
        (BIRTH + 5, 2, "weak"),
        (BIRTH + 5, 1, "weak"),
        (BIRTH - 5, 10, "bad"),
        (BIRTH + 3 * YEAR, 10, "expired"),
    ],
)
def test_when_and_how_a_signature_was_made(
    alice: SecretKey, at: int, hash_number: int, state: str
) -> None:
    signature = _signature(alice, at=at, hash_number=hash_number)
    [verdict] = verify_signatures(
        TEXT, [signature], [alice.certificate], now=lambda: BIRTH + 4 * YEAR
    )
    assert verdict.state == state
    assert bool(verdict.reason) == (state != "good")


def test_a_signature_from_the_future_is_bad_but_a_fast_clock_is_forgiven(alice: SecretKey) -> None:
    signature = _signature(alice, at=BIRTH + 100_000)

    def state(at: float) -> str:
        [verdict] = verify_signatures(TEXT, [signature], [alice.certificate], now=lambda: at)
        return verdict.state

    assert state(BIRTH + 90_000) == "good"
    assert state(BIRTH + 10) == "bad"


def test_a_signature_on_a_key_is_none_on_a_message(alice: SecretKey, now: Clock) -> None:
    [_, user_id, _] = alice.certificate.components
    certification = RawSignature(user_id.signatures[0])
    [verdict] = verify_signatures(TEXT, [certification], [alice.certificate], now=now)
    assert verdict.state == "bad"


def test_an_encryption_subkey_cannot_sign(alice: SecretKey, bob: SecretKey, now: Clock) -> None:
    """A certificate that calls a foreign signing key its encryption subkey gets nothing by it."""
    signature = sign_detached(TEXT, bob, now=now)
    stolen = bob.certificate.primary
    binding = make_signature(
        alice.primary_secret(),
        SignatureType.SUBKEY_BINDING,
        (alice.certificate.primary.hashed, stolen.hashed),
        created=BIRTH,
        statements=[bytes([2, 27, SIGN])],
    )
    from leap.keymanager.openpgp.component import Component

    claimed = Certificate([*alice.certificate.components, Component(14, stolen.body, (binding,))])
    assert len(claimed.keys) == 3
    [verdict] = verify_detached(TEXT, signature, [claimed], now=now)
    assert verdict.state == "bad"  # no back signature: bob never agreed to be alice's subkey


def carrying(owner: SecretKey, stolen: Certificate, flags: int) -> Certificate:
    """A certificate that has somebody else's key as its subkey; no signature of that key agrees."""
    component = Component(Tag.PUBLIC_SUBKEY, stolen.primary.body, ())
    says = [subpacket(Subpacket.KEY_FLAGS, bytes([flags]))]
    kind = SignatureType.SUBKEY_BINDING
    body = sign_on(component, owner.certificate, owner, kind, says=says)
    return Certificate([*owner.certificate.components, with_more(component, [body])])


@pytest.mark.parametrize("flags", [SIGN, ENCRYPT])
@pytest.mark.parametrize("first", [True, False])
def test_whoever_carries_anothers_key_does_not_spoil_its_signatures(
    bob: SecretKey, eve: SecretKey, now: Clock, flags: int, first: bool
) -> None:
    signature = sign_detached(TEXT, bob, now=now)
    thief = carrying(eve, bob.certificate, flags)
    known = [thief, bob.certificate] if first else [bob.certificate, thief]
    owners = {"bob@example.test": [bob.fingerprint]}
    for address in (None, "bob@example.test"):
        [verdict] = verify_detached(
            TEXT, signature, known, now=now, from_address=address, owners=owners
        )
        assert (verdict.state, verdict.fingerprint) == ("good", bob.fingerprint)
    [verdict] = verify_detached(
        TEXT, signature, known, now=now, from_address="eve@evil.test", owners={}
    )
    assert (verdict.state, verdict.fingerprint) == ("not-from", bob.fingerprint)


def test_a_crowd_that_carries_anothers_key_does_not_spoil_its_signatures(
    bob: SecretKey, now: Clock
) -> None:
    """As many as are tried for one signature, and one more."""
    signature = sign_detached(TEXT, bob, now=now)
    crowd = [generate(f"c{n}@evil.test", now=lambda: BIRTH) for n in range(MAX_CANDIDATES + 1)]
    known = [*(carrying(one, bob.certificate, ENCRYPT) for one in crowd), bob.certificate]
    [verdict] = verify_detached(TEXT, signature, known, now=now)
    assert (verdict.state, verdict.fingerprint) == ("good", bob.fingerprint)


def test_of_several_true_candidates_the_best_counts(bob: SecretKey, now: Clock) -> None:
    """Two copies of a key, one of them out of date: the live one decides, in either order."""
    component = bob.certificate.components[1]
    says = [
        subpacket(Subpacket.KEY_FLAGS, bytes([CERTIFY | SIGN])),
        subpacket(Subpacket.KEY_EXPIRES, (10).to_bytes(4, "big")),
    ]
    kind = SignatureType.CERTIFY_POSITIVE
    body = sign_on(component, bob.certificate, bob, kind, says=says)
    ended = replaced(bob.certificate, component, component._replace(signatures=(body,)))
    signature = sign_detached(TEXT, bob, now=now)
    for known in ([ended, bob.certificate], [bob.certificate, ended]):
        [verdict] = verify_detached(TEXT, signature, known, now=now)
        assert verdict.state == "good"
    [verdict] = verify_detached(TEXT, signature, [ended], now=now)
    assert verdict.state == "expired"


def test_a_good_signature_is_by_the_address_it_is_bound_to_whatever_the_key_says(
    eve: SecretKey, now: Clock
) -> None:
    primary = subpacket(Subpacket.PRIMARY_USER_ID, b"\x01")
    vain = with_user_id(eve, "bob@example.test", at=BIRTH + 10, says=[primary])
    assert vain.certificate.user_ids[0] == "bob@example.test"
    signature = sign_detached(TEXT, vain, now=now)
    for address in ("eve@evil.test", "eve2@evil.test"):
        [verdict] = verify_detached(
            TEXT,
            signature,
            [vain.certificate],
            now=now,
            from_address=address,
            owners={address: [eve.fingerprint]},
        )
        assert (verdict.state, verdict.signer) == ("good", address)
    [verdict] = verify_detached(
        TEXT, signature, [vain.certificate], now=now, from_address="bob@example.test"
    )
    assert verdict.state == "not-from"  # nobody is an owner until a key ring says so


def test_nothing_is_encrypted_to_more_keys_than_can_be_read(bob: SecretKey, now: Clock) -> None:
    most = encrypt(TEXT, [bob.certificate] * MAX_RECIPIENTS, now=now)
    assert decrypt(most, [bob]).plaintext == TEXT
    with pytest.raises(TooLarge):
        encrypt(TEXT, [bob.certificate] * MAX_RECIPIENTS, hidden=[bob.certificate], now=now)


def test_text_signatures_do_not_mind_line_ends(alice: SecretKey, now: Clock) -> None:
    signature = _signature(alice, at=BIRTH + 5, kind=SignatureType.TEXT)
    for text in (TEXT, TEXT.replace(b"\r\n", b"\n")):
        [verdict] = verify_signatures(text, [signature], [alice.certificate], now=now)
        assert verdict.state == "good"


def test_mail_passed_on_as_if_written_to_another_is_bad(
    alice: SecretKey, bob: SecretKey, eve: SecretKey, now: Clock
) -> None:
    to_eve = decrypt(encrypt(TEXT, [eve.certificate], alice, now=now), [eve])
    certificates = [alice.certificate]
    [passed_on] = verify_signatures(
        TEXT,
        to_eve.signatures,
        certificates,
        now=now,
        intended_for=bob.certificate.fingerprints,
    )
    assert (passed_on.state, passed_on.reason) == ("bad", "it was made for another recipient")
    [right] = verify_signatures(
        TEXT, to_eve.signatures, certificates, now=now, intended_for=eve.certificate.fingerprints
    )
    assert right.state == "good"


@pytest.mark.parametrize("version", [4, 6])
def test_the_session_key_opens_the_message_again(version: int, now: Clock) -> None:
    key = generate("x@example.test", now=lambda: BIRTH, version=version)
    message = encrypt(TEXT, [key.certificate], key, now=now)
    first = decrypt(message, [key])
    again = decrypt(message, [], session_key=first.session_key)
    assert (again.plaintext, len(again.signatures)) == (TEXT, 1)
    other = bytes([first.session_key[0]]) + bytes(32)
    with pytest.raises(IntegrityError):
        decrypt(message, [], session_key=other)


def test_clear_messages_are_called_what_they_are(bob: SecretKey) -> None:
    for data in (literal(b"x"), bob.certificate.armored()):
        with pytest.raises(NotEncrypted):
            decrypt(data, [bob])


def test_secrets_and_plaintext_show_nowhere(alice: SecretKey, bob: SecretKey, now: Clock) -> None:
    message = encrypt(b"the plaintext", [bob.certificate], alice, now=now)
    opened = decrypt(message, [bob])
    secret = bob.decryption_keys()[0]
    shown = [opened, bob, secret, alice, opened.signatures, bob.certificate]
    text = " ".join(f"{value!r} {value!s}" for value in shown)
    assert "plaintext" not in text.replace("plaintext=", "")
    for value in (secret.raw, secret.fields[0], opened.session_key):
        assert repr(value)[2:-1] not in text
        assert value.hex() not in text.lower()
    for parts in (bob.to_bytes("secret phrase"), bob.to_bytes()):
        with pytest.raises(Exception, match=r".") as caught:
            SecretKey.from_bytes(parts[:-3], "not the phrase")
        assert "phrase" not in str(caught.value).replace("passphrase", "")


def test_signatures_keep_their_bytes(alice: SecretKey, now: Clock) -> None:
    for component in alice.certificate.components:
        for body in component.signatures:
            assert Signature(body).body == body
