"""GnuPG's own AEAD container, and EAX: the published samples, and a writer made after the draft."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESOCB3

from leap.keymanager.openpgp import (
    IntegrityError,
    Malformed,
    NoSecretKey,
    OpenPGPError,
    SecretKey,
    Unsupported,
    decrypt,
    decrypt_with_passphrase,
    recipients_of,
)
from leap.keymanager.openpgp.contents import literal
from leap.keymanager.openpgp.eax import AESEAX
from leap.keymanager.openpgp.packets import Tag, packet
from leap.keymanager.openpgp.session_key import SessionKey, wrap

# draft-koch-librepgp-04, appendix A.3 (OCB), and draft-koch-openpgp-2015-rfc4880bis-00 (EAX)
SAMPLES = {
    "OCB": (
        "c33d05070203089f0b7da3e5ea64779099e326e5400a90936cefb4e8eba08c6773716d1f2714540a38fcac5299"
        "49dac529d3de31e15b4aeb729e330033dbedd4490107020e5ed2bc1e470abe8f1d644c7a6c8a567b0f77011966"
        "11a154ba9c2574cd056284a8ef68035c623d93cc708a43211bb6eaf2b27f7c18d571bcd83b20add3a08b73af15"
        "b9a098"
    ),
    "EAX": (
        "c33e0507010308cd5a9f70fbe0bc6590bc669e34e500dcaedc5b32aa2dab02359dee19d07c3446c4312a34ae19"
        "67a2fb7e928ea5b4fa8012bd456d1738c63c36d44a0107010eb732379f73c4928de25facfe6517ec105dc11a81"
        "dc0cb8a2f6f3d90016384a56fc821ae11ae8dbcb49862655dea88d06a81486801b0ff387bd2eab013de1259586"
        "906eab2476"
    ),
}
SESSION = SessionKey(9, bytes(range(32)))
IV = bytes(range(100, 115))


def sealed(packets: bytes, chunk: int, *, session: SessionKey = SESSION) -> bytes:
    """The body of an OCB encrypted data packet (LibrePGP 5.16)."""
    header = bytes([0xD4, 1, session.cipher or 0, 2, chunk])
    cipher = AESOCB3(session.key)
    body = header[1:] + IV
    step = 1 << (chunk + 6)
    pieces = [packets[at : at + step] for at in range(0, len(packets), step)]
    for index in range(len(pieces) + 1):
        counted = IV[:7] + bytes(
            a ^ b for a, b in zip(IV[7:], index.to_bytes(8, "big"), strict=True)
        )
        data = header + index.to_bytes(8, "big")
        if index < len(pieces):
            body += cipher.encrypt(counted, pieces[index], data)
        else:
            body += cipher.encrypt(counted, b"", data + len(packets).to_bytes(8, "big"))
    return body


def message(body: bytes, key: SecretKey) -> bytes:
    return wrap(SESSION, key.decryption_keys()[0].public) + packet(Tag.OCB, body)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_published_samples_open(name: str) -> None:
    data = bytes.fromhex(SAMPLES[name])
    assert decrypt_with_passphrase(data, "password").plaintext == b"Hello, world!\n"
    for at in range(-80, 0, 7):
        changed = bytearray(data)
        changed[at] ^= 1
        with pytest.raises(OpenPGPError):
            decrypt_with_passphrase(bytes(changed), "password")


@pytest.mark.parametrize("size", [0, 50, 58, 59, 200, 5_000])
def test_mail_in_this_container_opens_whatever_its_length(bob: SecretKey, size: int) -> None:
    data = bytes(index % 251 for index in range(size))
    for chunk in (0, 3, 16):
        mail = message(sealed(literal(data), chunk), bob)
        opened = decrypt(mail, [bob])
        assert opened.plaintext == data
        assert decrypt(mail, [], session_key=opened.session_key).plaintext == data
        assert recipients_of(mail) == opened.recipients


def test_its_changes_are_noticed_and_its_chunks_cannot_be_moved(bob: SecretKey) -> None:
    body = sealed(literal(bytes(200)), 0)
    head, rest = body[:19], body[19:]
    chunks = [rest[at : at + 80] for at in range(0, len(rest), 80)]
    assert len(chunks) == 4
    for wrong in (
        [chunks[1], chunks[0], *chunks[2:]],
        [chunks[0], *chunks[2:]],
        [chunks[0], chunks[0], *chunks[1:]],
        chunks[:3],
        [*chunks[:3], chunks[3][:-1]],
        [*chunks, b"x"],
        [rest[-16:]],
    ):
        with pytest.raises(IntegrityError):
            decrypt(message(head + b"".join(wrong), bob), [bob])
    for at in range(4, len(body), 5):
        changed = bytearray(body)
        changed[at] ^= 0x40
        with pytest.raises(IntegrityError):
            decrypt(message(bytes(changed), bob), [bob])


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"\x02\x09\x02\x00" + bytes(31), Unsupported),
        (b"\x01\x03\x02\x00" + bytes(31), Unsupported),
        (b"\x01\x09\x03\x00" + bytes(31), Unsupported),
        (b"\x01\x09\x02\x11" + bytes(31), Malformed),
        (b"\x01\x07\x02\x00" + bytes(31), NoSecretKey),
        (b"\x01\x09\x02\x00" + bytes(30), Malformed),
        (b"\x01\x09\x02\x00" + bytes(3), Malformed),
        (b"", Malformed),
    ],
)
def test_heads_that_mean_nothing_are_refused(
    bob: SecretKey, body: bytes, error: type[OpenPGPError]
) -> None:
    with pytest.raises(error):
        decrypt(message(body, bob), [bob])


@pytest.mark.parametrize(
    ("key", "nonce", "data", "clear", "sealed_text"),
    [  # the EAX paper, appendix G
        (
            "233952DEE4D5ED5F9B9C6D6FF80FF478",
            "62EC67F9C3A4A407FCB2A8C49031A8B3",
            "6BFB914FD07EAE6B",
            "",
            "E037830E8389F27B025A2D6527E79D01",
        ),
        (
            "91945D3F4DCBEE0BF45EF52255F095A4",
            "BECAF043B0A23D843194BA972C66DEBD",
            "FA3BFD4806EB53FA",
            "F7FB",
            "19DD5C4C9331049D0BDAB0277408F67967E5",
        ),
        (
            "8395FCF1E95BEBD697BD010BC766AAC3",
            "22E7ADD93CFC6393C57EC0B3C17D6B44",
            "126735FCC320D25A",
            "CA40D7446E545FFAED3BD12A740A659FFBBB3CEAB7",
            "CB8920F87A6C75CFF39627B56E3ED197C552D295A7CFC46AFC253B4652B1AF3795B124AB6E",
        ),
    ],
)
def test_eax_is_the_papers(key: str, nonce: str, data: str, clear: str, sealed_text: str) -> None:
    cipher = AESEAX(bytes.fromhex(key))
    text = bytes.fromhex(sealed_text)
    assert cipher.decrypt(bytes.fromhex(nonce), text, bytes.fromhex(data)).hex().upper() == clear
    for at in range(len(text)):
        changed = text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :]
        with pytest.raises(InvalidTag):
            cipher.decrypt(bytes.fromhex(nonce), changed, bytes.fromhex(data))
    with pytest.raises(InvalidTag):
        cipher.decrypt(bytes.fromhex(nonce), text[:15], bytes.fromhex(data))
