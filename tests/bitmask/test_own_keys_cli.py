"""`bitmask keys` for one's own keys, with a real daemon, a real provider and Debian's gpg."""

from __future__ import annotations

import json
import os
import shutil
import smtplib
import ssl
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from leap.keymanager.openpgp import Certificate, encrypt, generate, read_certificates
from leap.keymanager.openpgp.algorithms import ML_KEM
from leap.keymanager.wkd_names import direct_path
from tests.bitmask.command import bitmask
from tests.conftest import needs_program
from tests.keymanager.conftest import Gpg
from tests.scenarios.world import PASSPHRASES, Device, World, world

ALICE, BOB, CAROL = "alice@example.test", "bob@example.test", "carol@example.test"
DAVE = "dave@example.test"
OLD = "alice@old.test"
KEY_PASSPHRASE, BACKUP_PASSPHRASE = "of the key of old", "of the backup alone"
DAY = 24 * 3600


class Desk:
    """A device, and the command on it."""

    def __init__(self, made: World) -> None:
        self.world = made
        self.device: Device = made.device("desk")

    def __call__(
        self, *arguments: str, stdin: str = "", code: int = 0, terminal: bool = False
    ) -> str:
        """What the command says, after checking its exit code."""
        home = self.device.home.path
        done = bitmask(home, *arguments, stdin=stdin, code=code, terminal=terminal)
        return done.stdout + done.stderr

    def json(self, *arguments: str, stdin: str = "", code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", stdin=stdin, code=code).splitlines()[0])

    def created(self, person: str, *arguments: str, **how: Any) -> str:
        where = self.world.provider.said
        place = ("--api", where["api"], "--ca", where["ca"])
        return self("user", "create", f"{person}@example.test", *place, *arguments, **how)

    def create(self, person: str, *arguments: str, stdin: str = "", code: int = 0) -> Any:
        lines = f"{PASSPHRASES[person]}\n{stdin}"
        said = self.created(person, *arguments, "--json", stdin=lines, code=code)
        answer = json.loads(said.splitlines()[0])
        if code == 0:
            self.device.logins[person] = answer
        return answer

    def published(self, address: str) -> Certificate:
        """What the Web Key Directory of the provider serves."""
        said = self.world.provider.said
        trust = ssl.create_default_context(cafile=said["ca"])
        with urllib.request.urlopen(said["api"] + direct_path(address), context=trust) as answer:
            return read_certificates(answer.read())[0]

    def eventually(self, what: str, check: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not check():
            assert time.monotonic() < deadline, what
            time.sleep(0.05)

    def send_sealed(self, person: str, certificate: Certificate, to: str, text: str) -> None:
        """A mail that somebody encrypted long ago to another key of the recipient."""
        entity = f"Content-Type: text/plain\r\n\r\n{text}\r\n".encode()
        armored = encrypt(entity, [certificate]).decode("ascii").replace("\n", "\r\n")
        mail = (
            f"From: {person}@example.test\r\nTo: {to}\r\nSubject: of old\r\n"
            f"Message-ID: <{os.urandom(8).hex()}@example.test>\r\n"
            "Date: Sun, 22 Nov 2026 12:00:00 +0000\r\nMIME-Version: 1.0\r\n"
            'Content-Type: multipart/encrypted; protocol="application/pgp-encrypted"; boundary=x'
            "\r\n\r\n--x\r\nContent-Type: application/pgp-encrypted\r\n\r\nVersion: 1\r\n\r\n"
            f"--x\r\nContent-Type: application/octet-stream\r\n\r\n{armored}\r\n--x--\r\n"
        )
        with self.device.smtp(person) as smtp:
            smtp.sendmail(f"{person}@example.test", [to], mail.encode())


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with world(tmp_path_factory.mktemp("own")) as made:
        yield Desk(made)


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gpg]:
    needs_program("gpg")
    home = Path(tempfile.mkdtemp(prefix="g-", dir="/tmp"))
    peer = Gpg(home)
    yield peer
    peer.close()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def rsa_key(gpg: Gpg, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A locked RSA key of another address that ends in 30 days, as gpg exports it."""
    gpg.make_key(OLD, "rsa2048", "default", "30d", passphrase=KEY_PASSPHRASE)
    listed = gpg("--with-colons", "--list-keys", OLD).decode().splitlines()
    name = next(line.split(":")[9] for line in listed if line.startswith("fpr"))
    gpg("--passphrase", KEY_PASSPHRASE, "--quick-add-key", name, "rsa2048", "encr", "30d")
    exported = gpg("--passphrase", KEY_PASSPHRASE, "--armor", "--export-secret-keys", OLD)
    path = tmp_path_factory.mktemp("key") / "old.asc"
    path.write_bytes(exported)
    return path


def test_signing_up_with_the_key_one_has(desk: Desk, rsa_key: Path) -> None:
    brought = ("--key", str(rsa_key))
    empty = rsa_key.with_name("empty.asc")
    empty.write_bytes(b"")
    refused = desk.create("alice", "--key", str(empty), code=2)
    assert refused["message"] == f"{empty} is empty."
    refused = desk.create("alice", *brought, stdin=KEY_PASSPHRASE, code=1)
    assert refused["error"] == "other-address"
    assert "--add-user-id" in refused["message"]
    assert OLD in refused["message"]
    wrong = desk.create("alice", *brought, "--add-user-id", stdin="not that one", code=3)
    assert wrong["error"] == "wrong-passphrase"
    assert desk.json("user", "list") == []
    made = desk.create("alice", *brought, "--add-user-id", stdin=KEY_PASSPHRASE)
    fingerprint = Certificate.from_bytes(rsa_key.read_bytes()).fingerprint
    assert made["fingerprint"] == fingerprint
    assert made["key"] == {"fingerprint": fingerprint, "published": True, "problem": ""}
    (listed,) = desk.json("keys", "list")
    assert (listed["own"], listed["in_use"], listed["published"]) == (True, True, True)

    def is_extended() -> bool:
        end = desk.published(ALICE).expires
        return end is not None and end > time.time() + 300 * DAY

    desk.eventually("a key that ends in 30 days is extended by itself", is_extended)
    assert desk.published(ALICE).addresses == (ALICE,)


def test_an_expired_key_is_extended_when_that_is_said(desk: Desk, tmp_path: Path) -> None:
    ended = generate(CAROL, now=lambda: time.time() - 3 * 365 * DAY)
    file = tmp_path / "ended.asc"
    file.write_bytes(ended.armored())
    refused = desk.create("carol", "--key", str(file), code=1)
    assert refused["error"] == "expired"
    assert "--extend" in refused["message"]
    (tmp_path / "public.asc").write_bytes(ended.certificate.armored())
    public = desk.create("carol", "--key", str(tmp_path / "public.asc"), code=1)
    assert public["error"] == "no-secret"
    (tmp_path / "rubbish").write_bytes(b"rubbish")
    assert desk.create("carol", "--key", str(tmp_path / "rubbish"), code=1)["error"] == "bad-key"
    with_file = ("--key", str(file), "--passphrase-fd", str(_pipe(PASSPHRASES["carol"])))
    no = desk.created("carol", *with_file, stdin="n\n", code=1, terminal=True)
    assert "has expired. Extend it" in no
    assert "--extend" in no
    made = desk.create("carol", "--key", str(file), "--extend")
    assert made["fingerprint"] == ended.fingerprint
    assert desk.published(CAROL).can_encrypt(time.time())


def test_rotation_is_published_and_old_mail_opens(desk: Desk) -> None:
    before = desk.published(ALICE)
    account = ("--account", ALICE)
    said = desk("keys", "rotate", *account)
    assert "has a new part to encrypt to" in said
    after = desk.published(ALICE)
    assert after.fingerprint == before.fingerprint
    assert after.encryption_key(time.time()) != before.encryption_key(time.time())
    desk.send_sealed("carol", before, ALICE, "to the former part")
    (mail,) = desk.device.wait_for("alice", 1).values()
    assert mail.startswith(b"X-Leap-Encryption: decrypted")
    assert b"to the former part" in mail
    declined = desk("keys", "rotate", "--primary", *account, stdin="n\n", code=1, terminal=True)
    assert "compare the new one" in declined
    asked = desk("keys", "rotate", "--primary", *account, code=2)
    assert "--yes" in asked
    rotated = desk.json("keys", "rotate", "--primary", "--yes", *account)
    assert rotated["was"] == before.fingerprint
    assert rotated["fingerprint"] == desk.published(ALICE).fingerprint != before.fingerprint
    assert (rotated["published"], rotated["problem"], rotated["vouched"]) == (True, "", True)
    desk.send_sealed("carol", after, ALICE, "to the former key")
    served = b"".join(desk.device.wait_for("alice", 2).values())
    assert b"to the former key" in served


def test_a_backup_is_restored_into_a_fresh_account_and_by_gpg(
    desk: Desk, gpg: Gpg, tmp_path: Path
) -> None:
    file = tmp_path / "keys.asc"
    account = ("--account", ALICE)
    short = desk("keys", "backup", str(file), *account, stdin="short", code=2)
    assert "at least 8" in short
    done = desk.json("keys", "backup", str(file), *account, stdin=BACKUP_PASSPHRASE)
    assert len(done["keys"]) == 2
    assert file.stat().st_mode & 0o777 == 0o600
    assert "there already" in desk("keys", "backup", str(file), *account, code=2)
    new, old = (desk_key for desk_key in done["keys"])
    gpg("--delete-secret-and-public-keys", old)
    gpg("--passphrase", BACKUP_PASSPHRASE, "--import", str(file))
    secrets = gpg("--list-secret-keys", "--with-colons", "--with-fingerprint").decode()
    fingerprints = {line.split(":")[9] for line in secrets.splitlines() if line[:3] == "fpr"}
    assert {new, old} <= fingerprints
    assert "revoked" not in gpg("--list-keys").decode()

    desk.create("bob")
    own = desk.published(BOB).fingerprint
    bob = ("--account", BOB)
    wrong = desk.json("keys", "restore", str(file), *bob, stdin="not that one", code=3)
    assert wrong["error"] == "wrong-passphrase"
    restored = desk.json("keys", "restore", str(file), *bob, stdin=BACKUP_PASSPHRASE)
    assert [key["new"] for key in restored["keys"]] == [True, True]
    assert restored["fingerprint"] == own == desk.published(BOB).fingerprint
    said = desk("keys", "restore", str(file), *bob, stdin=BACKUP_PASSPHRASE)
    assert "here already" in said
    assert "stays" in said
    desk.send_sealed("carol", desk.published(ALICE), BOB, "to a restored key")
    (mail,) = desk.device.wait_for("bob", 1).values()
    assert mail.startswith(b"X-Leap-Encryption: decrypted")
    assert b"to a restored key" in mail


def test_a_setup_message_is_restored_into_a_fresh_account(desk: Desk, tmp_path: Path) -> None:
    account = ("--account", ALICE)
    file = tmp_path / "setup.eml"
    made = desk.json("keys", "backup", "--setup-message", str(file), *account)
    code = made["setup_code"]
    assert len(code.split("-")) == 9
    assert b"Autocrypt-Setup-Message: v1" in file.read_bytes()
    carol = ("--account", CAROL)
    wrong = desk.json("keys", "restore", str(file), *carol, stdin="0000-" * 8 + "0000", code=3)
    assert wrong["error"] == "wrong-passphrase"
    restored = desk.json("keys", "restore", str(file), *carol, stdin=code.replace("-", " "))
    assert [key["fingerprint"] for key in restored["keys"]] == made["keys"]
    desk.send_sealed("bob", desk.published(ALICE), CAROL, "to the key of the Setup Message")
    (mail,) = desk.device.wait_for("carol", 1).values()
    assert b"to the key of the Setup Message" in mail

    before = len(desk.device.messages("alice"))
    shown = desk("keys", "backup", "--setup-message", *account)
    assert "in the INBOX" in shown
    inbox = desk.device.messages("alice")
    assert len(inbox) == before + 1
    assert b"Autocrypt-Setup-Message: v1" in inbox[max(inbox)]

    (offered,) = desk.json("keys", "setup-messages", *account)["messages"]
    code = "".join(c for c in shown if c.isdigit() or c == "-")[-44:]
    assert (offered["sent_by"], offered["code_begins"]) == ("this program", code[:2])
    assert "restore --mail ID" in desk("keys", "setup-messages", *account)
    assert "no Setup Message" in desk("keys", "setup-messages", *carol)
    mail_id = ("--mail", offered["id"])
    restored = desk.json("keys", "restore", *mail_id, *account, stdin=code)
    assert [key["fingerprint"] for key in restored["keys"]] == made["keys"]
    assert "FILE" in desk("keys", "restore", *account, code=2)
    assert "FILE" in desk("keys", "restore", str(file), *mail_id, *account, code=2)


def test_a_revoked_key_is_published_and_nothing_goes_out_until_there_is_a_new_one(
    desk: Desk,
) -> None:
    account = ("--account", BOB)
    own = desk.published(BOB).fingerprint
    assert "--yes" in desk("keys", "revoke", *account, code=2)
    revoked = desk.json("keys", "revoke", "--yes", "--reason", "compromised", *account)
    assert revoked["revoked"] == revoked["fingerprint"] == own
    assert "`bitmask keys rotate --primary`" in revoked["problem"]
    assert desk.published(BOB).revoked
    listed = {one["address"]: one for one in desk.json("user", "list")}
    assert "it is revoked" in listed[BOB]["key"]["problem"]
    assert "it is revoked" in desk("status")
    letter = f"From: {BOB}\r\nTo: {CAROL}\r\nSubject: hello\r\n\r\nhello\r\n".encode()
    with desk.device.smtp("bob") as smtp, pytest.raises(smtplib.SMTPResponseException) as refused:
        smtp.sendmail(BOB, [CAROL], letter)
    assert b"your own key" in refused.value.smtp_error
    replaced = desk.json("keys", "revoke", "--replace", "--yes", *account)
    assert replaced["fingerprint"] != own
    assert desk.published(BOB).fingerprint == replaced["fingerprint"]
    shown = desk("keys", "show", own, *account)
    assert "You revoked it" in shown
    assert "bitmask keys use" not in shown
    assert f"{BOB} has no own key 9999" in desk("keys", "use", "9999", *account, code=1)
    with desk.device.smtp("bob") as smtp:
        smtp.sendmail(BOB, [CAROL], letter)
    served = list(desk.device.wait_for("carol", 2).values())
    assert any(b"X-Leap-Signature: valid" in mail for mail in served)


def test_a_key_is_imported_for_reading_and_used_only_when_that_is_said(
    desk: Desk, tmp_path: Path
) -> None:
    account = ("--account", CAROL)
    now = desk.published(CAROL).fingerprint
    mine = generate(CAROL)
    file = tmp_path / "mine.asc"
    file.write_bytes(mine.armored())
    said = desk("keys", "import", str(file), *account)
    assert "The key in use stays" in said
    shown = desk("keys", "show", mine.fingerprint, *account)
    assert f"`bitmask keys use {mine.fingerprint}`" in shown
    assert desk.published(CAROL).fingerprint == now
    assert "no own key" in desk("keys", "use", "00" * 20, *account, code=1)
    used = desk.json("keys", "use", mine.fingerprint, *account)
    assert used["fingerprint"] == mine.fingerprint == desk.published(CAROL).fingerprint
    desk.json("keys", "use", now, *account)
    again = desk.json("keys", "import", str(file), "--use", *account)
    assert again["fingerprint"] == mine.fingerprint == desk.published(CAROL).fingerprint
    foreign = tmp_path / "foreign.asc"
    foreign.write_bytes(generate("somebody@else.test").armored())
    refused = desk.json("keys", "import", str(foreign), "--use", *account, code=1)
    assert refused["error"] == "other-address"
    desk("keys", "import", str(foreign), *account)
    rows = desk.json("keys", "list", *account)
    assert [row["in_use"] for row in rows if row["own"]].count(True) == 1
    public = tmp_path / "public.asc"
    public.write_bytes(mine.certificate.armored())
    assert "no secret key" in desk("keys", "import", str(public), "--use", *account, code=2)


def test_what_one_account_knows_of_keys_the_others_of_the_daemon_do_not(
    desk: Desk, tmp_path: Path
) -> None:
    erin = generate("erin@elsewhere.test")
    file = tmp_path / "erin.asc"
    file.write_bytes(erin.certificate.armored())
    one, other = ("--account", BOB), ("--account", CAROL)
    name = "erin@elsewhere.test"
    desk("keys", "import", str(file), "--verified", erin.fingerprint, *one)
    desk("keys", "policy", name, "require", *one)
    assert "several" in desk("keys", "list", "--help")
    assert "Say which account" in desk("keys", "list", code=1)
    assert name in desk("keys", "list", *one)
    assert name not in desk("keys", "list", *other)
    assert "no key is known" in desk("keys", "show", name, *other, code=1).lower()
    assert desk.json("keys", "policy", name, *other)["policy"] == "default"
    desk("keys", "import", str(file), *other)
    assert desk.json("keys", "show", name, *other)[0]["level"] == "weak-chain"
    assert desk.json("keys", "show", name, *one)[0]["level"] == "fingerprint"


def test_a_key_of_the_kind_that_was_asked_for_is_made_published_and_used(
    desk: Desk, rsa_key: Path
) -> None:
    kind = ("--key-version", "6", "--post-quantum")
    refused = desk.create("dave", *kind, "--key", str(rsa_key), code=2)
    assert "made here" in refused["message"]
    made = desk.create("dave", *kind)
    published = desk.published(DAVE)
    assert published.fingerprint == made["fingerprint"]
    assert (published.primary.version, _algorithm(published)) == (6, ML_KEM)
    letter = f"From: {CAROL}\r\nTo: {DAVE}\r\nSubject: hello\r\n\r\nto version 6\r\n".encode()
    with desk.device.smtp("carol") as smtp:
        smtp.sendmail(CAROL, [DAVE], letter)
    (mail,) = desk.device.wait_for("dave", 1).values()
    assert mail.startswith(b"X-Leap-Encryption: decrypted")
    assert b"X-Leap-Signature: valid" in mail

    account = ("--account", CAROL)
    before = desk.published(CAROL)
    assert _algorithm(before) != ML_KEM
    assert "--primary" in desk("keys", "rotate", "--key-version", "6", *account, code=2)
    desk("keys", "rotate", "--post-quantum", *account)
    after = desk.published(CAROL)
    assert after.fingerprint == before.fingerprint
    assert (after.primary.version, _algorithm(after)) == (4, ML_KEM)
    assert "ML-KEM-768 with X25519, can encrypt" in desk("keys", "show", CAROL, *account)


def _algorithm(certificate: Certificate) -> int:
    return certificate.encryption_key(time.time() + 5).algorithm


def test_what_was_changed_while_the_provider_was_away_is_published_after_a_kill(
    desk: Desk,
) -> None:
    account = ("--account", CAROL)
    before = desk.published(CAROL)
    desk.world.provider.kill()
    rotated = desk.json("keys", "rotate", *account)
    assert not rotated["published"]
    assert "tried again by itself" in rotated["problem"]
    assert "tried again by itself" in desk("keys", "list", *account)
    desk.device.process.kill()
    desk.world.provider.start()
    desk.device.start()
    desk("user", "auth", CAROL, stdin=PASSPHRASES["carol"])
    desk.eventually("the rotated key is published", lambda: desk.published(CAROL) != before)
    assert desk.published(CAROL).fingerprint == before.fingerprint
    desk.eventually("and nothing is shown any more", lambda: not _problems(desk, CAROL))
    logs = desk.world.logs()
    for secret in (KEY_PASSPHRASE, BACKUP_PASSPHRASE, *PASSPHRASES.values(), "PRIVATE KEY"):
        assert secret not in logs


def _pipe(line: str) -> int:
    """A descriptor with one line to read."""
    reading, writing = os.pipe()
    os.write(writing, f"{line}\n".encode())
    os.close(writing)
    return reading


def _problems(desk: Desk, address: str) -> list[str]:
    rows = desk.json("keys", "list", "--account", address)
    return [row["problem"] for row in rows if row.get("problem")]
