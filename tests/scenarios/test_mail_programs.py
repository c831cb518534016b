"""Mail programs people use, on a mailbox that mail really travelled to."""

from __future__ import annotations

import base64
import imaplib
import mailbox
import smtplib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import needs_program
from tests.mail.imap.test_peers import on_a_terminal
from tests.scenarios.world import Device, world

MAILS = 30


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    with world(tmp_path_factory.mktemp("programs")) as made:
        device = made.device("laptop")
        device.create("alice")
        device.create("bob")
        with device.smtp("alice") as smtp:
            for n in range(MAILS):
                text = f"From: alice@example.test\r\nTo: bob@example.test\r\nSubject: mail {n}\r\n\r\nText {n}.\r\n"
                smtp.sendmail("alice@example.test", ["bob@example.test"], text)
        device.wait_for("bob", MAILS)
        yield device


def _mbsync(device: Device, folder: Path) -> subprocess.CompletedProcess[str]:
    server = device.logins["bob"]["imap"]
    (folder / "mail").mkdir(exist_ok=True)
    config = folder / "mbsyncrc"
    config.write_text(
        f"""IMAPAccount bob
Host {server["host"]}
Port {server["port"]}
User {server["user"]}
Pass {server["password"]}
SSLType None
AuthMechs LOGIN

IMAPStore far
Account bob

MaildirStore near
Path {folder}/mail/
Inbox {folder}/mail/INBOX
SubFolders Verbatim

Channel all
Far :far:
Near :near:
Patterns *
Create Both
Expunge Both
SyncState *
"""
    )
    return subprocess.run(
        [needs_program("mbsync"), "-V", "-c", str(config), "all"],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_mbsync_downloads_the_mailbox_and_carries_changes_back(
    device: Device, tmp_path: Path
) -> None:
    done = _mbsync(device, tmp_path)
    assert done.returncode == 0, done.stderr
    said = done.stderr.replace("*** IMAP Warning *** Password is being sent in the clear\n", "")
    assert said.strip() == ""  # not one complaint but that one, which is true and local
    maildir = mailbox.Maildir(str(tmp_path / "mail" / "INBOX"), create=False)
    assert len(maildir) == MAILS
    for key, message in maildir.iteritems():
        assert message["X-Leap-Encryption"].startswith("decrypted")
        if message["Subject"] == "mail 3":
            message.add_flag("F")
            maildir[key] = message
        if message["Subject"] == "mail 4":
            maildir.remove(key)
    maildir.add(b"From: bob@example.test\nSubject: written offline\n\nA draft.\n")
    maildir.flush()
    done = _mbsync(device, tmp_path)
    assert done.returncode == 0, done.stderr
    with device.imap("bob") as imap:
        imap.select("INBOX")
        flagged = imap.search(None, "FLAGGED")[1][0].split()
        assert b"Subject: mail 3" in imap.fetch(flagged[0].decode(), "(BODY.PEEK[HEADER])")[1][0][1]
        assert imap.search(None, "SUBJECT", '"mail 4"')[1] == [b""]
        assert len(imap.search(None, "SUBJECT", '"written offline"')[1][0].split()) == 1


async def test_neomutt_lists_and_reads_the_mailbox(device: Device, tmp_path: Path) -> None:
    server = device.logins["bob"]["imap"]
    rc, copied = tmp_path / "rc", tmp_path / "copied"
    rc.write_text(
        f"""
set imap_user="{server["user"]}" imap_pass="{server["password"]}"
set ssl_force_tls=no ssl_starttls=no
set folder="imap://{server["host"]}:{server["port"]}/" spoolfile="+INBOX"
set confirmappend=no confirmcreate=no wait_key=no quit=yes move=no mail_check=0 sleep_time=0
set header_cache="{tmp_path}/cache" mbox_type=mbox
"""
    )
    keys = f"<tag-pattern>~A<enter><tag-prefix><copy-message>{copied}<enter><quit>"
    neomutt = needs_program("neomutt")
    await on_a_terminal([neomutt, "-n", "-F", str(rc), "-e", f'push "{keys}"'], tmp_path)
    there = len(device.messages("bob"))
    box = mailbox.mbox(str(copied), create=False)
    subjects = [str(message["Subject"]) for message in box]
    box.close()
    assert len(subjects) == there
    assert sum(subject.startswith("mail ") for subject in subjects) >= MAILS - 1


def rest(imap: imaplib.IMAP4) -> bytes:
    """All that is said until the connection ends."""
    said = b""
    while line := imap.readline():
        said += line
    return said


def test_a_new_app_password_ends_the_sessions_of_the_old_one(device: Device) -> None:
    before = device.logins["bob"]
    with (
        device.imap("bob") as imap,
        device.smtp("bob") as smtp,
        device.imap("alice") as other,
    ):
        after = device.ask("mail-settings", address="bob@example.test", new_password=True)
        assert b"* BYE " in rest(imap)
        assert smtp.getreply()[0] == 421
        assert other.noop()[0] == "OK"
    assert after["imap"]["password"] != before["imap"]["password"]
    with pytest.raises(imaplib.IMAP4.error), device.imap("bob"):
        pass
    old = base64.b64encode(f"\0bob@example.test\0{before['smtp']['password']}".encode()).decode()
    with smtplib.SMTP(before["smtp"]["host"], before["smtp"]["port"], timeout=10) as smtp:
        smtp.ehlo()
        assert smtp.docmd("AUTH", f"PLAIN {old}")[0] == 535
    device.logins["bob"] = after
    with device.imap("bob") as imap:
        assert imap.noop()[0] == "OK"


def test_a_mail_program_comes_by_the_unix_socket(device: Device) -> None:
    settings = device.ask("mail-settings", address="bob@example.test")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(settings["sockets"]["imap"])
        login = settings["imap"]
        connection.sendall(f"a LOGIN {login['user']} {login['password']}\r\nb LOGOUT\r\n".encode())
        said = b""
        while part := connection.recv(65_536):
            said += part
    assert b"a OK [CAPABILITY " in said


def test_logging_out_ends_the_sessions_of_that_account_only(device: Device) -> None:
    with (
        device.imap("bob") as imap,
        device.smtp("bob") as smtp,
        device.imap("alice") as other,
    ):
        assert device.ask("user-logout", address="bob@example.test")["revoked"]
        assert b"* BYE " in rest(imap)
        assert smtp.getreply()[0] == 421
        assert other.noop()[0] == "OK"
    with pytest.raises(imaplib.IMAP4.error), device.imap("bob"):
        pass
