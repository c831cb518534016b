"""What is mutated, each with what reads it: every kind of message, certificate, secret key and signature.

Passphrases are stretched as cheaply as the format allows, so that many mutations can be read in a minute.
"""

from __future__ import annotations

import hashlib
import random
import zlib
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESOCB3
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from leap.keymanager.openpgp import (
    Certificate,
    OpenPGPError,
    SecretKey,
    algorithms,
    decrypt,
    decrypt_with_passphrase,
    encrypt,
    generate,
    is_cleartext_signed,
    read_certificates,
    read_cleartext,
    read_secret_keys,
    recipients_of,
    s2k,
    sign_detached,
    verify_detached,
    verify_signatures,
)
from leap.keymanager.openpgp.armor import SIGNATURE, armor, dearmor
from leap.keymanager.openpgp.component import Component
from leap.keymanager.openpgp.contents import literal, read_contents
from leap.keymanager.openpgp.packets import Tag, mpi, packet, read_packets
from leap.keymanager.openpgp.public_key import PublicKey
from leap.keymanager.openpgp.secret_material import SecretMaterial
from leap.keymanager.openpgp.seipd import seal_v1, seal_v2
from leap.keymanager.openpgp.self_signatures import pieces_of
from leap.keymanager.openpgp.session_key import SessionKey, wrap
from leap.keymanager.openpgp.signature import SignatureType, Subpacket, make_signature, subpacket
from leap.keymanager.openpgp.verdict import RawSignature

from . import test_ocb
from .conftest import BIRTH

Read = Callable[[bytes], object]
Mutate = Callable[[bytes, random.Random], bytes]
TEXT = b"- text\nof some lines\n" * 9
PASSPHRASE = b"x"
FAST = b"\x03\x08" + bytes(8) + b"\x00"  # 1,024 octets of SHA-256
ARGON2 = b"\x04" + bytes(16) + bytes([1, 1, 6])  # 64 KiB, once
AT = BIRTH + 10


class Subject(NamedTuple):
    """`seal` is put around what was mutated: only who made the message could change what is inside."""

    name: str
    data: bytes
    read: Read
    seal: Callable[[bytes], bytes] = bytes


def now() -> float:
    return float(AT)


def subjects() -> list[Subject]:
    """All of them, the same each time but for what the primitives library draws by itself."""
    source = random.Random(9580).randbytes
    make = partial(generate, now=lambda: BIRTH, random=source)
    alice, bob = make("alice@example.test"), make("bob@example.test")
    modern = make("x@example.test", version=6)
    quantum = make("y@example.test", version=6, post_quantum=True)
    old = classic_key()
    people = [alice, bob, modern, quantum, old]
    readers = _Readers(people)
    return [
        *_messages(readers, people),
        *_inner(readers, bob, modern),
        *_signatures(readers, people),
        *_certificates(readers, people),
        *_secrets(readers, people),
    ]


class _Readers:
    """What a program does with what it is given."""

    def __init__(self, people: list[SecretKey]) -> None:
        self.people = people
        self.certificates = [key.certificate for key in people]

    def message(self, data: bytes) -> None:
        recipients_of(data)
        opened = decrypt(data, self.people, max_size=1_000_000)
        verify_signatures(opened.plaintext, opened.signatures, self.certificates, now=now)
        decrypt(data, [], session_key=opened.session_key, max_size=1_000_000)

    def locked_message(self, data: bytes) -> None:
        decrypt_with_passphrase(data, PASSPHRASE, max_size=1_000_000)

    def contents(self, data: bytes) -> None:
        found = read_contents(data, max_size=1_000_000)
        signatures = [RawSignature(body) for body in found.signatures]
        verify_signatures(found.data, signatures, self.certificates, now=now)

    def signature(self, data: bytes) -> None:
        verify_detached(TEXT, data, self.certificates, now=now)

    def cleartext(self, data: bytes) -> None:
        is_cleartext_signed(data)
        found = read_cleartext(data)
        verify_signatures(found.text, found.signatures, self.certificates, now=now)

    def certificate(self, data: bytes) -> None:
        for found in read_certificates(data):
            _look_at(found)
            found.cleaned()
            for known in self.certificates:
                if found.fingerprint == known.fingerprint:
                    _look_at(known.merge(found))
            try:
                encrypt(b"x", [found], now=now)
            except OpenPGPError:
                pass

    def secret(self, data: bytes) -> None:
        for key in read_secret_keys(data, PASSPHRASE):
            key.to_bytes()
            try:
                sign_detached(TEXT, key, now=now)
            finally:
                for secret in key.decryption_keys():
                    message = wrap(SessionKey(9, bytes(32)), secret.public)
                    decrypt(message + seal_v1(literal(b"x"), SessionKey(9, bytes(32))), [key])


def _look_at(certificate: Certificate) -> None:
    certificate.keys_at(AT), certificate.user_ids_at(AT), certificate.addresses, certificate.key_ids
    (
        certificate.can_encrypt(AT),
        certificate.expires,
        certificate.revoked,
        certificate.takes_seipd_v2,
    )


def _messages(readers: _Readers, people: list[SecretKey]) -> list[Subject]:
    alice, bob, modern, quantum, old = people
    read, to = readers.message, [key.certificate for key in people]
    close = partial(encrypt, TEXT, now=now, random=random.Random(5).randbytes)
    locked = SessionKey(7, s2k.derive(PASSPHRASE, FAST, 16))
    argon = SessionKey(7, s2k.derive(PASSPHRASE, ARGON2, 16))
    text = literal(TEXT)
    return [
        Subject("message", close([to[1]], alice, armor=False), read),
        Subject("message, armored", close([to[1]], alice), read),
        Subject("message, version 6", close([to[2]], modern, armor=False), read),
        Subject("message, ML-KEM", close([to[3]], quantum), read),
        Subject("message, RSA and ECDH", close([to[4]], old, armor=False), read),
        Subject("message, to all", close(to, alice, armor=False), read),
        Subject("message, hidden", close([], alice, hidden=to[:2], armor=False), read),
        Subject(
            "message, passphrase",
            packet(Tag.SKESK, b"\x04\x07", FAST) + seal_v1(text, locked),
            readers.locked_message,
        ),
        Subject(
            "message, passphrase by Argon2",
            packet(Tag.SKESK, b"\x04\x07", ARGON2) + seal_v1(text, argon),
            readers.locked_message,
        ),
        Subject("message, passphrase of version 6", _locked_v6(text), readers.locked_message),
        Subject("message, GnuPG's OCB", test_ocb.message(test_ocb.sealed(text, 1), bob), read),
    ]


def _locked_v6(text: bytes) -> bytes:
    """RFC 9580 5.3.2."""
    header, key, nonce = bytes([0xC0 | Tag.SKESK, 6, 9, 2]), bytes(range(32)), bytes(15)
    derived = HKDF(hashes.SHA256(), 32, None, header).derive(s2k.derive(PASSPHRASE, FAST, 32))
    sealed = AESOCB3(derived).encrypt(nonce, key, header)
    parameters = bytes([9, 2, len(FAST)]) + FAST + nonce
    skesk = packet(Tag.SKESK, b"\x06", bytes([len(parameters)]), parameters, sealed)
    return skesk + seal_v2(text, SessionKey(None, key))


def _inner(readers: _Readers, bob: SecretKey, modern: SecretKey) -> list[Subject]:
    """Past the integrity check: what the sender itself may have made wrong on purpose."""
    signature = dearmor(sign_detached(TEXT, bob, now=now))
    [whole] = read_packets(signature)
    one_pass = packet(Tag.ONE_PASS, b"\x03\x00\x08\x16", bob.certificate.primary.key_id, b"\x01")
    signed = one_pass + literal(TEXT) + packet(Tag.SIGNATURE, whole.body)
    packed = packet(Tag.COMPRESSED, b"\x02", zlib.compress(signed))
    v1, v2 = SessionKey(9, bytes(range(32))), SessionKey(None, bytes(range(32)))
    head = wrap(v1, bob.decryption_keys()[0].public)
    head6 = wrap(v2, modern.decryption_keys()[0].public, version=6)
    return [
        Subject("contents", signed, readers.contents),
        Subject("contents, packed", packed, readers.contents),
        Subject("inside", signed, readers.message, lambda inner: head + seal_v1(inner, v1)),
        Subject(
            "inside, version 6", packed, readers.message, lambda inner: head6 + seal_v2(inner, v2)
        ),
    ]


def _signatures(readers: _Readers, people: list[SecretKey]) -> list[Subject]:
    found = []
    for key, kind in zip(people, ("", ", other", ", version 6", ", ML-KEM", ", RSA"), strict=True):
        text = sign_detached(TEXT, key, now=now)
        found.append(Subject(f"signature{kind}, armored", text, readers.signature))
        found.append(Subject(f"signature{kind}", dearmor(text), readers.signature))
    signed = b"\r\n".join(TEXT.split(b"\n")[:-1])
    body = make_signature(people[0].primary_secret(), SignatureType.TEXT, (signed,), created=AT)
    lines = b"\n".join(b"- " + line for line in TEXT.split(b"\n")[:-1])
    head = b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n"
    block = armor(packet(Tag.SIGNATURE, body), SIGNATURE)
    return [*found, Subject("cleartext", head + lines + b"\n" + block, readers.cleartext)]


def _certificates(readers: _Readers, people: list[SecretKey]) -> list[Subject]:
    found = []
    for key, kind in zip(people, ("", ", other", ", version 6", ", ML-KEM", ", RSA"), strict=True):
        found.append(Subject(f"certificate{kind}", key.certificate.binary, readers.certificate))
        text = key.certificate.armored()
        found.append(Subject(f"certificate{kind}, armored", text, readers.certificate))
    everybody = b"".join(key.certificate.binary for key in people)
    return [*found, Subject("keyring", everybody, readers.certificate)]


def _secrets(readers: _Readers, people: list[SecretKey]) -> list[Subject]:
    found = []
    for key, kind in zip(people, ("", ", other", ", version 6", ", ML-KEM", ", RSA"), strict=True):
        found.append(Subject(f"secret key{kind}", key.to_bytes(), readers.secret))
        for lock in (FAST, ARGON2):
            data = _locked(key, lock)
            found.append(Subject(f"secret key{kind}, locked by {lock[0]}", data, readers.secret))
    return found


def _locked(key: SecretKey, specifier: bytes) -> bytes:
    """A secret key whose parts are locked: CFB with SHA-1, or OCB for Argon2 (RFC 9580 5.5.3)."""
    parts = []
    for tag, body in read_packets(key.to_bytes()):
        if tag not in (Tag.SECRET_KEY, Tag.SECRET_SUBKEY):
            parts.append(packet(tag, body))
            continue
        public, rest = PublicKey.read_prefix(body)
        raw = rest[1:-2] if public.version == 4 else rest[1:]
        stretched = s2k.derive(PASSPHRASE, specifier, 32)
        if specifier == ARGON2:
            info = bytes([0xC0 | tag, public.version, 9, 2])
            derived = HKDF(hashes.SHA256(), 32, None, info).derive(stretched)
            iv, head = bytes(15), bytes([253])
            sealed = AESOCB3(derived).encrypt(iv, raw, bytes([0xC0 | tag]) + public.body)
            ciphers = bytes([9, 2])
        else:
            iv, head, ciphers = bytes(16), bytes([254]), bytes([9])
            clear = raw + hashlib.sha1(raw, usedforsecurity=False).digest()
            sealed = algorithms.cfb(9, stretched, iv).encryptor().update(clear)
        if public.version == 4:
            parameters = ciphers + specifier + iv
        else:
            parameters = ciphers + bytes([len(specifier)]) + specifier + iv
            parameters = bytes([len(parameters)]) + parameters
        parts.append(packet(tag, public.body, head, parameters, sealed))
    return b"".join(parts)


def classic_key() -> SecretKey:
    """A key as they were made for twenty years: RSA that certifies and signs, and ECDH on a NIST curve."""
    numbers = rsa.generate_private_key(65_537, 2048).private_numbers()
    fields = (numbers.d, numbers.p, numbers.q, rsa.rsa_crt_iqmp(numbers.q, numbers.p))
    public = b"".join(_number(n) for n in (numbers.public_numbers.n, numbers.public_numbers.e))
    head = b"\x04" + BIRTH.to_bytes(4, "big")
    primary = SecretMaterial(PublicKey(head + b"\x01" + public), b"".join(map(_number, fields)))
    curve = ec.generate_private_key(ec.SECP256R1())
    point = curve.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )
    oid = bytes.fromhex("2A8648CE3D030107")
    material = bytes([len(oid)]) + oid + mpi(point) + b"\x03\x01\x08\x07"
    scalar = _number(curve.private_numbers().private_value)
    subkey = SecretMaterial(PublicKey(head + b"\x12" + material), scalar)
    user_id = Component(Tag.USER_ID, b"Old <old@example.test>", ())
    bare = Component(Tag.PUBLIC_SUBKEY, subkey.public.body, ())

    def sign(component: Component, kind: int, flags: int) -> Component:
        pieces = pieces_of(primary.public, component)
        says = [subpacket(Subpacket.KEY_FLAGS, bytes([flags]), critical=True)]
        body = make_signature(primary, kind, pieces, created=BIRTH, statements=says)
        return component._replace(signatures=(body,))

    parts = [
        Component(Tag.PUBLIC_KEY, primary.public.body, ()),
        sign(user_id, SignatureType.CERTIFY_POSITIVE, 0x03),
        sign(bare, SignatureType.SUBKEY_BINDING, 0x0C),
    ]
    secrets = {secret.public.fingerprint: secret for secret in (primary, subkey)}
    return SecretKey(Certificate(parts), secrets)


def _number(value: int) -> bytes:
    return mpi(value.to_bytes((value.bit_length() + 7) // 8, "big"))
