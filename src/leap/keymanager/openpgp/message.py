"""Encrypting, decrypting and signing whole messages. All of it is computing: from 5 ms on use `offload`.

Invariants:
* Encryption refuses a recipient whose certificate cannot be used now; it never leaves one out.
* SEIPD version 2 only when every recipient can read it; otherwise version 1 with its modification detection.
* Plaintext is given out only after the integrity of all of it was proven; nothing of it is in `repr` or errors.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from leap.keymanager.openpgp import algorithms
from leap.keymanager.openpgp.armor import SIGNATURE, armor_message, dearmor
from leap.keymanager.openpgp.armor import armor as armored
from leap.keymanager.openpgp.certificate import Certificate
from leap.keymanager.openpgp.contents import Contents, literal_head, read_contents
from leap.keymanager.openpgp.envelope import MAX_RECIPIENTS, Envelope, read_envelope
from leap.keymanager.openpgp.errors import (
    IntegrityError,
    NoEncryptionKey,
    NoSecretKey,
    OpenPGPError,
    TooLarge,
    Unsupported,
)
from leap.keymanager.openpgp.packets import Tag, packet, read_packets
from leap.keymanager.openpgp.public_key import PublicKey
from leap.keymanager.openpgp.secret_key import SecretKey
from leap.keymanager.openpgp.secret_material import SecretMaterial
from leap.keymanager.openpgp.seipd import seal_v1, seal_v2
from leap.keymanager.openpgp.session_key import SessionKey, unwrap, wrap
from leap.keymanager.openpgp.signature import (
    SignatureType,
    Subpacket,
    make_signature,
    subpacket,
    text_form,
)
from leap.keymanager.openpgp.verdict import RawSignature

MAX_SIZE = 64 * 1024 * 1024  # what a mail may unpack to; the providers take 50 MiB
MAX_ATTEMPTS = (
    1_024  # private key operations for one message; hidden recipients make us try every key
)

Random = Callable[[int], bytes]
SigningHash = Literal["sha256", "sha512"]
_HASH_NUMBERS: Final[dict[str, int]] = {
    "sha256": algorithms.SHA256,
    "sha512": algorithms.SHA512,
}


@dataclass(frozen=True, slots=True)
class Decrypted:
    """An opened message. `recipients` are fingerprints or key ids in upper hex, "" for each hidden one."""

    plaintext: bytes = field(repr=False)
    signatures: tuple[RawSignature, ...]
    recipients: tuple[str, ...]
    session_key: bytes = field(repr=False)
    """Opens this one message again without the private key: `decrypt(..., session_key=...)`."""


@dataclass(frozen=True, slots=True)
class Signed:
    """The content of a message that is signed, or only packed, but not encrypted, and its signatures."""

    plaintext: bytes = field(repr=False)
    signatures: tuple[RawSignature, ...]


def encrypt(
    data: bytes,
    recipients: Sequence[Certificate],
    signer: SecretKey | None = None,
    *,
    armor: bool = True,
    hidden: Sequence[Certificate] = (),
    now: Callable[[], float] = time.time,
    random: Random = os.urandom,
) -> bytes:
    """`data` encrypted to all of `recipients` and `hidden` (whose names do not show), signed inside by `signer`.

    Raises ExpiredCertificate, NoEncryptionKey, NoSigningKey, TooLarge for more than `MAX_RECIPIENTS`; then nothing
    is made at all.
    """
    at = now()
    everyone = (*recipients, *hidden)
    if not everyone:
        raise NoEncryptionKey("there is nobody to encrypt to")
    if len(everyone) > MAX_RECIPIENTS:  # what nobody's `decrypt` would open
        raise TooLarge(f"one message can be encrypted to {MAX_RECIPIENTS} keys at most")
    keys = [certificate.encryption_key(at) for certificate in everyone]
    content = [literal_head(len(data)), data]
    if signer is not None:
        named = () if hidden else tuple(keys_of(certificate) for certificate in recipients)
        content = _signed(data, content, signer, int(at), named, random)
    version_2 = all(certificate.takes_seipd_v2 for certificate in everyone)
    session = SessionKey(None if version_2 else 9, random(32))
    parts = [
        wrap(
            session,
            key,
            version=6 if version_2 else 3,
            hidden=index >= len(recipients),
            random=random,
        )
        for index, key in enumerate(keys)
    ]
    seal = seal_v2 if version_2 else seal_v1
    message = seal(content, session, lead=b"".join(parts), random=random)
    return armor_message(message) if armor else bytes(message)


def keys_of(certificate: Certificate) -> bytes:
    """The value of an intended-recipient statement: version and fingerprint (RFC 9580 5.2.3.36)."""
    return bytes([certificate.primary.version]) + certificate.primary.fingerprint


def _signed(
    data: bytes,
    content: Sequence[bytes],
    signer: SecretKey,
    at: int,
    recipients: Sequence[bytes],
    random: Random,
) -> list[bytes]:
    secret = signer.signing_key(at)
    # Naming the recipients stops one of them from passing the signed text on as if meant for another.
    statements = [subpacket(Subpacket.RECIPIENT_FINGERPRINT, named) for named in recipients]
    body = make_signature(
        secret,
        SignatureType.BINARY,
        (data,),
        created=at,
        statements=statements,
        hash_number=algorithms.MESSAGE_HASHES.get(secret.public.algorithm, algorithms.SHA512),
        random=random,
    )
    return [_one_pass(secret, body), *content, packet(Tag.SIGNATURE, body)]


def _one_pass(secret: SecretMaterial, signature: bytes) -> bytes:
    """Announces the signature before the data (RFC 9580 5.4)."""
    key = secret.public
    kind, algorithm, hash_number = signature[1:4]
    head = bytes([kind, hash_number, algorithm])
    if key.version == 4:
        return packet(Tag.ONE_PASS, b"\x03", head, key.key_id, b"\x01")
    length = int.from_bytes(signature[4:8], "big")
    at = 8 + length
    at += 4 + int.from_bytes(signature[at : at + 4], "big") + 2
    salt = signature[at : at + 1 + signature[at]]
    return packet(Tag.ONE_PASS, b"\x06", head, salt, key.fingerprint, b"\x01")


def sign_detached(
    data: bytes,
    signer: SecretKey,
    *,
    hash_name: SigningHash = "sha512",
    text: bool = False,
    now: Callable[[], float] = time.time,
    random: Random = os.urandom,
) -> bytes:
    """An armored signature over exactly these octets, as `application/pgp-signature` wants it (see `micalg`).

    `text`: line ends do not count, all are signed as CRLF. Raises ExpiredCertificate, NoSigningKey; Unsupported when
    the hash is too short for the key.
    """
    at = now()
    secret = signer.signing_key(at)
    number = _HASH_NUMBERS[hash_name]
    if _is_too_short(number, secret.public):
        raise Unsupported(f"{hash_name} is too short for this kind of key")
    kind, signed = (SignatureType.TEXT, text_form(data)) if text else (SignatureType.BINARY, data)
    body = make_signature(
        secret, kind, (signed,), created=int(at), hash_number=number, random=random
    )
    return armored(packet(Tag.SIGNATURE, body), SIGNATURE, checksum=secret.public.version == 4)


def _is_too_short(hash_number: int, key: PublicKey) -> bool:
    if algorithms.is_too_short(hash_number, key.algorithm):
        return True
    least = algorithms.ECDSA_HASHES.get(key.fields[0], 0) if key.algorithm == 19 else 0
    return algorithms.new_hash(hash_number).digest_size < least


def micalg(hash_name: SigningHash) -> str:
    """The name of a hash in the "micalg" parameter of signed mail (RFC 3156 5)."""
    return f"pgp-{hash_name}"


def decrypt(
    data: bytes,
    keys: Sequence[SecretKey],
    *,
    max_size: int = MAX_SIZE,
    session_key: bytes | None = None,
) -> Decrypted:
    """Opens a message with any of `keys`, however old they are.

    Raises NotEncrypted, NoSecretKey, IntegrityError (changed, or not protected against it), TooLarge (over
    `max_size` octets once unpacked), Unsupported, Malformed.
    """
    envelope = read_envelope(data)
    if session_key is not None:
        session = SessionKey.restore(session_key)
        packets = envelope.open(session)
    else:
        session, packets = _open(envelope, keys)
    contents: Contents = read_contents(packets, max_size=max_size)
    return Decrypted(
        contents.data,
        tuple(RawSignature(body) for body in contents.signatures),
        envelope.recipients,
        session.stored,
    )


def read_signed(data: bytes, *, max_size: int = MAX_SIZE) -> Signed:
    """The content of a message that is not encrypted, as "gpg --sign" writes it, armored or not.

    Raises Unsupported for encrypted ones, TooLarge (over `max_size` octets once unpacked), Malformed.
    """
    packets = dearmor(data)
    for tag, _ in read_packets(packets):
        if tag in (Tag.PKESK, Tag.SKESK, Tag.SEIPD, Tag.SED, Tag.OCB):
            raise Unsupported("the message is encrypted")
        break
    contents = read_contents(packets, max_size=max_size)
    return Signed(contents.data, tuple(RawSignature(body) for body in contents.signatures))


def recipients_of(data: bytes) -> tuple[str, ...]:
    """Whom a message is encrypted to, without opening it: fingerprints or key ids, "" for each hidden one.

    Raises NotEncrypted, Unsupported, IntegrityError, Malformed.
    """
    return read_envelope(data).recipients


def _open(envelope: Envelope, keys: Sequence[SecretKey]) -> tuple[SessionKey, bytes]:
    secrets = [secret for key in keys for secret in key.decryption_keys()]
    # named recipients first: a private key operation per hidden one only when it must be
    pairs = [(w, s) for w in envelope.wrapped for s in secrets if w.may_be_for(s.public)]
    pairs.sort(key=lambda pair: not pair[0].recipient)
    if len(pairs) > MAX_ATTEMPTS:
        raise TooLarge("the message has absurdly many hidden recipients")
    refused = envelope.refused
    changed: OpenPGPError | None = None
    for wrapped_key, secret in pairs:
        try:
            session = unwrap(wrapped_key, secret)
            return session, envelope.open(session)
        except IntegrityError as error:
            changed = error
        except OpenPGPError as error:
            if wrapped_key.recipient and not isinstance(error, NoSecretKey):
                refused = error
    if changed is not None:
        raise changed
    if refused is not None and (pairs or not envelope.wrapped):
        raise refused
    if envelope.locked and not envelope.wrapped:
        raise NoSecretKey("the message is encrypted with a password")
    raise NoSecretKey("the message is encrypted, but to none of your keys")
