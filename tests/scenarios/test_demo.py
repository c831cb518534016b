"""`make demo`'s own promises: its JSON line, its exit codes, what is kept, and that it ends in time."""

from __future__ import annotations

import imaplib
import json
import os
import re
import signal
import smtplib
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

DEMO = [sys.executable, "-m", "leap.bitmask.demo"]
END_WITHIN = 10.0  # seconds, as promised


def _start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*DEMO, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a process group of its own, to signal as a terminal would
    )


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _line(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, process.stderr.read() if process.stderr else ""
    report: dict[str, Any] = json.loads(line)
    return report


def _end(process: subprocess.Popen[str], report: dict[str, Any], number: int) -> None:
    began = time.monotonic()
    os.killpg(process.pid, number)
    process.communicate(timeout=END_WITHIN)
    assert time.monotonic() - began < END_WITHIN
    assert not _alive(report["provider"]["pid"])
    assert not _alive(report["daemon"]["pid"])


def test_json_describes_everything_and_nothing_is_left_running() -> None:
    done = subprocess.run([*DEMO, "--json"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    report = json.loads(done.stdout)
    assert set(report) == {"provider", "daemon", "accounts", "seconds"}
    assert set(report["provider"]) == {"api", "ca", "data", "pid", "mx", "submission"}
    assert report["provider"]["api"].startswith("https://")
    assert [account["address"] for account in report["accounts"]] == [
        "alice@example.test",
        "bob@example.test",
    ]
    for account in report["accounts"]:
        assert set(account) == {"address", "passphrase", "fingerprint", "imap", "smtp"}
        assert re.fullmatch(r"[0-9A-F]{40}|[0-9A-F]{64}", account["fingerprint"])
        for protocol in ("imap", "smtp"):
            assert set(account[protocol]) == {"host", "port", "user", "password", "tls"}
            assert re.fullmatch(r"[A-Za-z0-9-]{16,}", account[protocol]["password"])
    assert "Traceback" not in done.stderr
    assert not _alive(report["provider"]["pid"])
    assert not _alive(report["daemon"]["pid"])


def test_once_tells_its_story_in_words() -> None:
    done = subprocess.run([*DEMO, "--once"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "alice" in done.stdout
    assert "✓" in done.stdout


def test_a_kept_folder_brings_up_the_same_accounts_and_passwords(tmp_path: Path) -> None:
    folder = tmp_path / "made" / "if missing"
    first = _start("--json", "--wait", "--keep", str(folder))
    report = _line(first)
    again_meanwhile = _start("--json", "--wait")  # several demos run at once
    other = _line(again_meanwhile)
    assert other["provider"]["api"] != report["provider"]["api"]
    _end(again_meanwhile, other, signal.SIGINT)
    alice, bob = report["accounts"]
    with smtplib.SMTP(alice["smtp"]["host"], alice["smtp"]["port"], timeout=30) as smtp:
        smtp.login(alice["smtp"]["user"], alice["smtp"]["password"])
        smtp.sendmail(
            alice["address"], [bob["address"]], f"From: {alice['address']}\r\n\r\nkept\r\n"
        )
    _end(first, report, signal.SIGTERM)

    second = _start("--json", "--wait", "--keep", str(folder))
    try:
        same = _line(second)
        for before, after in zip(report["accounts"], same["accounts"], strict=True):
            assert {k: before[k] for k in ("address", "passphrase", "fingerprint")} == {
                k: after[k] for k in ("address", "passphrase", "fingerprint")
            }
            assert before["imap"]["password"] == after["imap"]["password"]
            assert before["smtp"]["password"] == after["smtp"]["password"]
        server = same["accounts"][1]["imap"]
        deadline = time.monotonic() + 30
        imap = imaplib.IMAP4(server["host"], server["port"], timeout=30)
        imap.login(server["user"], server["password"])
        while int(imap.select("INBOX")[1][0] or b"0") < 3:  # one a run, and the one from above
            assert time.monotonic() < deadline
            time.sleep(0.1)
        imap.logout()
    finally:
        _end(second, same, signal.SIGINT)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = subprocess.run(
        [*DEMO, "--once", "--keep", str(tmp_path / "file" / "below")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("after", [0.3, 1.5])
def test_interrupting_the_journey_leaves_nothing_behind(after: float) -> None:
    process = _start("--once")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(after)
    os.killpg(process.pid, signal.SIGTERM)
    process.communicate(timeout=END_WITHIN)
    members = subprocess.run(
        ["pgrep", "-g", str(process.pid)], capture_output=True, text=True
    ).stdout.split()
    assert [pid for pid in members if _alive(int(pid))] == []
