"""TLS of the provider: a given certificate, or an authority of its own in DIR/tls for tests and small installations.

Invariants:
* Private keys are 0600 and never leave DIR/tls.
* The authority is made once; the server's certificate is made anew when names change or its end is near.
* At least TLS 1.2 (RFC 8996 forbids what is older).
Functions here block on disk and on key generation; call them before serving or in a thread.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import ssl
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from leap.soledad.private_file import write_private

AUTHORITY_DAYS = 3650
SERVER_DAYS = 397  # what browsers accept at most
RENEW_DAYS = 30
_BACKDATED = datetime.timedelta(hours=1)  # clients' clocks are not exact
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


class BadTlsFiles(Exception):
    """Certificate or key cannot be used; the text says which and why."""


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """A server-side context. Raises BadTlsFiles."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror if not isinstance(error, ssl.SSLError) else error.reason
        raise BadTlsFiles(f"cannot use {certificate} with {key}: {reason}") from None
    return context


def self_made_context(
    folder: Path, names: Iterable[str], now: datetime.datetime | None = None
) -> tuple[ssl.SSLContext, Path]:
    """A context for `names` (and the loopback ones) signed by the authority in `folder`, and its CA file.

    Raises BadTlsFiles, OSError.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ca_file, ca_key_file = folder / "ca.pem", folder / "ca-key.pem"
    certificate_file, key_file = folder / "server.pem", folder / "server-key.pem"
    wanted = list(dict.fromkeys([*LOOPBACK_NAMES, *(name.lower() for name in names)]))
    ca, ca_key = _load_or_make_authority(ca_file, ca_key_file, now)
    if not _still_good(certificate_file, key_file, ca, wanted, now):
        certificate, key = _make_server_certificate(ca, ca_key, wanted, now)
        certificate_file.unlink(missing_ok=True)  # never an old certificate with a new key
        write_private(key_file, _key_pem(key))
        write_private(certificate_file, certificate.public_bytes(serialization.Encoding.PEM))
    return server_context(certificate_file, key_file), ca_file


def _load_or_make_authority(
    ca_file: Path, ca_key_file: Path, now: datetime.datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    if ca_file.exists():
        try:
            ca = x509.load_pem_x509_certificate(ca_file.read_bytes())
            key = serialization.load_pem_private_key(ca_key_file.read_bytes(), None)
        except (OSError, ValueError):
            raise BadTlsFiles(f"the authority in {ca_file.parent} cannot be read") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise BadTlsFiles(f"{ca_key_file} is not a key made by this program")
        return ca, key
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leap-provider self-made CA")])
    public = key.public_key()
    ca = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_private(ca_key_file, _key_pem(key))
    write_private(ca_file, ca.public_bytes(serialization.Encoding.PEM))
    return ca, key


def _make_server_certificate(
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    names: list[str],
    now: datetime.datetime,
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    end = min(now + datetime.timedelta(days=SERVER_DAYS), ca.not_valid_after_utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[-1][:64])]))
        .issuer_name(ca.subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .sign(ca_key, hashes.SHA256())
    )
    return certificate, key


def _still_good(
    certificate_file: Path,
    key_file: Path,
    ca: x509.Certificate,
    names: list[str],
    now: datetime.datetime,
) -> bool:
    if not key_file.exists():
        return False
    try:
        certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
        certificate.verify_directly_issued_by(ca)
        listed = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except Exception:  # unreadable, of another authority, without names: it is simply made anew
        return False
    renew = datetime.timedelta(days=RENEW_DAYS)
    return set(map(_general_name, names)) <= set(listed.value) and (
        now + renew < certificate.not_valid_after_utc or ca.not_valid_after_utc < now + renew
    )


def _general_name(name: str) -> x509.GeneralName:
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(name))
    return x509.DNSName(name)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
