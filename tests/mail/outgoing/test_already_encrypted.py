"""Mail that the mail program encrypted passes untouched, and nothing else passes as encrypted."""

from __future__ import annotations

import pytest

from leap.keymanager.openpgp.armor import armor
from leap.keymanager.openpgp.packets import Tag, packet
from leap.mail.contract import NotPermitted
from leap.mail.outgoing.pgp_mime import find_ciphertext
from tests.mail.travel import DOMAIN, Person, mail

ALICE, BOB = f"alice@{DOMAIN}", f"bob@{DOMAIN}"

# A wrapped key and encrypted data, as short as they can be.
_WRAPPED = packet(Tag.PKESK, b"\x03", bytes(8), b"\x01\x00\x01\x01")
_HIDDEN = _WRAPPED + packet(Tag.SEIPD, b"\x01", bytes(40))
_LITERAL = packet(Tag.LITERAL, b"b\0", bytes(4), b"readable\r\n")


def armored(octets: bytes) -> bytes:
    return armor(octets, "MESSAGE").rstrip().replace(b"\n", b"\r\n")


def pgp_mime(block: bytes, control: bytes = b"Version: 1", after: bytes = b"") -> bytes:
    return (
        b'Content-Type: multipart/encrypted; protocol="application/pgp-encrypted"; boundary=b\r\n\r\n'
        b"--b\r\nContent-Type: application/pgp-encrypted\r\n\r\n" + control + b"\r\n"
        b"--b\r\nContent-Type: application/octet-stream\r\n\r\n" + block + b"\r\n--b--\r\n" + after
    )


ENCRYPTED = {
    "pgp-mime": pgp_mime(armored(_HIDDEN)),
    "inline": b"\r\n" + armored(_HIDDEN) + b"\r\n",
    "s-mime": b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nMIAGCSqGSIb3DQEHA6CAMIACAQ==\r\n",
}


@pytest.mark.parametrize("kind", ENCRYPTED)
async def test_what_the_mail_program_encrypted_passes_unchanged(
    alice: Person, bob: Person, kind: str
) -> None:
    raw = mail()[: -len(b"\r\nHello Bob.\r\n")] + ENCRYPTED[kind]
    await alice.outgoing.submit(raw, ALICE, [BOB, "eve@elsewhere.test"])
    await alice.sender.process_due()
    assert alice.provider.submitted[0][3] == raw
    await bob.incoming.process_once()
    (served,) = await bob.messages()
    assert served.startswith(b"X-Leap-Encryption: undecryptable\r\nX-Leap-Signature: none\r\n")
    assert served.endswith(raw)


@pytest.mark.parametrize(
    "body",
    [
        b'Content-Type: multipart/encrypted; protocol="application/pgp-encrypted"; boundary=b\r\n\r\n'
        b"--b\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n"
        b"--b\r\n\r\nreadable text\r\n--b--\r\n",
        b"\r\nreadable\r\n-----BEGIN PGP MESSAGE-----\r\n\r\nwcBM\r\n-----END PGP MESSAGE-----\r\n",
        b"\r\n-----BEGIN PGP MESSAGE-----\r\n\r\nwcBM\r\n-----END PGP MESSAGE-----\r\nreadable\r\n",
        b"\r\n-----BEGIN PGP MESSAGE-----\r\n\r\nreadable, this is!\r\n-----END PGP MESSAGE-----\r\n",
        b"Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n\r\nreadable\r\n",
        b"\r\n-----BEGIN PGP MESSAGE-----\r\n\r\nreadable words only\r\n-----END PGP MESSAGE-----\r\n",
        b"\r\n" + armored(_WRAPPED + _LITERAL) + b"\r\n",
        b"\r\n" + armored(_HIDDEN + _LITERAL) + b"\r\n",
        pgp_mime(armored(_LITERAL)),
        pgp_mime(b"-----BEGIN PGP MESSAGE-----\r\n\r\nreadable\r\n-----END PGP MESSAGE-----"),
        pgp_mime(armored(_HIDDEN) + b"\r\nreadable"),
        pgp_mime(armored(_HIDDEN) + b"\r\nreadable\r\n" + armored(_HIDDEN)),
        pgp_mime(armored(_HIDDEN), control=b"Version: 1\r\nreadable"),
        pgp_mime(armored(_HIDDEN), after=b"readable\r\n"),
        pgp_mime(armored(_HIDDEN), after=b"--b\r\n\r\nreadable\r\n--b--\r\n"),
        b"Content-Type: application/pkcs7-mime; smime-type=signed-data\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\nMIAGCSqGSIb3DQEHAqCAMIACAQ==\r\n",
    ],
)
async def test_what_only_looks_encrypted_is_encrypted(
    alice: Person, bob: Person, body: bytes
) -> None:
    raw = mail()[: -len(b"\r\nHello Bob.\r\n")] + body
    await alice.outgoing.submit(raw, ALICE, [BOB])
    await alice.sender.process_due()
    assert find_ciphertext(alice.provider.submitted[0][3]) != find_ciphertext(raw)
    assert b"readable" not in alice.provider.submitted[0][3]
    assert b"MIAGCS" not in alice.provider.submitted[0][3]
    await bob.incoming.process_once()
    (served,) = await bob.messages()
    assert served.endswith(raw)


async def test_what_gpg_signed_without_encrypting_does_not_count_as_encrypted(
    alice: Person,
) -> None:
    raw = mail(extra=b"X-Leap-Encrypt: require\r\n", body=armored(_LITERAL) + b"\r\n")
    with pytest.raises(NotPermitted, match="no key was found"):
        await alice.outgoing.submit(raw, ALICE, ["eve@elsewhere.test"])
