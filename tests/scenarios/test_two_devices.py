"""A second device needs only the passphrase: it shows the same mail, and changes travel by themselves."""

from __future__ import annotations

import imaplib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from leap.bitmask.control import ControlError
from tests.scenarios.world import Device, world

LETTER = (
    b"From: alice@example.test\r\nTo: bob@example.test\r\nSubject: number %d\r\n"
    b"Message-ID: <%d@example.test>\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n\r\nLetter %d.\r\n"
)


def _eventually(what: str, check: Callable[[], bool], timeout: float = 30.0) -> float:
    began = time.monotonic()
    while not check():
        assert time.monotonic() - began < timeout, what
        time.sleep(0.05)
    return time.monotonic() - began


def _mailboxes(device: Device, person: str) -> set[bytes]:
    with device.imap(person) as imap:
        return {line.rpartition(b' "/" ')[2].strip(b'"') for line in imap.list()[1]}


def _flags(imap: imaplib.IMAP4, subject: str) -> set[bytes]:
    imap.noop()
    found = imap.search(None, "SUBJECT", f'"{subject}"')[1][0].split()
    if not found:
        return set()
    return set(imaplib.ParseFlags(imap.fetch(found[0].decode(), "(FLAGS)")[1][0]))


def test_a_second_device_shows_the_same_and_hears_of_changes(tmp_path: Path) -> None:
    with world(tmp_path) as made:
        first = made.device("laptop")
        first.create("alice")
        first.create("bob")
        with first.smtp("bob") as smtp:
            for n in range(10):
                smtp.sendmail(
                    "bob@example.test",
                    ["alice@example.test"],
                    (LETTER % (n, n, n))
                    .replace(b"From: alice", b"From: bob")
                    .replace(b"To: bob", b"To: alice"),
                )
        first.wait_for("alice", 10)
        with first.imap("alice") as imap:
            imap.create("Projects/Oak")
            imap.select("INBOX")
            imap.uid("STORE", "1", "+FLAGS", r"(\Flagged $Important)")
            imap.uid("COPY", "2", '"Projects/Oak"')
        first.ask("sync-now", address="alice@example.test")

        second = made.device("phone")
        with pytest.raises(ControlError) as refused:
            second.ask(
                "user-auth",
                address="alice@example.test",
                passphrase="a wrong one",
                api=made.provider.said["api"],
                ca=Path(made.provider.said["ca"]).read_text(),
                device_name="phone",
            )
        assert refused.value.kind == "wrong-passphrase"
        second.auth("alice")
        there = second.wait_for("alice", 10)
        assert sorted(there.values()) == sorted(first.messages("alice").values())
        assert second.messages("alice", "Projects/Oak").keys()
        assert _mailboxes(second, "alice") == _mailboxes(first, "alice")

        with first.imap("alice") as one, second.imap("alice") as two:
            one.select("INBOX")
            two.select("INBOX")
            subject = two.uid("FETCH", "1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
            assert subject[0] == "OK"
            _eventually("the flag set before is there", lambda: rb"\Flagged" in _flags_of_any(two))
            number = one.search(None, "SUBJECT", '"number 5"')[1][0].decode()
            one.store(number, "+FLAGS", r"(\Seen \Answered)")
            took = _eventually(
                "a flag set on one device appears on the other",
                lambda: {rb"\Seen", rb"\Answered"} <= _flags(two, "number 5"),
            )
            print(f"a flag reached the other device after {took:.2f} s")
            number = two.search(None, "SUBJECT", '"number 6"')[1][0].decode()
            two.store(number, "+FLAGS", r"(\Flagged)")
            _eventually("and the other way", lambda: rb"\Flagged" in _flags(one, "number 6"))
            number = two.search(None, "SUBJECT", '"number 7"')[1][0].decode()
            two.store(number, "+FLAGS", r"(\Deleted)")
            two.expunge()

            def gone() -> bool:
                one.noop()
                return not one.search(None, "SUBJECT", '"number 7"')[1][0]

            _eventually("an expunged mail leaves the other device", gone)
            two.create('"From the phone"')
        _eventually(
            "a new mailbox appears", lambda: b"From the phone" in _mailboxes(first, "alice")
        )

        # What the second device decrypted it can also send: the account's key came along.
        with second.smtp("alice") as smtp:
            smtp.sendmail("alice@example.test", ["bob@example.test"], LETTER % (99, 99, 99))
        served = next(iter(first.wait_for("bob", 1).values()))
        assert served.startswith(b"X-Leap-Encryption: decrypted")
        assert b"X-Leap-Signature: valid" in served


def _flags_of_any(imap: imaplib.IMAP4) -> set[bytes]:
    imap.noop()
    found: set[bytes] = set()
    for line in imap.fetch("1:*", "(FLAGS)")[1]:
        found |= set(imaplib.ParseFlags(line))
    return found


def test_a_copied_home_opens_nothing_without_the_passphrase(tmp_path: Path) -> None:
    import shutil

    with world(tmp_path) as made:
        first = made.device("laptop")
        first.create("alice")
        first.create("bob")
        with first.smtp("alice") as smtp:
            smtp.sendmail("alice@example.test", ["bob@example.test"], LETTER % (1, 1, 1))
        first.wait_for("bob", 1)
        first.process.stop()
        shutil.copytree(first.home.path, tmp_path / "stolen")
        stolen = made.device("stolen")
        with pytest.raises(ControlError) as refused:
            stolen.ask("user-auth", address="bob@example.test", passphrase="not bob's passphrase")
        assert refused.value.kind == "wrong-passphrase"
        for path in stolen.home.path.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                assert not data.startswith(b"SQLite format 3"), path
                assert b"Letter 1" not in data, path
                assert b"PRIVATE KEY" not in data, path
        listed = stolen.ask("user-list")
        assert [account["unlocked"] for account in listed] == [False, False]
        server = stolen.ask("status")["imap"]
        imap = imaplib.IMAP4(server["host"], server["port"], timeout=30)
        with pytest.raises(imaplib.IMAP4.error):
            imap.login("bob@example.test", first.logins["bob"]["imap"]["password"])
        imap.shutdown()
