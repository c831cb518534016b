"""Secret keys under a passphrase: locking, opening, changing it, and parts that are locked otherwise or not here."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from leap.keymanager.openpgp import (
    NoSecretKey,
    OpenPGPError,
    SecretKey,
    Unsupported,
    WrongPassphrase,
    add_signing_subkey,
    armored_secret_keys,
    change_passphrase,
    decrypt,
    encrypt,
    extend,
    generate,
    offload,
    read_secret_keys,
    recipients_of,
    rotate_encryption_subkey,
)
from leap.keymanager.openpgp.armor import dearmor
from leap.keymanager.openpgp.packets import Tag, packet, read_packets
from leap.keymanager.openpgp.public_key import PublicKey
from leap.keymanager.openpgp.secret_material import STUB

from .conftest import ALICE, BIRTH, BOB, DAY, Gpg, gpg_at_work

TEXT = b"once upon a time"
END = BIRTH + 365 * DAY
PHRASE, OTHER = "open sesame", "Öffne dich"
SECRET_TAGS = (Tag.SECRET_KEY, Tag.SECRET_SUBKEY)
CARD = b"\xff\x00\x65\x00GNU\x02\x10" + bytes(range(16))  # GnuPG's mark for a card with its number


@pytest.fixture(scope="module")
def key() -> SecretKey:
    """Primary, two encryption subkeys and one for signing."""
    made = generate(ALICE, now=lambda: BIRTH)
    return add_signing_subkey(
        rotate_encryption_subkey(made, now=BIRTH + DAY, expires=END), now=BIRTH, expires=END
    )


@pytest.fixture(scope="module")
def mixed(key: SecretKey) -> bytes:
    """The first subkey is locked with another passphrase, the second one's secret is on a card."""
    locked = [list(read_packets(key.to_bytes(phrase))) for phrase in (PHRASE, OTHER)]
    places = [n for n, p in enumerate(locked[0]) if p.tag in SECRET_TAGS]
    parts = locked[0]
    parts[places[1]] = locked[1][places[1]]
    public = PublicKey.read_prefix(parts[places[2]].body)[0].body
    parts[places[2]] = parts[places[2]]._replace(body=public + CARD)
    return b"".join(packet(tag, body) for tag, body in parts)


@pytest.mark.parametrize(
    ("version", "argon2", "usage"),
    [(4, None, 254), (4, True, 253), (6, None, 253), (6, False, 254)],
)
def test_what_is_locked_opens_with_its_passphrase_alone(
    version: int, argon2: bool | None, usage: int
) -> None:
    key = generate(ALICE, now=lambda: BIRTH, version=version)
    locked = key.armored(OTHER, argon2=argon2)
    bodies = [p.body for p in read_packets(dearmor(locked)) if p.tag in SECRET_TAGS]
    assert {PublicKey.read_prefix(body)[1][0] for body in bodies} == {usage}
    assert SecretKey.from_bytes(locked, OTHER).to_bytes() == key.to_bytes()
    for wrong in (None, OTHER.encode("latin-1")):
        with pytest.raises(WrongPassphrase):
            SecretKey.from_bytes(locked, wrong)
    with pytest.raises(WrongPassphrase, match="empty"):
        key.armored("")


def test_the_passphrase_of_a_file_of_keys_changes_on_every_part(
    alice: SecretKey, bob: SecretKey
) -> None:
    ring = armored_secret_keys([alice, bob], PHRASE)
    changed = change_passphrase(ring, PHRASE, OTHER)
    found = read_secret_keys(changed, OTHER)
    assert [k.to_bytes() for k in found] == [alice.to_bytes(), bob.to_bytes()]
    with pytest.raises(WrongPassphrase):
        read_secret_keys(changed, PHRASE)
    with pytest.raises(WrongPassphrase):
        change_passphrase(ring, OTHER, PHRASE)


def test_parts_with_another_passphrase_are_kept_locked_and_open_later(
    key: SecretKey, mixed: bytes
) -> None:
    names = key.certificate.fingerprints
    partly = SecretKey.from_bytes(mixed, PHRASE)
    assert partly.locked == (names[1],)
    assert partly.elsewhere == (names[2],)
    assert partly.to_bytes(PHRASE).count(CARD) == 1
    again = SecretKey.from_bytes(partly.to_bytes())  # as it lies in the store
    assert (again.locked, again.elsewhere) == (partly.locked, partly.elsewhere)
    old_mail = encrypt(TEXT, [key.certificate], now=lambda: BIRTH + DAY - 1)
    assert decrypt(old_mail, [key]).plaintext == TEXT
    with pytest.raises(OpenPGPError):
        decrypt(old_mail, [generate(BOB)])
    with pytest.raises(WrongPassphrase):
        partly.unlocked("neither")
    whole = partly.unlocked(OTHER)
    assert whole.locked == ()
    assert whole.elsewhere == (names[2],)
    assert partly.locked  # the first one is as it was


def test_a_passphrase_is_not_changed_by_halves(key: SecretKey, mixed: bytes) -> None:
    with pytest.raises(WrongPassphrase, match=key.certificate.fingerprints[1]):
        change_passphrase(mixed, PHRASE, "new")
    changed = change_passphrase(mixed, PHRASE, "new", others=["no", OTHER])
    found = SecretKey.from_bytes(changed, "new")
    assert found.locked == ()
    assert found.elsewhere == (key.certificate.fingerprints[2],)
    names = [p.public.fingerprint for p in found.decryption_keys()]
    assert key.certificate.keys[1].key.fingerprint in names


def test_merging_and_editing_keep_what_is_locked_or_elsewhere(key: SecretKey, mixed: bytes) -> None:
    partly = SecretKey.from_bytes(mixed, PHRASE)
    edited = extend(partly, expires=END + DAY * 365 * 3, now=BIRTH + 2 * DAY)
    assert (edited.locked, edited.elsewhere) == (partly.locked, partly.elsewhere)
    merged = partly.merge(key)
    assert merged.locked == merged.elsewhere == ()
    assert merged.to_bytes() == key.merge(partly).to_bytes() == key.to_bytes()
    assert partly.with_certificate(edited.certificate).locked == partly.locked


def test_a_key_without_its_primary_secret_is_read_kept_and_written_with_a_stub(
    key: SecretKey,
) -> None:
    subkeys = {s.public.fingerprint: s for s in key.decryption_keys()}
    offline = SecretKey(key.certificate, subkeys)
    assert key.fingerprint in offline.elsewhere
    written = offline.to_bytes()
    assert key.certificate.primary.body + STUB in written
    back = SecretKey.from_bytes(written)
    assert back.elsewhere == offline.elsewhere
    assert back.to_bytes() == written
    with pytest.raises(NoSecretKey):
        SecretKey.from_bytes(packet(Tag.SECRET_KEY, key.certificate.primary.body + STUB))
    with pytest.raises(Unsupported):
        SecretKey.from_bytes(
            packet(Tag.SECRET_KEY, key.certificate.primary.body + b"\x09" + bytes(40))
        )


def test_certificates_among_secret_keys_are_passed_over(key: SecretKey, bob: SecretKey) -> None:
    assert len(read_secret_keys(bob.certificate.binary + key.to_bytes())) == 1
    with pytest.raises(NoSecretKey):
        read_secret_keys(bob.certificate.binary)


# --- gpg -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def other_gpg() -> Iterator[Gpg]:
    with gpg_at_work() as peer:
        yield peer


def test_what_gpg_leaves_out_of_a_key_comes_back_by_merging(gpg: Gpg) -> None:
    key = generate("mover@example.test", post_quantum=True)
    ring = armored_secret_keys([key, generate("companion@example.test")], None)
    gpg("--passphrase", "", "--import", data=ring)
    assert gpg("--list-secret-keys", "companion@example.test")
    exported = SecretKey.from_bytes(gpg("--export-secret-keys", "mover@example.test"))
    assert len(exported.certificate.keys) == 2  # it knows no ML-KEM
    for merged in (exported.merge(key), key.merge(exported)):
        assert set(merged.certificate.fingerprints) == set(key.certificate.fingerprints)
        assert merged.elsewhere == ()


def test_gpgs_export_of_subkeys_alone_reads_mail_and_goes_back_to_gpg(
    gpg: Gpg, other_gpg: Gpg
) -> None:
    gpg.make_key("travel@gpg.test", "future-default", "default", "1y")
    alone = gpg("--export-secret-subkeys", "travel@gpg.test")
    key = SecretKey.from_bytes(alone)
    assert key.elsewhere == (key.fingerprint,)
    assert key.to_bytes() == SecretKey.from_bytes(key.armored()).to_bytes()
    mail = gpg("--encrypt", "-r", "travel@gpg.test", data=TEXT)
    assert decrypt(mail, [key]).plaintext == TEXT
    with pytest.raises(NoSecretKey):
        extend(key, expires=2**31, now=BIRTH)
    for octets in (key.armored(), SecretKey(key.certificate, dict(key._secrets)).armored()):
        other_gpg("--import", data=octets)
        listed = other_gpg("--with-colons", "--list-secret-keys", "travel@gpg.test").decode()
        rows = [line.split(":") for line in listed.splitlines()]
        marks = {row[0]: row[14] for row in rows if row[0] in ("sec", "ssb")}
        assert marks == {"sec": "#", "ssb": "+"}
        assert other_gpg("--decrypt", data=mail) == TEXT
    assert recipients_of(mail) == (key.certificate.key_ids[1],)


async def test_locking_and_opening_do_not_hold_up_the_loop(key: SecretKey) -> None:
    locked = await offload.lock([key], PHRASE)
    [opened] = await offload.unlock(locked, PHRASE)
    assert opened.to_bytes() == key.to_bytes()
    extended = await offload.edit(extend, opened, expires=END + 365 * 3 * DAY, now=BIRTH + DAY)
    assert extended.certificate.expires == END + 365 * 3 * DAY
