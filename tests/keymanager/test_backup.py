"""Backups of the own keys, keys somebody brings along, and what damaged or hostile files of both can do: nothing."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.keymanager.backup import read_backup, write_backup
from leap.keymanager.errors import KeyManagerError, KeyRefused
from leap.keymanager.offered_key import (
    MAX_KEY_FILE,
    HasEnded,
    OtherAddress,
    fit_for_use,
    read_offered,
)
from leap.keymanager.openpgp import (
    Certificate,
    OpenPGPError,
    SecretKey,
    WrongPassphrase,
    apply_revocation,
    decrypt,
    encrypt,
    generate,
    revocation_certificate,
    revoke,
)
from leap.keymanager.openpgp.editing import RevocationReason
from leap.keymanager.own_keys import Kept

from .conftest import ALICE, BIRTH, BOB, DAY, Gpg

NOW = float(BIRTH + DAY)
PHRASE = "a passphrase of the backup"


def _kept(key: SecretKey) -> Kept:
    return Kept(key, revocation_certificate(key, now=BIRTH).decode())


@pytest.fixture(scope="module")
def both() -> list[Kept]:
    return [_kept(generate(ALICE, now=lambda: BIRTH)), _kept(generate(BOB, now=lambda: BIRTH))]


@pytest.fixture(scope="module")
def file(both: list[Kept]) -> bytes:
    return write_backup(both, ALICE, PHRASE)


def test_every_key_and_its_revocation_come_back(both: list[Kept], file: bytes) -> None:
    restored = read_backup(file, PHRASE)
    assert [key.to_bytes() for key, _ in restored] == [key.to_bytes() for key, _ in both]
    for key, revocation in restored:
        assert apply_revocation(key.certificate, revocation.encode()).revoked
        assert not key.certificate.revoked
    for phrase in (None, "another one"):
        with pytest.raises(WrongPassphrase):
            read_backup(file, phrase)
    assert PHRASE.encode() not in file


def test_line_ends_of_another_system_do_no_harm(both: list[Kept], file: bytes) -> None:
    restored = read_backup(file.replace(b"\n", b"\r\n"), PHRASE)
    assert [bool(one.revocation) for one in restored] == [True, True]


def test_gpg_imports_a_backup_without_revoking_and_the_revocation_when_it_is_armed(
    gpg: Gpg, both: list[Kept], file: bytes
) -> None:
    gpg("--passphrase", PHRASE, "--import", data=file)
    listed = gpg("--with-colons", "--list-secret-keys").decode()
    for key, _ in both:
        assert key.fingerprint in listed
        # what people wrote to it opens there
        message = encrypt(b"old mail", [key.certificate], now=lambda: NOW)
        assert gpg("--passphrase", PHRASE, "--decrypt", data=message) == b"old mail"
    assert "sec:r" not in listed
    start = file.index(b":-----BEGIN PGP PUBLIC")
    block = file[start : file.index(b"\n", file.index(b":-----END", start)) + 1]
    armed = block.replace(b":-----", b"-----")
    gpg("--import", data=armed, ok=False)  # it ends badly when it never made a trust database
    assert "sec:r" in gpg("--with-colons", "--list-secret-keys").decode()


def test_a_file_of_gpg_is_read_too(gpg: Gpg) -> None:
    gpg.make_key("erin@example.test", "ed25519", "sign", "1y", passphrase="of gpg")
    exported = gpg("--passphrase", "of gpg", "--export-secret-keys", "erin@example.test")
    with pytest.raises(WrongPassphrase):
        read_backup(exported, None)
    ((key, revocation),) = read_backup(exported, "of gpg")
    assert key.certificate.addresses == ("erin@example.test",)
    assert revocation == ""


def test_a_revocation_of_another_key_is_not_taken_for_ones_own(both: list[Kept]) -> None:
    mixed = [Kept(both[0].key, both[1].revocation)]
    ((_, revocation),) = read_backup(write_backup(mixed, ALICE, PHRASE), PHRASE)
    assert revocation == ""


@settings(max_examples=30, deadline=None)
@given(at=st.integers(0, 10_000), octet=st.integers(0, 255), cut=st.booleans())
def test_damaged_files_raise_only_what_is_announced(
    clear: bytes, at: int, octet: int, cut: bool
) -> None:
    at %= len(clear)
    damaged = clear[:at] if cut else clear[:at] + bytes([octet]) + clear[at + 1 :]
    try:
        found = read_backup(damaged, None)
    except (OpenPGPError, KeyManagerError):
        return
    assert found


@pytest.fixture(scope="module")
def clear(both: list[Kept]) -> bytes:
    """Not locked, so that the passphrase costs nothing."""
    parts = []
    for key, revocation in both:
        parts.append(key.armored())
        parts.append(revocation.encode().replace(b"-----BEGIN", b":-----BEGIN"))
    return b"\n".join(parts)


# --- keys somebody brings along -------------------------------------------------------------------


def test_a_good_key_is_taken_as_it_is() -> None:
    key = generate(ALICE, now=lambda: BIRTH)
    assert fit_for_use(key, ALICE, now=NOW) is key


def test_a_key_of_another_address_is_refused_or_given_the_address() -> None:
    key = generate(BOB, now=lambda: BIRTH)
    with pytest.raises(OtherAddress, match=r"bob@example.test.*--add-user-id"):
        fit_for_use(key, ALICE, now=NOW)
    fit = fit_for_use(key, ALICE, now=NOW, with_user_id=True)
    assert set(fit.certificate.addresses) == {ALICE, BOB}
    assert fit.certificate.of_address(ALICE).addresses == (ALICE,)


def test_a_key_that_has_ended_is_refused_or_extended() -> None:
    key = generate(ALICE, now=lambda: BIRTH, lifetime=3600)
    with pytest.raises(HasEnded, match="--extend"):
        fit_for_use(key, ALICE, now=NOW)
    fit = fit_for_use(key, ALICE, now=NOW, with_extension=True)
    assert fit.certificate.can_encrypt(NOW + 300 * DAY)


def test_what_can_never_be_used_is_refused() -> None:
    key = generate(ALICE, now=lambda: BIRTH)
    revoked = revoke(key, reason=RevocationReason.RETIRED, now=NOW - 1)
    with pytest.raises(KeyRefused, match="is revoked"):
        fit_for_use(revoked, ALICE, now=NOW)
    no_subkey = key.edited(Certificate(key.certificate.components[:2]))
    with pytest.raises(KeyRefused, match="cannot be used"):
        fit_for_use(no_subkey, ALICE, now=NOW)
    without_primary = SecretKey(
        key.certificate, {s.public.fingerprint: s for s in key.decryption_keys()}
    )
    with pytest.raises(KeyRefused, match="cannot be used"):
        fit_for_use(without_primary, ALICE, now=NOW)


def test_secrets_that_do_not_fit_the_public_parts_are_refused() -> None:
    """Whoever can change a key file could otherwise make its owner sign with numbers that tell the secret."""
    key, other = (generate(ALICE, now=lambda: BIRTH) for _ in range(2))
    mine, theirs = key.decryption_keys()[0], other.decryption_keys()[0]
    raw = key.to_bytes()
    assert mine.raw in raw
    swapped = raw.replace(mine.raw, theirs.raw)
    checksums = [(sum(m.raw) & 0xFFFF).to_bytes(2, "big") for m in (mine, theirs)]
    swapped = swapped.replace(theirs.raw + checksums[0], theirs.raw + checksums[1])
    tampered = SecretKey.from_bytes(swapped)
    with pytest.raises(KeyRefused, match=r"cannot be used|do not fit"):
        fit_for_use(tampered, ALICE, now=NOW)
    message = encrypt(b"x", [key.certificate], now=lambda: NOW)
    assert decrypt(message, [key]).plaintext == b"x"


def test_a_huge_file_is_refused_before_it_is_read() -> None:
    with pytest.raises(KeyRefused, match="at most"):
        read_offered(bytes(MAX_KEY_FILE + 1))
