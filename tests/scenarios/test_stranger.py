"""Alice and a stranger who has neomutt, GnuPG and Postfix: mail is read, verified, and told when altered, both ways."""

from __future__ import annotations

import email.policy
import re
from collections.abc import Iterator
from email.message import EmailMessage
from functools import partial
from pathlib import Path

import pytest

from tests.scenarios.stranger import (
    ALICE,
    CAROL,
    CLEARSIGN,
    Correspondence,
    correspondence,
    fingerprints,
)

SUBJECT = "Größere Pläne"
TEXT = "Liebe Carol,\ndie Prüfung fällt auf Donnerstag.\n"
PLAN = b"\x00\xff\r\n\n" * 500
ANSWER = "Schöne Grüße zurück. \n\nFrom here on: -- \n- a dash, a dot\n.\n"
SIGN = "set crypt_autosign=yes"
ENCRYPT = "set crypt_autosign=yes crypt_autoencrypt=yes crypt_protected_headers_write=yes"


@pytest.fixture(scope="module")
def between(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Correspondence]:
    with correspondence(tmp_path_factory.mktemp("stranger")) as made:
        yield made


def letter(name: str, *fields: tuple[str, str]) -> bytes:
    """What alice's mail program sends: text and a file, in 8 bits."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = f"Alice <{ALICE}>", CAROL, SUBJECT
    message["Message-ID"] = f"<{name}@example.test>"
    for field in fields:
        message.add_header(*field)
    message.set_content(TEXT, cte="8bit")
    message.add_attachment(PLAN, "application", "x-plan", filename="plan.bin")
    return message.as_bytes(policy=email.policy.SMTP)


def readable(name: str) -> bytes:
    return letter(name, ("X-Leap-Encrypt", "never"), ("X-Leap-Sign", "yes"))


def parsed(raw: bytes) -> EmailMessage:
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def text_of(raw: bytes) -> str:
    body = parsed(raw).get_body(("plain",))
    assert body is not None
    return str(body.get_content()).replace("\r\n", "\n")


def altered(raw: bytes, old: bytes, new: bytes) -> bytes:
    assert raw.count(old) == 1, raw
    return raw.replace(old, new)


def damaged(raw: bytes) -> list[bytes]:
    """The mail with another octet in what is encrypted, behind the session keys; and in its integrity check."""
    begin = raw.index(b"-----BEGIN PGP MESSAGE")
    end = re.search(rb"\s*(\n=[\w+/]{4})?\r?\n-----END PGP MESSAGE", raw)
    assert end is not None
    found = []
    for place in ((begin + 3 * end.start()) // 4, end.start() - 12):
        while not raw[place : place + 1].isalnum():
            place += 1
        other = b"B" if raw[place : place + 1] == b"A" else b"A"
        found.append(raw[:place] + other + raw[place + 1 :])
    return found


def test_a_stranger_reads_and_verifies_what_alice_encrypts(
    between: Correspondence, tmp_path: Path
) -> None:
    arrived = between.to_carol(letter("encrypted"))
    assert b"Subject: [...]\n" in arrived
    assert b"Donnerstag" not in arrived
    seen = between.carol.see(arrived)
    assert "Good signature from: alice@example.test" in seen
    assert "WARNING" not in seen
    assert "PGP/MIME signed and encrypted" in seen
    assert f"Subject: {SUBJECT}\n" in seen
    assert TEXT in seen
    saved = tmp_path / "plan"
    keys = f"<view-attachments><last-entry><save-entry><kill-line>{saved}<enter><exit><quit>"
    between.carol.do(arrived, keys)
    assert saved.read_bytes() == PLAN


def test_a_strangers_encrypted_answer_is_opened_verified_and_in_its_thread(
    between: Correspondence,
) -> None:
    carol = between.carol
    arrived = between.to_carol(letter("asked"))
    served = between.to_alice(lambda: carol.answer(arrived, ANSWER, ENCRYPT))
    assert b"Subject: ...\n" in carol.posted[-1]
    assert b"multipart/encrypted" in carol.posted[-1]
    assert served.startswith(b"X-Leap-Encryption: decrypted\r\nX-Leap-Signature: valid; ")
    assert carol.key.encode() in served.partition(b"\r\n\r\n")[0]
    message = parsed(served)
    assert message["Subject"] == f"Re: {SUBJECT}"
    assert message["In-Reply-To"] == "<asked@example.test>"
    assert text_of(served).startswith(ANSWER)
    assert "> die Prüfung fällt auf Donnerstag." in text_of(served)


def test_what_a_stranger_only_signs_is_valid(between: Correspondence) -> None:
    served = between.to_alice(lambda: between.carol.write("signed", ANSWER, SIGN))
    assert b"multipart/signed" in between.carol.posted[-1]
    assert served.startswith(b"X-Leap-Encryption: provider\r\nX-Leap-Signature: valid; ")
    assert text_of(served) == ANSWER


def test_what_a_stranger_signs_as_clear_text_is_valid(between: Correspondence) -> None:
    served = between.to_alice(lambda: between.carol.write("inline", ANSWER, CLEARSIGN))
    assert b"-----BEGIN PGP SIGNED MESSAGE-----" in between.carol.posted[-1]
    assert served.startswith(b"X-Leap-Encryption: provider\r\nX-Leap-Signature: valid; ")
    # RFC 9580 7.2: white space at the ends of lines is no part of what is signed
    assert [line.rstrip() for line in ANSWER.splitlines()] == text_of(served).splitlines()


def test_a_stranger_verifies_what_alice_only_signs(between: Correspondence) -> None:
    arrived = between.to_carol(readable("signed"))
    assert arrived.isascii()  # whatever relay it meets, nothing needs to be changed
    seen = between.carol.see(arrived)
    assert "Good signature from: alice@example.test" in seen
    assert TEXT in seen


def test_a_stranger_is_told_that_a_mail_of_alice_was_altered(between: Correspondence) -> None:
    carol = between.carol
    seen = carol.see(altered(between.to_carol(readable("bad")), b"Donnerstag", b"Freitag"))
    assert "*BAD* signature from: alice@example.test" in seen
    assert "Good signature" not in seen
    for raw in damaged(between.to_carol(letter("damaged"))):
        seen = carol.see(raw)
        assert "Error: decryption failed" in seen
        assert "Good signature" not in seen
        assert "Donnerstag" not in seen


@pytest.mark.parametrize("how", [SIGN, CLEARSIGN], ids=["multipart", "inline"])
def test_alice_is_told_that_a_signed_mail_of_a_stranger_was_altered(
    between: Correspondence, how: str
) -> None:
    carol = between.carol
    between.to_alice(lambda: carol.write("signed", "On Thursday.\n", how))
    forged = altered(carol.posted[-1], b"On Thursday.", b"On Friday.")
    served = between.to_alice(lambda: carol.post(forged))
    assert re.match(rb"X-Leap-Encryption: provider\r\nX-Leap-Signature: bad[;\r]", served)
    assert b"valid" not in served.partition(b"\r\n\r\n")[0]


def test_alice_is_shown_nothing_of_an_encrypted_mail_that_was_altered(
    between: Correspondence,
) -> None:
    carol = between.carol
    between.to_alice(lambda: carol.write("secret", "On Thursday.\n", ENCRYPT))
    for raw in damaged(carol.posted[-1]):
        served = between.to_alice(partial(carol.post, raw))
        assert served.startswith(b"X-Leap-Encryption: undecryptable\r\nX-Leap-Signature: none\r\n")
        assert b"Thursday" not in served


def test_alice_is_told_that_somebody_else_signed_in_the_strangers_name(
    between: Correspondence,
) -> None:
    carol = between.carol
    carol.gpg.make_key(f"Another <{CAROL}>", "ed25519", "sign", "never")
    other = [key for key in fingerprints(carol.gpg, CAROL) if key != carol.key][-1]
    as_another = f"set crypt_autosign=yes pgp_default_key={other} pgp_sign_as={other}"
    served = between.to_alice(lambda: carol.write("not carol", "Trust me.\n", as_another))
    assert served.startswith(b"X-Leap-Encryption: provider\r\nX-Leap-Signature: unknown-key")
