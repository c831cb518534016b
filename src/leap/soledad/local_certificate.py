"""A certificate for servers on this machine, signed by itself, for programs that insist on TLS or come from elsewhere.

Invariants: the private key is 0600 beside the certificate and never leaves that folder; the certificate cannot sign
others, so whoever is told to trust it trusts these servers and nothing else; it stays the same as long as its names do
and until its end is near, because programs remember it.
Functions here block on disk and on key generation; call them in a thread.
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

DAYS = 820  # some systems refuse a server's certificate that is valid for more than 825 days
RENEW_DAYS = 30
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_BACKDATED = datetime.timedelta(hours=1)  # clocks of other machines are not exact


def local_tls(
    file: Path, names: Iterable[str] = (), now: datetime.datetime | None = None
) -> ssl.SSLContext:
    """A server's context for `names` and the loopback ones; the certificate is in `file`, made when it has to be.

    Raises OSError when the folder cannot be used.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    wanted = list(dict.fromkeys((*LOOPBACK_NAMES, *(name.lower() for name in names))))
    context = _context()
    if not _is_good(file, wanted, now) or not _loads(context, file):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.unlink(missing_ok=True)  # never an old certificate with a new key
        key = ec.generate_private_key(ec.SECP256R1())
        write_private(
            _key_file(file),
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )
        certificate = _certificate(key, wanted, now)
        write_private(file, certificate.public_bytes(serialization.Encoding.PEM))
        context = _context()
        context.load_cert_chain(file, _key_file(file))
    return context


def fingerprint(file: Path) -> str:
    """SHA-256 of the certificate, as mail programs show it. Raises OSError, ValueError."""
    digest = x509.load_pem_x509_certificate(file.read_bytes()).fingerprint(hashes.SHA256())
    return digest.hex(":").upper()


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2  # RFC 8996
    return context


def _key_file(file: Path) -> Path:
    return file.with_name(f"{file.stem}-key.pem")


def _loads(context: ssl.SSLContext, file: Path) -> bool:
    try:
        context.load_cert_chain(file, _key_file(file))
    except (OSError, ssl.SSLError):
        return False
    return True


def _is_good(file: Path, names: list[str], now: datetime.datetime) -> bool:
    try:
        certificate = x509.load_pem_x509_certificate(file.read_bytes())
        listed = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (OSError, ValueError, x509.ExtensionNotFound):
        return False
    in_time = now + datetime.timedelta(days=RENEW_DAYS) < certificate.not_valid_after_utc
    return in_time and set(map(_general_name, names)) <= set(listed.value)


def _certificate(
    key: ec.EllipticCurvePrivateKey, names: list[str], now: datetime.datetime
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bitmask on this machine")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + datetime.timedelta(days=DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False
        )
        .sign(key, hashes.SHA256())
    )


def _general_name(name: str) -> x509.GeneralName:
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(name))
    return x509.DNSName(name)
