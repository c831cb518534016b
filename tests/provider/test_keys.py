"""The key directory: names of the Web Key Directory, and what may be published."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leap.keymanager.wkd_names import advanced_path, direct_path, wkd_hash, z_base_32
from leap.provider.errors import BadRequest, NotFound
from leap.provider.keys.certificate_form import NotACertificate, check_certificate
from leap.provider.provider import Provider
from tests.conftest import needs_program
from tests.provider.world import DOMAIN

ALICE = f"alice@{DOMAIN}"
GPG_WKS = Path("/usr/lib/gnupg/gpg-wks-client")  # where Debian keeps it, off the PATH


def packet(tag: int, body: bytes) -> bytes:
    """One packet with a one- or two-octet length of the new format (RFC 9580 4.2.1)."""
    if len(body) < 192:
        return bytes([0xC0 | tag, len(body)]) + body
    first, second = divmod(len(body) - 192, 256)
    return bytes([0xC0 | tag, first + 192, second]) + body


def old_packet(tag: int, body: bytes) -> bytes:
    return bytes([0x80 | tag << 2 | 1]) + len(body).to_bytes(2, "big") + body


def certificate(user_id: bytes = b"Alice <alice@example.test>") -> bytes:
    return packet(6, b"key" * 20) + packet(13, user_id) + packet(2, b"s" * 300) + packet(14, b"sub")


def revoked(user_id: bytes = b"Alice <alice@example.test>") -> bytes:
    return packet(6, b"old" * 20) + packet(2, b"\x04\x20" + b"s" * 300) + packet(13, user_id)


def test_the_drafts_own_example() -> None:
    # draft-koch-openpgp-webkey-service 3.1
    assert wkd_hash("Joe.Doe") == "iy9q119eutrkn8s1mk4r39qejnbu3n5q"
    assert advanced_path("Joe.Doe@Example.ORG") == (
        "/.well-known/openpgpkey/example.org/hu/iy9q119eutrkn8s1mk4r39qejnbu3n5q"
    )
    assert direct_path("Joe.Doe@Example.ORG") == (
        "/.well-known/openpgpkey/hu/iy9q119eutrkn8s1mk4r39qejnbu3n5q"
    )


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"\x00", "yy"),
        (b"\xf0\xbf\xc7", "6n9hq"),  # RFC 6189 has no vectors; these two are of the z-base-32 note
        (b"\xd4\x7a\x04", "4t7ye"),
    ],
)
def test_z_base_32(data: bytes, text: str) -> None:
    assert z_base_32(data) == text


def test_names_are_those_of_gnupg() -> None:
    program = str(GPG_WKS) if GPG_WKS.exists() else needs_program("gpg-wks-client")
    for local_part in ("alice", "Bob.Smith", "a-b_c", "7"):
        printed = subprocess.run(
            [program, "--print-wkd-hash", f"{local_part}@{DOMAIN}"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        assert printed.split()[0] == wkd_hash(local_part)


async def test_a_certificate_is_found_by_address_and_by_name(
    provider: Provider, alice: int, bob: int
) -> None:
    for data in (certificate(), certificate(b"ALICE@example.test")):
        await provider.directory.put(alice, ALICE, data)
        assert (await provider.directory.find("Alice@example.test")).certificate == data
        assert await provider.directory.find_by_wkd_hash(wkd_hash("alice")) == data
    for address in (f"bob@{DOMAIN}", f"nobody@{DOMAIN}", "alice@other.test"):
        with pytest.raises(NotFound):
            await provider.directory.find(address)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00" * 50,
        b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n",
        certificate(b"Eve <eve@example.test>"),
        certificate(b"alice@example.test <eve@example.test>"),
        certificate() + packet(13, b"Bob <bob@example.test>"),
        certificate() + packet(13, b"bob@example.test"),
        certificate() + packet(13, b"Bob <BOB@elsewhere.test> \n"),
        packet(5, b"secret") + packet(13, b"alice@example.test"),
        certificate() + packet(7, b"secret subkey"),
        certificate() + certificate(),
        certificate() + revoked(b"eve@example.test"),
        certificate() + revoked() * 4,
        certificate() + packet(11, b"literal"),
        certificate()[:-1],
        certificate() + b"\xc6",
        certificate() + b"\xc6\xff\x00",
        certificate() + b"\xc6\xe1xx",
        certificate() + b"\x9b",
        packet(13, b"alice@example.test") + packet(6, b"key"),
        packet(6, b"k" * (257 * 1024 % 8000)) * 40 + packet(13, b"x" * 8000) * 40,
    ],
)
async def test_what_is_not_ones_own_public_key_is_refused(
    provider: Provider, alice: int, data: bytes
) -> None:
    with pytest.raises(BadRequest):
        await provider.directory.put(alice, ALICE, data)


def test_old_packet_headers_are_read() -> None:
    check_certificate(old_packet(6, b"key") + old_packet(13, b"<alice@example.test>"), ALICE)
    with pytest.raises(NotACertificate, match="secret"):
        check_certificate(old_packet(5, b"key") + old_packet(13, b"<alice@example.test>"), ALICE)


@given(st.binary(max_size=300), st.integers(0, 400))
def test_any_bytes_are_read_or_refused(data: bytes, at: int) -> None:
    good = certificate()
    for candidate in (data, good[:at] + data, good[:at] + data + good[at + len(data) :]):
        try:
            check_certificate(candidate, ALICE)
        except NotACertificate:
            pass


def test_real_certificates_of_our_engine_are_fine() -> None:
    from leap.keymanager.openpgp import generate

    own = generate(ALICE, name="Alice", now=lambda: 1_800_000_000.0)
    check_certificate(own.certificate.binary, ALICE)
    with pytest.raises(NotACertificate, match="secret"):
        check_certificate(own.to_bytes(), ALICE)


def test_revoked_keys_may_follow_the_one_in_use() -> None:
    # draft-koch-openpgp-webkey-service 3.1: revoked keys are distributed with the new one
    check_certificate(certificate() + revoked() * 3, ALICE)
    check_certificate(revoked(), ALICE)


def test_a_name_without_an_address_is_no_harm() -> None:
    check_certificate(certificate() + packet(13, b"Alice in Wonderland"), ALICE)


def test_hashes_are_spread() -> None:
    names = {wkd_hash(hashlib.sha256(os.urandom(4)).hexdigest()) for _ in range(50)}
    assert len(names) == 50
    assert {len(name) for name in names} == {32}
