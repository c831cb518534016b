"""GnuPG as a stranger's mail program, both ways."""

from __future__ import annotations

import email
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from leap.keymanager.discovery.mail_keys import MailKeys
from leap.keymanager.openpgp import decrypt, read_certificates
from leap.keymanager.trust import Level
from leap.mail.outgoing.pgp_mime import find_ciphertext, wrap
from tests.conftest import needs_program
from tests.mail.travel import DOMAIN, FakeProvider, Person, mail, open_person, own_key

ALICE, BOB = f"alice@{DOMAIN}", f"bob@{DOMAIN}"
STRANGER = "stranger@elsewhere.test"
Gpg = Callable[..., bytes]


@pytest.fixture
def gpg(tmp_path: Path) -> Iterator[Gpg]:
    """Runs gpg in a home of its own, with alice's certificate and a key of a stranger."""
    program = needs_program("gpg")
    home = tmp_path / "g"
    home.mkdir(mode=0o700)

    def run(*arguments: str, data: bytes = b"") -> bytes:
        command = [program, "--homedir", str(home), "--batch", "--quiet", "--trust-model", "always"]
        done = subprocess.run([*command, *arguments], input=data, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("--import", data=own_key("bob").certificate.binary)
    run("--import", data=own_key("alice").certificate.binary)
    run(
        "--passphrase",
        "",
        "--quick-generate-key",
        f"Stranger <{STRANGER}>",
        "ed25519",
        "sign",
        "never",
    )
    run("--passphrase", "", "--quick-add-key", _fingerprint(run), "cv25519", "encr", "never")
    yield run
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)


def _fingerprint(run: Gpg) -> str:
    lines = run("--with-colons", "--list-keys", STRANGER).decode().splitlines()
    return next(line.split(":")[9] for line in lines if line.startswith("fpr"))


async def test_gpg_mail_is_opened_and_its_signature_judged(
    provider: FakeProvider, tmp_path: Path, gpg: Gpg
) -> None:
    bob = await open_person(provider, tmp_path / "bob", "bob", clock=_Now())
    provider.certificates[STRANGER] = read_certificates(gpg("--export", STRANGER))[0].binary
    entity = b"Content-Type: text/plain; charset=utf-8\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n"
    armored = gpg(
        "--armor", "--sign", "--encrypt", "--local-user", STRANGER, "-r", BOB, data=entity
    )
    outer = [("From", f"Stranger <{STRANGER}>"), ("To", BOB), ("Subject", "from gpg")]
    provider.deliver(BOB, wrap(outer, None, armored, "=_g"))
    await bob.incoming.process_once()
    (served,) = await bob.messages()
    assert served.startswith(b"X-Leap-Encryption: decrypted\r\nX-Leap-Signature: valid; ")
    assert b"Subject: from gpg\r\n" in served
    assert served.endswith(entity)
    await bob.close()


async def test_gpg_opens_what_we_send_and_finds_the_protected_header(
    alice: Person, provider: FakeProvider, gpg: Gpg
) -> None:
    provider.certificates[STRANGER] = read_certificates(gpg("--export", STRANGER))[0].binary
    alice.clock.time = _Now()()
    raw = mail(to=STRANGER, extra=b"Content-Type: text/plain; charset=us-ascii\r\n")
    await alice.outgoing.submit(raw, ALICE, [STRANGER])
    await alice.sender.process_due()
    message = provider.submitted[0][3]
    payload = gpg("--decrypt", data=find_ciphertext(message) or b"")
    shown = email.message_from_bytes(payload)
    assert shown["Subject"] == "The secret plan"
    assert shown.get_param("hp") == "cipher"
    assert shown.get_payload() == "Hello Bob.\r\n"
    assert email.message_from_bytes(message)["Subject"] == "[...]"


def _signed(gpg: Gpg, sender: str) -> bytes:
    """A mail as Enigmail writes it: signed, with the writer's key in what is signed."""
    key = gpg("--armor", "--export", STRANGER).replace(b"\n", b"\r\n")
    content = (
        b"Content-Type: multipart/mixed; boundary=in\r\n\r\n--in\r\nContent-Type: text/plain\r\n\r\n"
        b"My key is with it.\r\n--in\r\nContent-Type: application/pgp-keys; name=key.asc\r\n\r\n"
        + key
        + b"\r\n--in--\r\n"
    )
    signature = gpg("--armor", "--detach-sign", "--local-user", STRANGER, data=content)
    return (
        f"From: {sender}\r\nTo: {BOB}\r\nMessage-ID: <first@elsewhere.test>\r\n".encode()
        + b'Content-Type: multipart/signed; protocol="application/pgp-signature"; boundary=out\r\n\r\n--out\r\n'
        + content
        + b"\r\n--out\r\nContent-Type: application/pgp-signature\r\n\r\n"
        + signature
        + b"\r\n--out--\r\n"
    )


async def _answer(person: Person, to: str) -> bytes:
    await person.outgoing.submit(mail(sender=BOB, to=to), BOB, [to])
    await person.sender.process_due()
    return person.provider.submitted[-1][3]


async def test_a_stranger_who_signs_and_attaches_the_key_is_answered_encrypted(
    provider: FakeProvider, tmp_path: Path, gpg: Gpg
) -> None:
    bob = await open_person(provider, tmp_path / "bob", "bob", clock=_Now())
    bob.keys.mail_keys = MailKeys(bob.keys.keyring, bob.store, None, own_address=BOB, now=bob.clock)
    raw = _signed(gpg, STRANGER)
    provider.deliver(BOB, raw.replace(b"My key", b"No key"))
    await bob.incoming.process_once()
    assert await bob.keys.find_certificate(STRANGER) is None
    provider.deliver(BOB, raw)
    await bob.incoming.process_once()
    assert b"X-Leap-Signature: valid" not in (await bob.messages())[-1]
    answer = await _answer(bob, STRANGER)
    assert b"secret plan" in gpg("--decrypt", data=find_ciphertext(answer) or b"")
    [info] = [one for one in await bob.keys.list_keys() if one.address == STRANGER]
    assert info.level == Level.WEAK_CHAIN.word
    assert info.evidence[0].authentication == "signed by the attached key"
    provider.deliver(BOB, raw.replace(b"Message-ID: <first@", b"Message-ID: <second@"))
    await bob.incoming.process_once()
    assert b"X-Leap-Signature: valid" in (await bob.messages())[-1]
    await bob.close()


async def test_what_the_directory_says_stands_against_an_attached_key(
    provider: FakeProvider, tmp_path: Path, gpg: Gpg
) -> None:
    bob = await open_person(provider, tmp_path / "bob", "bob", clock=_Now())
    bob.keys.mail_keys = MailKeys(bob.keys.keyring, bob.store, None, own_address=BOB, now=bob.clock)
    gpg("--quick-add-uid", STRANGER, f"Alice <{ALICE}>")
    provider.lookup_fails = True
    provider.deliver(BOB, _signed(gpg, ALICE))
    await bob.incoming.process_once()
    theirs = await bob.keys.keyring.find(ALICE)
    assert theirs is not None
    assert theirs.level is Level.WEAK_CHAIN
    provider.lookup_fails = False
    provider.certificates[ALICE] = own_key("alice").certificate.binary
    answer = await _answer(bob, ALICE)
    assert b"secret plan" in decrypt(find_ciphertext(answer) or b"", [own_key("alice")]).plaintext
    provider.deliver(BOB, _signed(gpg, ALICE))
    await bob.incoming.process_once()
    bound = await bob.keys.keyring.find(ALICE)
    assert bound is not None
    assert bound.certificate.fingerprint == own_key("alice").fingerprint
    assert bound.binding.alert is None
    assert b"X-Leap-Signature: valid" not in (await bob.messages())[-1]
    await bob.close()


class _Now:
    """The real time: gpg makes keys now, and knows no other clock."""

    def __init__(self) -> None:
        self.time = time.time() + 1

    def __call__(self) -> float:
        return float(self.time)
