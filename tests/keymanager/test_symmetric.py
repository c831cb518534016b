"""Messages that a passphrase opens: ours, GnuPG's, and those that mean harm."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pysequoia
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESOCB3
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from leap.keymanager.openpgp import (
    IntegrityError,
    Malformed,
    NoSecretKey,
    NotEncrypted,
    OpenPGPError,
    SecretKey,
    TooLarge,
    Unsupported,
    WrongPassphrase,
    algorithms,
    decrypt,
    decrypt_with_passphrase,
    encrypt,
    encrypt_with_passphrase,
    generate,
    read_secret_keys,
    s2k,
    verify_signatures,
)
from leap.keymanager.openpgp.armor import dearmor
from leap.keymanager.openpgp.armor_headers import read_armor_headers
from leap.keymanager.openpgp.contents import literal
from leap.keymanager.openpgp.packets import Tag, packet, read_packets
from leap.keymanager.openpgp.passphrase_key import read_passphrase_key
from leap.keymanager.openpgp.seipd import seal_v1, seal_v2
from leap.keymanager.openpgp.session_key import SessionKey, wrap

from .conftest import Gpg
from .test_hostile import mutate

TEXT = b"the secret\r\nkey\r\n"
CODE = "1742-0185-6197-1303-7016-8412-3581-4441-0597"
# iterated and salted SHA-256 as cheap as can be: 1,024 octets
FAST = b"\x03\x08" + bytes(8) + b"\x00"
ARGON2 = b"\x04" + bytes(16) + bytes([1, 1, 6])  # 64 KiB, once


def locked_v4(passphrase: bytes, specifier: bytes, session: SessionKey) -> bytes:
    """A SKESK packet of version 4 with the session key inside, as RFC 9580 5.3.1 has it."""
    key = s2k.derive(passphrase, specifier, 16)
    encryptor = algorithms.cfb(7, key, bytes(16)).encryptor()
    sealed = encryptor.update(bytes([session.cipher or 0]) + session.key) + encryptor.finalize()
    return packet(Tag.SKESK, b"\x04\x07" + specifier + sealed)


def locked_v6(passphrase: bytes, specifier: bytes, key: bytes, mode: int) -> bytes:
    """A SKESK packet of version 6 (RFC 9580 5.3.2)."""
    header = bytes([0xC3, 6, 9, mode])
    derived = HKDF(hashes.SHA256(), 32, None, header).derive(s2k.derive(passphrase, specifier, 32))
    nonce = bytes({2: 15, 3: 12}[mode])
    cipher = AESOCB3(derived) if mode == 2 else AESGCM(derived)
    fields = bytes([9, mode, len(specifier)]) + specifier + nonce
    return packet(Tag.SKESK, bytes([6, len(fields)]) + fields + cipher.encrypt(nonce, key, header))


@pytest.mark.parametrize(("bits", "armored"), [(128, True), (192, False), (256, True)])
def test_what_a_passphrase_locks_it_opens_and_no_other(bits: int, armored: bool) -> None:
    message = encrypt_with_passphrase(TEXT, CODE, key_bits=bits, armor=armored)
    opened = decrypt_with_passphrase(message, CODE)
    assert (opened.plaintext, opened.signatures, opened.recipients) == (TEXT, (), ())
    with pytest.raises(WrongPassphrase):
        decrypt_with_passphrase(message, CODE[:-1] + "8")
    assert decrypt(message, [], session_key=opened.session_key).plaintext == TEXT
    with pytest.raises(NoSecretKey, match="password"):
        decrypt(message, [])


def test_a_setup_message_is_as_autocrypt_asks_for() -> None:
    """Autocrypt 1.1: AES-128, iterated and salted, protected against changes; header lines of the armor."""
    headers = {"Passphrase-Format": "numeric9x4", "Passphrase-Begin": "17"}
    message = encrypt_with_passphrase(TEXT, CODE, armor_headers=headers)
    assert read_armor_headers(message) == headers
    assert message.startswith(b"-----BEGIN PGP MESSAGE-----\nPassphrase-Format: numeric9x4\n")
    packets = list(read_packets(dearmor(message)))
    assert [item.tag for item in packets] == [Tag.SKESK, Tag.SEIPD]
    assert packets[0].body[:4] == bytes([4, 7, 3, 8])
    assert packets[1].body[0] == 1


def test_headers_that_would_break_the_armor_are_refused() -> None:
    for headers in ({"A": "b\n"}, {"A: b\n\nx": "c"}, {"": "x"}, {"A": "\r"}):
        with pytest.raises(Malformed):
            encrypt_with_passphrase(TEXT, "x", armor_headers=headers)
    with pytest.raises(Unsupported):
        encrypt_with_passphrase(TEXT, "x", key_bits=64)


def test_what_can_be_read_of_headers() -> None:
    text = b"Hello\r\n-----BEGIN PGP MESSAGE-----\r\nA: b\r\nC:d: e\r\nA: 2\r\n\r\nBASE: x"
    assert read_armor_headers(text) == {"A": "b", "C": "d: e"}
    assert read_armor_headers(b"-----BEGIN PGP MESSAGE-----\n\nx") == {}
    assert read_armor_headers(b"-----BEGIN PGP MESSAGE-----\nA: b") == {"A": "b"}
    assert read_armor_headers(b"-----BEGIN PGP MESSAGE-----") == read_armor_headers(b"") == {}


@pytest.mark.parametrize("specifier", [FAST, ARGON2, b"\x00\x02", b"\x01\x0a" + bytes(8)])
def test_session_keys_inside_and_other_derivations_are_read(specifier: bytes) -> None:
    session = SessionKey(9, bytes(range(32)))
    message = locked_v4(b"x", specifier, session) + seal_v1(literal(TEXT), session)
    assert decrypt_with_passphrase(message, "x").plaintext == TEXT
    with pytest.raises(WrongPassphrase):
        decrypt_with_passphrase(message, "y")


@pytest.mark.parametrize("mode", [2, 3])
def test_version_6_is_read(mode: int) -> None:
    session = SessionKey(None, bytes(range(32)))
    sealed = seal_v2(literal(TEXT), session)
    message = locked_v6(b"x", ARGON2, session.key, mode) + sealed
    assert decrypt_with_passphrase(message, b"x").plaintext == TEXT
    with pytest.raises(WrongPassphrase):
        decrypt_with_passphrase(message, b"y")
    with pytest.raises(IntegrityError):  # here the passphrase is known to be right
        decrypt_with_passphrase(message[:-1] + bytes([message[-1] ^ 1]), b"x")


def test_old_and_new_parts_do_not_mix() -> None:
    """RFC 9580 10.3.2.1; each of them would open, were it taken for the other kind."""
    old, new = SessionKey(9, bytes(range(32))), SessionKey(None, bytes(range(32)))
    for message in (
        locked_v4(b"x", FAST, old) + seal_v2(literal(TEXT), new),
        locked_v6(b"x", FAST, old.key, 2) + seal_v1(literal(TEXT), old),
    ):
        with pytest.raises((NoSecretKey, WrongPassphrase)):
            decrypt_with_passphrase(message, "x")


def test_a_message_with_both_opens_by_key_and_by_passphrase(bob: SecretKey) -> None:
    session = SessionKey(9, bytes(range(32)))
    parts = [locked_v4(b"x", FAST, session), wrap(session, bob.decryption_keys()[0].public)]
    for order in (parts, parts[::-1]):
        message = b"".join(order) + seal_v1(literal(TEXT), session)
        assert decrypt(message, [bob]).plaintext == TEXT
        assert decrypt_with_passphrase(message, "x").plaintext == TEXT
        with pytest.raises(NoSecretKey):
            decrypt(message, [])
    with pytest.raises(NoSecretKey, match="passphrase"):
        decrypt_with_passphrase(
            encrypt(TEXT, [bob.certificate], now=lambda: bob.certificate.created), "x"
        )
    with pytest.raises(NotEncrypted):
        decrypt_with_passphrase(literal(TEXT), "x")


def test_one_of_several_passphrases_opens() -> None:
    session = SessionKey(9, bytes(range(32)))
    locked = b"".join(locked_v4(phrase, FAST, session) for phrase in (b"a", b"b", b"c"))
    message = locked + seal_v1(literal(TEXT), session)
    for phrase in "abc":
        assert decrypt_with_passphrase(message, phrase).plaintext == TEXT
    with pytest.raises(WrongPassphrase):
        decrypt_with_passphrase(message, "d")


@pytest.mark.parametrize(
    "specifier",
    [
        b"\x04" + bytes(16) + bytes([1, 1, 22]),  # 4 GiB
        b"\x04" + bytes(16) + bytes([17, 1, 10]),
        b"\x04" + bytes(16) + bytes([3, 4, 21]),  # 2 GiB three times
        b"\x04" + bytes(16) + bytes([1, 65, 16]),
        b"\x04" + bytes(16) + bytes([1, 1, 255]),
        b"\x04" + bytes(16) + bytes([0, 0, 0]),
    ],
)
def test_derivations_that_would_stop_the_machine_are_refused(specifier: bytes) -> None:
    session = SessionKey(9, bytes(32))
    message = packet(Tag.SKESK, b"\x04\x09" + specifier) + seal_v1(literal(TEXT), session)
    with pytest.raises((Unsupported, Malformed), match="passphrase hashing"):
        decrypt_with_passphrase(message, "x")


def test_a_message_of_many_passphrases_costs_no_more_than_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = SessionKey(9, bytes(32))
    dear = b"\x04" + bytes(16) + bytes([16, 1, 10])  # 16 passes over a megabyte
    locked = [locked_v4(phrase, dear, session) for phrase in (b"a", b"b", b"c")]
    message = b"".join(locked) + seal_v1(literal(TEXT), session)
    assert decrypt_with_passphrase(message, "c").plaintext == TEXT
    monkeypatch.setattr(s2k, "MAX_ARGON2_WORK", 2 * 16 * 1024)
    assert decrypt_with_passphrase(message, "b").plaintext == TEXT
    with pytest.raises(WrongPassphrase):
        decrypt_with_passphrase(message, "c")


def test_content_over_the_limit_is_refused() -> None:
    session = SessionKey(7, bytes(16))
    message = locked_v4(b"x", FAST, session) + seal_v1(literal(bytes(1001)), session)
    with pytest.raises(TooLarge):
        decrypt_with_passphrase(message, "x", max_size=1000)


def _is_dear(message: bytes) -> bool:
    """Whether a mutation hit the count or memory of the derivation."""
    try:
        locked = read_passphrase_key(next(read_packets(message)).body)
    except (OpenPGPError, StopIteration):
        return False
    kind = locked.specifier[0]
    return locked.specifier[10] > 0x80 if kind == 3 else kind == 4 and locked.specifier[19] > 12


def test_changed_messages_give_nothing_out() -> None:
    source = random.Random(3)
    old, new = SessionKey(9, bytes(32)), SessionKey(None, bytes(32))
    subjects = [
        locked_v4(b"x", FAST, old) + seal_v1(literal(TEXT), old),
        locked_v4(b"x", ARGON2, old) + seal_v1(literal(TEXT), old),
        locked_v6(b"x", ARGON2, new.key, 2) + seal_v2(literal(TEXT), new),
    ]
    outcomes = {"refused": 0, "same": 0}
    for index in range(600):
        changed = mutate(subjects[index % 3], source)
        if _is_dear(changed):
            continue  # it is allowed to take seconds
        try:
            opened = decrypt_with_passphrase(changed, "x")
        except OpenPGPError:
            outcomes["refused"] += 1
        else:
            assert opened.plaintext == TEXT
            outcomes["same"] += 1
    assert outcomes["refused"] > 300


def test_gpg_opens_ours_and_we_open_gpgs(gpg: Gpg) -> None:
    ours = encrypt_with_passphrase(TEXT, CODE, armor_headers={"Passphrase-Format": "numeric9x4"})
    done = gpg.run("--passphrase", CODE, "--decrypt", data=ours)
    assert done.stdout == TEXT
    assert b"DECRYPTION_OKAY" in done.stderr
    for extra in (
        ["--armor"],
        ["--s2k-mode", "1"],
        ["--s2k-mode", "0", "--s2k-digest-algo", "SHA1"],
        ["--s2k-count", "65011712", "--s2k-digest-algo", "SHA512", "--cipher-algo", "AES192"],
        ["--cipher-algo", "TWOFISH"],
    ):
        theirs = gpg("--passphrase", CODE, "--symmetric", *extra, data=TEXT)
        if "TWOFISH" in extra:
            with pytest.raises(Unsupported):
                decrypt_with_passphrase(theirs, CODE)
            continue
        assert decrypt_with_passphrase(theirs, CODE).plaintext == TEXT
        with pytest.raises(WrongPassphrase):
            decrypt_with_passphrase(theirs, CODE + "x")


def test_sequoia_opens_ours_and_we_open_sequoias() -> None:
    key = generate("x@example.test", now=lambda: time.time() - 60)
    assert pysequoia.decrypt(encrypt_with_passphrase(TEXT, CODE), passwords=[CODE]).bytes == TEXT
    signer = pysequoia.Tsk.from_bytes(key.to_bytes()).signer()
    theirs = pysequoia.encrypt(TEXT, passwords=[CODE], signer=signer)
    opened = decrypt_with_passphrase(theirs, CODE)
    assert opened.plaintext == TEXT
    [verdict] = verify_signatures(TEXT, opened.signatures, [key.certificate])
    assert verdict.state == "good"


def test_gpgs_mail_to_a_key_and_a_passphrase(gpg: Gpg, bob: SecretKey) -> None:
    gpg("--import", data=bob.certificate.armored())
    message = gpg(
        *("--passphrase", CODE, "--symmetric", "--encrypt", "-r", bob.fingerprint),
        *("--faked-system-time", f"{bob.certificate.created + 60}"),
        data=TEXT,
    )
    assert decrypt(message, [bob]).plaintext == TEXT
    assert decrypt_with_passphrase(message, CODE).plaintext == TEXT


@pytest.mark.corpus
def test_the_setup_messages_of_others_open_with_their_code(corpus: Path) -> None:
    """The one of Autocrypt's specification, and Delta Chat's copy of it: the same key."""
    found = []
    for name in ("autocrypt-spec/appendix__example-setup-message", "chatmail-relay/mail-data__asm"):
        mail = (corpus / f"{name}.eml").read_bytes()
        assert read_armor_headers(mail)["Passphrase-Format"] == "numeric9x4"
        with pytest.raises(WrongPassphrase):
            decrypt_with_passphrase(mail, CODE.replace("-", ""))
        [key] = read_secret_keys(decrypt_with_passphrase(mail, CODE).plaintext)
        assert key.certificate.addresses == ("alice@autocrypt.example",)
        found.append(key.to_bytes())
    assert found[0] == found[1]


@pytest.mark.parametrize("size", [5, 16, 24, 31, 33])
def test_a_session_key_of_the_wrong_length_is_our_error(size: int) -> None:
    """What is locked in GnuPG's way can have any length; the old container does not say what it wants."""
    header = bytes([0xC3, 5, 9, 2])
    nonce = bytes(15)
    sealed = AESOCB3(s2k.derive(b"x", FAST, 32)).encrypt(nonce, bytes(size), header)
    locked = packet(Tag.SKESK, header[1:] + FAST + nonce + sealed)
    message = locked + seal_v1(literal(TEXT), SessionKey(9, bytes(32)))
    with pytest.raises(OpenPGPError):
        decrypt_with_passphrase(message, "x")
