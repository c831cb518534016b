"""The OpenPGP engine: RFC 9580 on the primitives of `cryptography`, and nothing of mail in it."""

from leap.keymanager.openpgp.algorithms import MICALG
from leap.keymanager.openpgp.armor_headers import read_armor_headers
from leap.keymanager.openpgp.certificate import Certificate, read_certificates
from leap.keymanager.openpgp.cleartext import (
    CleartextSigned,
    is_cleartext_signed,
    read_cleartext,
)
from leap.keymanager.openpgp.component import address_of
from leap.keymanager.openpgp.errors import (
    ExpiredCertificate,
    IntegrityError,
    Malformed,
    NoEncryptionKey,
    NoSecretKey,
    NoSigningKey,
    NotEncrypted,
    OpenPGPError,
    TooLarge,
    Unsupported,
    WrongPassphrase,
)
from leap.keymanager.openpgp.generation import generate
from leap.keymanager.openpgp.message import (
    Decrypted,
    Signed,
    SigningHash,
    decrypt,
    encrypt,
    micalg,
    read_signed,
    recipients_of,
    sign_detached,
)
from leap.keymanager.openpgp.secret_key import SecretKey, read_secret_keys
from leap.keymanager.openpgp.symmetric import decrypt_with_passphrase, encrypt_with_passphrase
from leap.keymanager.openpgp.verdict import (
    RawSignature,
    Verdict,
    read_signatures,
    verify_detached,
    verify_signatures,
)

__all__ = [
    "MICALG",
    "Certificate",
    "CleartextSigned",
    "Decrypted",
    "ExpiredCertificate",
    "IntegrityError",
    "Malformed",
    "NoEncryptionKey",
    "NoSecretKey",
    "NoSigningKey",
    "NotEncrypted",
    "OpenPGPError",
    "RawSignature",
    "SecretKey",
    "Signed",
    "SigningHash",
    "TooLarge",
    "Unsupported",
    "Verdict",
    "WrongPassphrase",
    "address_of",
    "decrypt",
    "decrypt_with_passphrase",
    "encrypt",
    "encrypt_with_passphrase",
    "generate",
    "is_cleartext_signed",
    "micalg",
    "read_armor_headers",
    "read_certificates",
    "read_cleartext",
    "read_secret_keys",
    "read_signatures",
    "read_signed",
    "recipients_of",
    "sign_detached",
    "verify_detached",
    "verify_signatures",
]
