"""The certificate that servers on this machine show: what it is good for, when it is made anew."""

from __future__ import annotations

import datetime
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from leap.soledad.local_certificate import DAYS, fingerprint, local_tls

NOW = datetime.datetime(2026, 11, 2, tzinfo=datetime.UTC)


def certificate(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def names(file: Path) -> set[str]:
    found = certificate(file).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return {str(name.value) for name in found.value}


def test_it_names_this_machine_and_can_sign_nothing(tmp_path: Path) -> None:
    file = tmp_path / "tls/local.pem"
    context = local_tls(file, ["192.0.2.7", "desk.example.test"], NOW)
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert names(file) == {"localhost", "127.0.0.1", "::1", "192.0.2.7", "desk.example.test"}
    made = certificate(file)
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert made.not_valid_after_utc - NOW == datetime.timedelta(days=DAYS)
    assert stat.S_IMODE((tmp_path / "tls/local-key.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700
    assert len(fingerprint(file)) == 95


def test_it_stays_until_names_or_time_ask_for_another(tmp_path: Path) -> None:
    file = tmp_path / "local.pem"
    local_tls(file, ["desk.example.test"], NOW)
    first = file.read_bytes()
    local_tls(file, [], NOW + datetime.timedelta(days=DAYS - 31))
    assert file.read_bytes() == first
    local_tls(file, ["192.0.2.8"], NOW)
    second = file.read_bytes()
    assert second != first
    local_tls(file, ["192.0.2.8"], NOW + datetime.timedelta(days=DAYS - 29))
    assert file.read_bytes() != second


@pytest.mark.parametrize("damage", ["certificate", "key", "no key"])
def test_damaged_files_are_made_anew(tmp_path: Path, damage: str) -> None:
    file, key = tmp_path / "local.pem", tmp_path / "local-key.pem"
    local_tls(file, [], NOW)
    first = file.read_bytes()
    if damage == "no key":
        key.unlink()
    else:
        (file if damage == "certificate" else key).write_bytes(b"nothing")
    local_tls(file, [], NOW)
    assert file.read_bytes() != first
