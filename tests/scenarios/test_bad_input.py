"""What goes wrong is said in one sentence, with an exit code or a protocol reply; nothing is lost, nothing crashes."""

from __future__ import annotations

import contextlib
import imaplib
import os
import smtplib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from leap.bitmask.control import ControlError
from tests.scenarios.world import PASSPHRASES, Device, StartFailed, World, world

BITMASK = [str(Path(sys.executable).parent / "bitmask")]


def bitmask(home: Path, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*BITMASK, "--home", str(home), *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )


def one_sentence(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    said = done.stderr
    assert done.returncode == code, (done.returncode, said)
    assert "Traceback" not in said + done.stdout
    assert len(said.strip().splitlines()) <= 4, said  # click's usage line and its hint are three
    for word in words:
        assert word.lower() in said.lower(), said


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("bad")) as made:
        device = made.device("laptop")
        device.create("alice")
        device.create("bob")
        yield made


@pytest.fixture
def device(made: World) -> Device:
    return made.devices[0]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Of somebody who never gets an account here; its daemon runs from the first command on."""
    home = tmp_path_factory.mktemp("nobody") / "home"
    yield home
    bitmask(home, "stop")


def test_a_wrong_passphrase(made: World, home: Path) -> None:
    where = ["--api", made.provider.said["api"], "--ca", made.provider.said["ca"]]
    done = bitmask(home, "user", "auth", "alice@example.test", *where, stdin="not the one\n")
    one_sentence(done, 3, "passphrase")
    assert bitmask(home, "user", "list", "--json").stdout.strip() == "[]"


def test_an_unknown_host(home: Path) -> None:
    done = bitmask(
        home,
        "user",
        "create",
        "x@example.test",
        "--api",
        "https://no-such-host.invalid:1",
        stdin="long enough\n",
    )
    one_sentence(done, 4, "no-such-host.invalid")


def test_a_provider_that_does_not_listen(home: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{unused.getsockname()[1]}"
    done = bitmask(home, "user", "auth", "x@example.test", "--api", url, stdin="long enough\n")
    one_sentence(done, 4, "127.0.0.1")


def test_a_certificate_that_is_not_trusted(made: World, home: Path, tmp_path: Path) -> None:
    url = made.provider.said["api"]
    done = bitmask(home, "user", "create", "eve@example.test", "--api", url, stdin="long enough\n")
    one_sentence(done, 5, "certificate")
    other = tmp_path / "not-a-ca.pem"
    other.write_text("this is no certificate\n")
    done = bitmask(
        home,
        "user",
        "create",
        "eve@example.test",
        "--api",
        url,
        "--ca",
        str(other),
        stdin="long enough\n",
    )
    one_sentence(done, 5, "certificate")


def test_an_address_that_is_taken(made: World, home: Path) -> None:
    where = ["--api", made.provider.said["api"], "--ca", made.provider.said["ca"]]
    done = bitmask(home, "user", "create", "alice@example.test", *where, stdin="some passphrase\n")
    one_sentence(done, 1, "taken")


def test_an_unknown_account_sounds_like_a_wrong_passphrase(made: World, home: Path) -> None:
    where = ["--api", made.provider.said["api"], "--ca", made.provider.said["ca"]]
    done = bitmask(home, "user", "auth", "nobody@example.test", *where, stdin="some passphrase\n")
    one_sentence(done, 3, "passphrase")


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = bitmask(tmp_path / "home", "start", "--imap-port", str(taken.getsockname()[1]))
    one_sentence(done, 7, "port", "IMAP")


def test_a_provider_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = subprocess.run(
            [
                str(Path(sys.executable).parent / "leap-provider"),
                *("serve", "--data", str(tmp_path / "p"), "--domain", "example.test"),
                *("--api-port", str(taken.getsockname()[1])),
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert done.returncode not in (0, 2)
    assert "Traceback" not in done.stderr
    assert "port" in done.stderr.lower()


def test_no_daemon(tmp_path: Path) -> None:
    one_sentence(bitmask(tmp_path, "mail", "settings"), 1, "account")
    assert "not running" in bitmask(tmp_path, "status").stdout


def test_malformed_smtp_lines_get_replies_and_the_session_goes_on(device: Device) -> None:
    with device.smtp("alice") as smtp:
        for line in (
            "MAIL FROM:<alice@example.test",
            "NONSENSE",
            "RCPT",
            "\0\0",
            "MAIL FROM:" + "x" * 3000,
        ):
            code, reply = smtp.docmd(line)
            assert 500 <= code < 600, (line, reply)
        assert smtp.docmd("NOOP")[0] == 250


def test_malformed_imap_lines_get_replies_and_the_session_goes_on(device: Device) -> None:
    server = device.logins["bob"]["imap"]
    with socket.create_connection((server["host"], server["port"]), timeout=30) as raw:
        file = raw.makefile("rwb")
        assert file.readline().startswith(b"* OK")
        for line in (
            b"a1",
            b"a2 NONSENSE",
            b"a3 LOGIN (",
            b"\0\xff\xfe",
            b"a4 FETCH 1 ALL",
            b"a5 LOGIN {3",
        ):
            file.write(line + b"\r\n")
            file.flush()
            assert b"BAD" in file.readline(), line
        file.write(f'a6 LOGIN "{server["user"]}" "{server["password"]}"\r\n'.encode())
        file.flush()
        while not (answer := file.readline()).startswith(b"a6"):
            pass
        assert answer.startswith(b"a6 OK")
        file.close()


def test_a_wrong_app_password_is_refused(device: Device) -> None:
    server = device.logins["bob"]["imap"]
    imap = imaplib.IMAP4(server["host"], server["port"], timeout=30)
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        imap.login(server["user"], device.logins["alice"]["imap"]["password"])
    imap.shutdown()


def test_sixty_megabytes_are_refused_by_name_of_the_limit(made: World, device: Device) -> None:
    big = (
        b"From: alice@example.test\r\nTo: bob@example.test\r\nSubject: big\r\n\r\n"
        + (b"x" * 76 + b"\r\n") * 770_000
    )
    assert len(big) > 60_000_000
    with device.smtp("alice", timeout=120) as smtp:
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            smtp.sendmail("alice@example.test", ["bob@example.test"], big)
        assert refused.value.smtp_code == 552
    with device.smtp(
        "alice", timeout=120
    ) as smtp:  # a client that does not say the size beforehand
        smtp.ehlo()
        smtp.mail("alice@example.test")
        smtp.rcpt("bob@example.test")
        code, reply = smtp.data(big)
        assert code == 552, reply
        assert smtp.docmd("NOOP")[0] == 250
    host, port = made.provider.said["mx"]
    with (
        smtplib.SMTP(host, port, timeout=120) as smtp,
        pytest.raises(smtplib.SMTPSenderRefused) as refused,
    ):
        smtp.sendmail("x@elsewhere.test", ["bob@example.test"], big)
    with device.imap("bob", timeout=120) as imap:
        typ, answer = imap.append("INBOX", "", "", big)
        assert typ == "NO"
        assert b"LIMIT" in answer[0] or b"TOOBIG" in answer[0]
        assert imap.noop()[0] == "OK"


def test_mail_for_nobody_and_from_somebody_else_is_refused_with_the_reason(
    made: World, device: Device
) -> None:
    with device.smtp("alice") as smtp:
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            smtp.sendmail("bob@example.test", ["alice@example.test"], b"Subject: forged\r\n\r\n")
        assert b"alice@example.test" in refused.value.smtp_error
    host, port = made.provider.said["mx"]
    with smtplib.SMTP(host, port, timeout=30) as smtp, pytest.raises(smtplib.SMTPRecipientsRefused):
        smtp.sendmail(
            "x@elsewhere.test",
            ["nobody@example.test", "bob@other.test"],
            b"Subject: relay?\r\n\r\n",
        )
    host, port = made.provider.said["submission"]
    with smtplib.SMTP(host, port, timeout=30) as smtp, pytest.raises(smtplib.SMTPSenderRefused):
        smtp.sendmail("alice@example.test", ["bob@example.test"], b"Subject: no login\r\n\r\n")


def test_the_provider_down_at_start_and_a_mail_written_meanwhile(tmp_path: Path) -> None:
    with world(tmp_path) as made:
        device = made.device("laptop")
        device.create("alice")
        device.create("bob")
        with device.smtp("alice") as smtp:
            smtp.sendmail(
                "alice@example.test",
                ["bob@example.test"],
                b"From: alice@example.test\r\n\r\nbefore\r\n",
            )
        device.wait_for("bob", 1)
        device.process.stop()
        made.provider.stop()

        device.process.start()
        assert device.unlock("bob")["online"] is False
        device.unlock("alice")
        assert b"before" in next(iter(device.messages("bob").values()))
        with device.smtp("alice") as smtp:
            smtp.sendmail(
                "alice@example.test",
                ["bob@example.test"],
                b"From: alice@example.test\r\n\r\noffline\r\n",
            )
        made.provider.start()
        later = device.wait_for("bob", 2)
        assert any(b"offline" in raw for raw in later.values())
        assert "Traceback" not in made.logs()


def test_a_full_disk_refuses_and_loses_nothing(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=14m", "tmpfs", str(small)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("only root can mount a small file system to fill")
    try:
        with world(tmp_path) as made:
            device = Device(made, "small/home")
            made.devices.append(device)
            device.process.log = tmp_path / "small-home.log"
            device.start()
            device.create("bob")
            ballast = small / "ballast"
            ballast.write_bytes(os.urandom(4_000_000))  # room for what the log still holds
            stored = []
            with device.imap("bob") as imap:
                for number in range(40):
                    body = (
                        f"Subject: {number}\r\n\r\n".encode() + os.urandom(300_000).hex().encode()
                    )
                    typ, answer = imap.append("INBOX", "", "", body)
                    if typ != "OK":
                        assert b"disk" in answer[0].lower() or b"OVERQUOTA" in answer[0], answer
                        break
                    stored.append(body)
                else:
                    raise AssertionError("the disk never got full")
                assert imap.noop()[0] == "OK"
            assert sorted(device.messages("bob").values()) == sorted(stored)
            assert device.process.alive
            assert "Traceback" not in device.process.log.read_text()
            device.process.kill()
            with contextlib.suppress(OSError), ballast.open("ab", buffering=0) as filler:
                while True:
                    filler.write(b"x" * 1024)
            with pytest.raises(StartFailed, match="is full"):
                device.restart()
            ballast.unlink()
            device.restart()
            assert sorted(device.messages("bob").values()) == sorted(stored)
            device.process.stop()
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_second_daemon_on_one_home_is_refused(device: Device) -> None:
    again = Device(device.world, device.name)
    with pytest.raises(StartFailed, match="already"):
        again.start()


def test_logging_out_ends_sessions_and_locks_the_account(device: Device) -> None:
    with device.imap("bob") as imap:
        imap.select("INBOX")
        assert device.ask("user-logout", address="bob@example.test") == {"revoked": True}
        with pytest.raises((imaplib.IMAP4.abort, OSError)):  # BYE, then nothing
            list(iter(imap.noop, None))
    with pytest.raises(imaplib.IMAP4.error), device.imap("bob"):
        pass
    with pytest.raises(ControlError):
        device.ask("mail-status", address="bob@example.test")
    device.ask("user-auth", address="bob@example.test", passphrase=PASSPHRASES["bob"])
    with device.imap("bob") as imap:
        assert imap.select("INBOX")[0] == "OK"
