"""The self-made authority: its names, its end, and what clients need of it."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from leap.provider.tls import (
    RENEW_DAYS,
    SERVER_DAYS,
    BadTlsFiles,
    self_made_context,
    server_context,
)

NOW = datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)


def server_certificate(folder: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / "server.pem").read_bytes())


def names(folder: Path) -> set[str]:
    extensions = server_certificate(folder).extensions
    listed = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in listed}


def test_the_certificate_names_the_domain_and_loopback(tmp_path: Path) -> None:
    self_made_context(tmp_path, ["Example.test", "192.0.2.1"], NOW)
    assert names(tmp_path) == {"localhost", "127.0.0.1", "::1", "example.test", "192.0.2.1"}


def test_private_keys_are_private(tmp_path: Path) -> None:
    self_made_context(tmp_path / "tls", ["example.test"], NOW)
    assert (tmp_path / "tls").stat().st_mode & 0o777 == 0o700
    for name in ("ca-key.pem", "server-key.pem"):
        assert (tmp_path / "tls" / name).stat().st_mode & 0o777 == 0o600


def test_a_restart_keeps_authority_and_certificate(tmp_path: Path) -> None:
    _, ca_file = self_made_context(tmp_path, ["example.test"], NOW)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    self_made_context(tmp_path, ["example.test"], NOW + datetime.timedelta(days=300))
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert ca_file.name == "ca.pem"


def test_new_names_and_a_near_end_make_a_new_certificate_of_the_same_authority(
    tmp_path: Path,
) -> None:
    self_made_context(tmp_path, ["example.test"], NOW)
    ca = (tmp_path / "ca.pem").read_bytes()
    first = server_certificate(tmp_path)
    self_made_context(tmp_path, ["mail.example.test"], NOW)
    second = server_certificate(tmp_path)
    assert second != first
    assert "mail.example.test" in names(tmp_path)
    later = NOW + datetime.timedelta(days=SERVER_DAYS - RENEW_DAYS + 1)
    self_made_context(tmp_path, ["mail.example.test"], later)
    assert server_certificate(tmp_path) not in (first, second)
    assert (tmp_path / "ca.pem").read_bytes() == ca


def test_a_strict_client_accepts_the_chain(tmp_path: Path) -> None:
    context, ca_file = self_made_context(tmp_path, ["example.test"])
    client = ssl.create_default_context(cafile=str(ca_file))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    for name, fits in (("example.test", True), ("127.0.0.1", True), ("other.test", False)):
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        us = client.wrap_bio(to_client, to_server, server_hostname=name)
        them = context.wrap_bio(to_server, to_client, server_side=True)
        try:
            for _ in range(4):
                for side in (us, them):
                    try:
                        side.do_handshake()
                    except ssl.SSLWantReadError:
                        pass
            assert us.version() in ("TLSv1.2", "TLSv1.3")
            assert fits
        except ssl.SSLCertVerificationError:
            assert not fits


def test_unusable_files_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(BadTlsFiles, match="No such file"):
        server_context(tmp_path / "none.pem", tmp_path / "none-key.pem")
    (tmp_path / "bad.pem").write_bytes(b"nonsense")
    with pytest.raises(BadTlsFiles):
        server_context(tmp_path / "bad.pem", tmp_path / "bad.pem")
    (tmp_path / "ca.pem").write_bytes(b"nonsense")
    with pytest.raises(BadTlsFiles, match="authority"):
        self_made_context(tmp_path, ["example.test"])


def test_half_a_certificate_is_made_anew(tmp_path: Path) -> None:
    self_made_context(tmp_path, ["example.test"], NOW)
    whole = (tmp_path / "server.pem").read_bytes()
    (tmp_path / "server.pem").write_bytes(whole[:100])
    self_made_context(tmp_path, ["example.test"], NOW)
    assert (tmp_path / "server.pem").read_bytes() != whole[:100]
