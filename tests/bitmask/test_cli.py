"""The `bitmask` command as a person or a script uses it: every command, in words and in JSON."""

from __future__ import annotations

import asyncio
import json
import mailbox
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from leap.mail import Account, SyncProgress
from tests.bitmask.command import BITMASK, bitmask
from tests.scenarios.world import World, world

Run = Callable[..., subprocess.CompletedProcess[str]]
PASSPHRASE = "correct horse battery"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("cli")) as made:
        yield made


@pytest.fixture(scope="module")
def run(made: World) -> Iterator[Run]:
    home = made.folder / "home"

    def run(*arguments: str, stdin: str = "", code: int = 0) -> subprocess.CompletedProcess[str]:
        return bitmask(home, *arguments, stdin=stdin, code=code)

    yield run
    run("stop")


def as_json(done: subprocess.CompletedProcess[str]) -> Any:
    assert len(done.stdout.splitlines()) == 1, done.stdout
    return json.loads(done.stdout)


def _where(made: World) -> list[str]:
    return ["--api", made.provider.said["api"], "--ca", made.provider.said["ca"]]


async def _syncs_are_followed(home: Path) -> None:
    """A program at the daemon's socket hears of a sync as it goes."""
    async with await Account.open("alice@example.test", home=home) as account:
        events = account.events({"sync"})
        async with asyncio.timeout(20):
            syncing = asyncio.create_task(account.sync())
            event = await anext(events)
            assert isinstance(event, SyncProgress)
            while event.status.running or event.status.last_sync is None:
                event = await anext(events)
                assert isinstance(event, SyncProgress)
            await syncing
        await events.aclose()


def test_a_first_day_with_bitmask(made: World, run: Run, tmp_path: Path) -> None:
    assert as_json(run("user", "list", "--json")) == []
    assert "no account" in run("user", "list").stdout
    assert "`bitmask user create`" in run("sync", "status", code=1).stderr
    assert as_json(run("status", "--json")) == {"running": False, "accounts": []}

    created = as_json(
        run(
            "user", "create", "Alice@Example.Test", *_where(made), "--json", stdin=PASSPHRASE + "\n"
        )
    )
    assert created["address"] == "alice@example.test"
    assert len(created["recovery_code"].split()) == 24
    assert created["imap"]["user"] == "alice@example.test"
    again = run(
        "user", "create", "alice@example.test", *_where(made), stdin=PASSPHRASE + "\n", code=1
    )
    assert "set up here already" in again.stderr

    status = as_json(run("status", "--json"))
    assert status["running"]
    assert status["accounts"][0]["unlocked"]
    assert "everything is synced" in run("status").stdout

    settings = as_json(run("mail", "settings", "--json"))
    assert settings["imap"] == created["imap"]
    assert settings["smtp"]["password"] in run("mail", "settings").stdout
    renewed = as_json(run("mail", "settings", "--new-password", "--json"))
    assert renewed["imap"]["password"] != settings["imap"]["password"]

    assert as_json(run("mail", "queue", "list", "--json")) == {"entries": [], "delay": 0}

    keys = as_json(run("keys", "list", "--json"))
    assert [key["fingerprint"] for key in keys] == [created["fingerprint"]]
    assert run("keys", "export").stdout.startswith("-----BEGIN PGP PUBLIC KEY BLOCK-----")
    exported = as_json(run("keys", "export", "--secret", "--json"))
    assert exported["armored"].startswith("-----BEGIN PGP PRIVATE KEY BLOCK-----")
    run("keys", "export", "nobody@example.test", code=1)
    sources = as_json(run("keys", "sources", "--json"))
    assert (sources["wkd"], sources["vks"], sources["proxy"]) == (True, "", "")
    assert "the Web Key Directory of the address's domain" in run("keys", "sources").stdout
    run("keys", "sources", "--vks", "keys.example.net", "--wkd", "off")
    chosen = as_json(run("keys", "sources", "--proxy", "socks5://me:word@localhost:1", "--json"))
    assert chosen["sources"] == ["ring", "autocrypt", "directory", "vks", "mail"]
    assert "word" not in chosen["proxy"]
    assert "socks5://HOST:PORT" in run("keys", "sources", "--proxy", "tor", code=1).stderr
    run("keys", "sources", "--vks", "off", "--wkd", "on", "--proxy", "off")
    assert "No keys of others" in run("keys", "refresh").stdout
    assert as_json(run("keys", "refresh", "--json")) == []
    assert "no key is known" in run("keys", "refresh", "bob@example.test", code=1).stderr.lower()

    words = as_json(run("sync", "fingerprint", "--json"))
    assert (len(words["words"]), words["generation"]) == (8, 1)
    if not words["unsynced"]:
        assert run("sync", "fingerprint").stdout.splitlines()[0].split() != []
    [device] = as_json(run("sync", "status", "--json"))["devices"]
    assert device["this"]
    assert not device["stale"]
    assert "(this one) last wrote 20" in run("sync", "status").stdout
    wrong = run("sync", "refound", "--yes", stdin="not that one\n", code=3)
    assert "does not take this passphrase" in wrong.stderr
    founded = as_json(run("sync", "refound", "--yes", "--json", stdin=PASSPHRASE + "\n"))
    assert founded["alarm"] == ""
    assert as_json(run("sync", "fingerprint", "--json"))["generation"] == 2
    assert as_json(run("sync", "now", "--json"))["online"]
    asyncio.run(_syncs_are_followed(made.folder / "home"))

    assert as_json(run("user", "logout", "alice@example.test", "--json")) == {"revoked": True}
    assert as_json(run("user", "list", "--json")) == [
        {"address": "alice@example.test", "unlocked": False}
    ]
    locked = run("mail", "status", code=1)
    assert "bitmask user auth alice@example.test" in locked.stderr
    wrong = run("user", "auth", "alice@example.test", stdin="not that one\n", code=3)
    assert "passphrase" in wrong.stderr
    assert as_json(run("user", "auth", "alice@example.test", "--json", stdin=PASSPHRASE + "\n"))[
        "online"
    ]

    assert as_json(run("stop", "--json")) == {"stopped": True}
    assert as_json(run("stop", "--json")) == {"stopped": False}
    reading, writing = os.pipe()
    os.write(writing, f"alice@example.test:{PASSPHRASE}\n".encode())
    os.close(writing)
    started = subprocess.run(
        [
            BITMASK,
            "--home",
            str(made.folder / "home"),
            "start",
            "--passphrase-fd",
            str(reading),
            "--json",
        ],
        pass_fds=(reading,),
        capture_output=True,
        text=True,
        timeout=60,
    )
    os.close(reading)
    result = as_json(started)
    assert result["started"]
    assert result["accounts"][0]["unlocked"]
    assert (
        result["imap"]["port"] == settings["imap"]["port"]
    )  # what mail programs were told stays true


def test_mail_is_imported_from_file_maildir_and_mbox(made: World, run: Run, tmp_path: Path) -> None:
    run("user", "create", "bob@example.test", *_where(made), stdin=PASSPHRASE + "\n")
    needs_name = run("mail", "status", code=1)
    assert "which account" in needs_name.stderr
    one = tmp_path / "one.eml"
    one.write_bytes(b"Subject: one\n\nbody\n")
    maildir = mailbox.Maildir(str(tmp_path / "maildir"), create=True)
    flagged = mailbox.MaildirMessage(b"Subject: two\n\nbody\n")
    flagged.set_flags("FS")
    flagged.set_subdir("cur")
    maildir.add(flagged)
    maildir.add(b"Subject: three\n\nbody\n")
    mbox = tmp_path / "box"
    mbox.write_bytes(
        b"From a@example.test Sun Nov 22 12:00:00 2026\nSubject: four\n\n>From the start\n\n"
        b"From b@example.test Sun Nov 22 13:00:00 2026\nSubject: five\n\nbody\n\n"
    )
    account = ("--account", "bob@example.test")
    for source, count in ((one, 1), (tmp_path / "maildir", 2), (mbox, 2)):
        into = ("mail", "import", str(source), *account, "--mailbox", "Old/Mail")
        assert f"{count} messages would be imported" in run(*into, "--dry-run").stdout
        done = as_json(run(*into, "--json"))
        assert (done["imported"], done["refused"]) == (count, [])
        assert done["mailboxes"] == {"Old/Mail": count}
        assert f"{count} messages were here already" in run(*into).stdout
    status = as_json(run("mail", "status", "bob@example.test", "--json"))
    boxes = {box["name"]: box for box in status["mailboxes"]}
    assert boxes["Old/Mail"]["messages"] == 5
    assert boxes["Old/Mail"]["unseen"] == 4
    assert "5 messages, 4 unread" in run("mail", "status", "bob@example.test").stdout
    for name in ("a*b", "x//y", os.fsdecode(b"\xe9")):
        nowhere = ("mail", "import", str(mbox), *account, "--mailbox", name, "--dry-run", "--json")
        assert as_json(run(*nowhere, code=1))["error"] == "account"
    missing = run("mail", "import", str(tmp_path / "none"), *account, code=2)
    assert "none" in missing.stderr


def test_mail_is_exported_to_a_maildir_and_to_mboxes(run: Run, tmp_path: Path) -> None:
    account = ("--account", "bob@example.test")
    out = tmp_path / "out"
    done = as_json(run("mail", "export", str(out), *account, "--json"))
    assert (done["exported"], done["mailboxes"]) == (5, {"Old/Mail": 5})
    assert len(list((out / ".Old.Mail" / "cur").iterdir())) == 5
    again = run("mail", "export", str(out), *account).stdout
    assert "0 messages were exported" in again
    assert "5 messages were in" in again
    box = tmp_path / "box"
    one = ("--format", "mbox", "--mailbox", "Old/Mail", "--status")
    assert "not encrypted" in run("mail", "export", str(box), *account, *one).stdout
    with closing(mailbox.mbox(str(box), create=False)) as found:
        assert sorted(message["subject"] for message in found) == [
            "five",
            "four",
            "one",
            "three",
            "two",
        ]
    server = as_json(run("mail", "settings", "bob@example.test", "--json"))["imap"]
    at = ("--imap", f"{server['host']}:{server['port']}", "--imap-user", server["user"])
    elsewhere = ("mail", "import", *at, "--imap-no-tls", "--mailbox", "Copy", *account)
    copied = as_json(run(*elsewhere, "--json", stdin=server["password"]))
    assert copied["mailboxes"] == {"Copy/Old/Mail": 5}
    again = run(
        *elsewhere, stdin=server["password"]
    ).stdout  # it copies itself: only the copy is new
    assert "5 into Copy/Copy/Old/Mail\n" in again
    assert "into Copy/Old/Mail" not in again
    assert "refused the log-in" in run(*elsewhere, stdin="wrong", code=1).stderr
    assert "--imap-user" in run("mail", "import", *at[:2], *account, code=2).stderr
    nowhere = run("mail", "export", str(box), *account, "--mailbox", "none", code=1)
    assert "no mailbox none" in nowhere.stderr
    run("mail", "export", str(out), *account, "--status", code=2)
    assert (
        "leave out --offline"
        in run("mail", "export", str(out), *account, "--offline", code=1).stderr
    )
    inside = run("mail", "export", str(tmp_path / "box" / "x"), *account, code=1)
    assert "Not a directory" in inside.stderr


LETTER = (
    b"From: =?utf-8?q?J=C3=BCrgen?= <j@example.test>\r\nTo: bob@example.test\r\nSubject: A \x1b[31mred heron\r\n"
    b'MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nIt stands\r\nstill.\r\n'
    b"--b\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=wing.bin\r\n"
    b"Content-Transfer-Encoding: base64\r\n\r\nAAEC\r\n--b--\r\n"
)


def test_mail_is_found_and_shown(run: Run, tmp_path: Path) -> None:
    account = ("--account", "bob@example.test")
    (tmp_path / "letter.eml").write_bytes(LETTER)
    run("mail", "import", str(tmp_path / "letter.eml"), *account)
    found = as_json(run("mail", "search", "from:jurgen", "stands still", *account, "--json"))
    [message] = found["messages"]
    assert (message["mailbox"], message["from"]) == ("INBOX", "Jürgen <j@example.test>")
    listed = run("mail", "search", "has:attachment", *account).stdout
    assert message["id"][:10] in listed
    assert "\x1b" not in listed
    assert "Nothing found" in run("mail", "search", "kingfisher", *account).stdout
    assert "comes one of" in run("mail", "search", "is:odd", *account, code=1).stderr
    limited = run("mail", "search", "in:old/mail", "--limit", "2", *account).stdout
    assert len(limited.splitlines()) == 3
    shown = run("mail", "show", message["id"][:10], *account).stdout
    assert "Subject: A [31mred heron" in shown
    assert "It stands\nstill." in shown
    assert "Attachment 2: wing.bin" in shown
    for option, octets in ((["--raw"], LETTER), (["--part", "2"], b"\0\1\2")):
        assert run("mail", "show", message["id"], *option, *account).stdout.encode() == octets
    head = run("mail", "show", message["id"], "--headers", *account).stdout
    assert head.endswith('boundary="b"\r\n\r\n')
    assert as_json(run("mail", "show", message["id"], *account, "--json"))["parts"][1]["size"] == 3
    assert "no part 7" in run("mail", "show", message["id"], "--part", "7", *account, code=1).stderr
    assert "no message" in run("mail", "show", "ffffffffff", *account, code=1).stderr


def test_devices_passphrase_and_recovery_code(made: World, run: Run) -> None:
    erin, old, new = "erin@example.test", PASSPHRASE, "another good passphrase"
    created = as_json(
        run("user", "create", erin, *_where(made), "--device-name", "desk", "--json", stdin=old)
    )
    (desk,) = as_json(run("device", "list", erin, "--json"))
    assert (desk["name"], desk["this"], desk["revoked"]) == ("desk", True, None)
    assert desk["last_wrote"] >= desk["added"] > 0
    other = made.device("erins-phone")
    other.ask(
        "user-auth",
        address=erin,
        passphrase=old,
        api=made.provider.said["api"],
        ca=Path(made.provider.said["ca"]).read_text(),
        device_name="phone",
    )
    run("sync", "now", erin)
    account = ("--account", erin)
    assert "called kitchen now" in run("device", "rename", "desk", "kitchen", *account).stdout
    listed = run("device", "list", erin).stdout
    assert "kitchen" in listed
    assert "this device" in listed
    assert "no device" in run("device", "rename", "nobody", "x", *account, code=1).stderr
    assert "1 to 100" in run("device", "rename", "phone", "", *account, code=1).stderr

    shown = run("recovery", "show", erin, stdin=old).stdout
    assert shown.split() == created["recovery_code"].split()
    wrong = run("recovery", "show", erin, "--json", stdin="not that one", code=3)
    assert json.loads(wrong.stdout)["error"] == "wrong-passphrase"

    short = run("passphrase", "change", erin, stdin=f"{old}\nshort\n", code=2)
    assert "at least 8" in short.stderr
    same = run("passphrase", "change", erin, "--leaked", stdin=f"{old}\n{old}\n", code=1)
    assert "choose another one" in same.stderr
    itself = run("device", "revoke", "kitchen", "--keep-passphrase", *account, stdin=old, code=1)
    assert "cannot remove itself" in itself.stderr
    reading, writing = os.pipe()
    os.write(writing, f"{old}\n{new}\n".encode())
    os.close(writing)
    removed = as_json(
        subprocess.run(
            [
                BITMASK,
                *("device", "revoke", "phone", *account),
                *("--json", "--passphrase-fd", str(reading)),
            ],
            pass_fds=(reading,),
            capture_output=True,
            text=True,
            timeout=60,
            env={**os.environ, "BITMASK_HOME": str(made.folder / "home")},
        )
    )
    os.close(reading)
    assert removed["name"] == "phone"
    assert len(removed["recovery_code"].split()) == 24
    assert removed["recovery_code"] != created["recovery_code"]
    let_out = other.ask("sync-now", address=erin)["sentence"]
    assert let_out.startswith("Online, but sync fails: ")
    assert f"`bitmask user auth {erin}`" in let_out
    back = run("passphrase", "change", erin, stdin=f"{new}\n{old}\n")
    assert "holds from now on" in back.stdout
    newer = as_json(run("recovery", "show", erin, "--new", "--json", stdin=old))["recovery_code"]
    assert newer != removed["recovery_code"]

    run("user", "logout", erin)
    folder = made.folder / "home" / "accounts" / erin
    folder.rename(made.folder / "moved away")
    stale = f"{created['recovery_code']}\n{new}\n"
    assert (
        "was replaced"
        in run("recovery", "restore", erin, *_where(made), stdin=stale, code=1).stderr
    )
    restored = run("recovery", "restore", erin, *_where(made), stdin=f"{newer}\n{new}\n").stdout
    assert "new passphrase holds" in restored
    names = [(one["name"], one["this"]) for one in as_json(run("device", "list", erin, "--json"))]
    assert names[:2] == [("kitchen", False), ("phone", False)]
    assert names[2][1]
    run("user", "logout", erin)


def test_sync_is_told_done_and_resumed_after_an_alarm(made: World, run: Run) -> None:
    dave = "dave@example.test"
    run("user", "create", dave, *_where(made), stdin=PASSPHRASE + "\n")
    assert as_json(run("sync", "now", dave, "--json"))["alarm"] == ""
    status = as_json(run("sync", "status", dave, "--json"))
    assert status["address"] == dave
    assert status["online"]
    assert status["contents_missing"] == 0
    first, *devices = run("sync", "status", dave).stdout.splitlines()
    assert first == "Online, everything is synced."
    assert all("(this one) last wrote" in line for line in devices)
    nothing = run("sync", "resume", dave).stdout
    assert nothing.startswith("Sync had not stopped.")

    columns = "account, head, head_hash, seq"
    with stopped(made) as provider:  # it lies afterwards
        heads = provider.execute(f"SELECT {columns} FROM head").fetchall()
        provider.execute("DELETE FROM head")
    lie = json.loads(run("sync", "now", dave, "--json", code=1).stdout)
    assert lie["error"] == "alarm"
    assert "empty log" in lie["message"]
    assert "sync resume" in run("sync", "status", dave).stdout
    still = run("sync", "resume", dave, code=1)  # it still shows the same
    assert "empty log" in still.stdout
    assert "SYNC STOPPED" in still.stderr
    with stopped(made) as provider:
        provider.executemany(
            f"INSERT INTO head ({columns}) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", heads
        )
    resumed = as_json(run("sync", "resume", dave, "--json"))
    assert "empty log" in resumed["alarm_was"]
    assert (resumed["alarm"], resumed["online"]) == ("", True)
    assert run("sync", "now", dave).stdout.startswith("Online, everything is synced.\n")
    # the others of this home may have seen the lie as well
    for address in ("alice@example.test", "bob@example.test"):
        if address in accounts_of(run):
            run("sync", "resume", address)


@contextmanager
def stopped(made: World) -> Iterator[sqlite3.Connection]:
    """The provider's database while the provider does not run."""
    made.provider.stop()
    (path,) = made.folder.rglob("provider.sqlite")
    with closing(sqlite3.connect(path, isolation_level=None)) as provider:
        yield provider
    made.provider.start()


def accounts_of(run: Run) -> list[str]:
    return [account["address"] for account in as_json(run("user", "list", "--json"))]


def test_sync_says_when_the_provider_cannot_be_reached(tmp_path: Path) -> None:
    with world(tmp_path) as made:
        device = made.device("laptop")
        device.create("alice")
        made.provider.kill()
        done = subprocess.run(
            [BITMASK, "--home", str(device.home.path), "sync", "now", "--json"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 4
        assert json.loads(done.stdout)["error"] == "unreachable"
        assert "Offline" in done.stderr


def test_help_is_quick_because_it_imports_nothing_heavy() -> None:
    heavy = {
        "aiohttp",
        "cryptography",
        "sqlcipher3",
        "rich",
        "asyncio",
        "srp",
        "zstandard",
        "msgspec",
    }
    program = (
        "import sys; from leap.bitmask.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        f"print(sorted(set(sys.modules) & {heavy!r}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stderr.strip() == "[]"
    assert "Commands" in done.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("user", "auth", "bob"),
        ("user", "create", "carol@example.test", "--api", "http://localhost"),
        ("user", "create", "carol@example.test", "--api", "https://[::bad"),
        ("user", "create", "carol@example.test", "--api", "https://127.0.0.1:99999"),
        ("user", "create", "carol@example.test", "--api", ""),
        ("mail", "import", "/does/not/exist"),
        ("mail", "export", ""),
        ("start", "--imap-port", "70000"),
    ],
)
def test_wrong_usage_is_one_sentence_and_json_where_it_was_asked(
    run: Run, arguments: tuple[str, ...]
) -> None:
    in_words = run(*arguments, code=2)
    assert len(in_words.stderr.splitlines()) == 1
    assert as_json(run(*arguments, "--json", code=2))["error"] == "usage"


def test_an_authority_that_is_none_is_said_to_be_none(run: Run, tmp_path: Path) -> None:
    der = tmp_path / "ca.der"
    der.write_bytes(os.urandom(300))
    where = ("--api", "https://127.0.0.1:1", "--ca", str(der))
    done = run("user", "create", "carol@example.test", *where, stdin=PASSPHRASE + "\n", code=2)
    assert "PEM" in done.stderr


def test_what_is_no_mail_is_not_imported(run: Run, tmp_path: Path) -> None:
    account = ("--account", "bob@example.test")
    for data in (b"", os.urandom(3000), b"no field here\n"):
        (tmp_path / "file").write_bytes(data)
        done = run("mail", "import", str(tmp_path / "file"), *account, code=1)
        assert "Nothing was imported" in done.stderr


def test_usage_errors_are_answered_with_two(run: Run) -> None:
    run("user", "create", "not-an-address", code=2)
    run("user", "create", "carol@example.test", code=2)
    run("nonsense", code=2)
    run("user", "auth", "carol@example.test", "--api", "https://localhost", code=2)


def test_mail_is_imported_and_exported_without_the_daemon(run: Run, tmp_path: Path) -> None:
    run("stop")
    (tmp_path / "one.eml").write_bytes(b"Subject: offline\n\nbody\n")
    account = ("--account", "bob@example.test", "--mailbox", "Offline", "--offline")
    into = ("mail", "import", str(tmp_path / "one.eml"), *account)
    assert "bitmask is not running" in run(*into[:-1], code=6).stderr
    done = as_json(run(*into, "--json", stdin=PASSPHRASE + "\n"))
    assert done["mailboxes"] == {"Offline": 1}
    out = tmp_path / "out"
    run("mail", "export", str(out), *account, stdin=PASSPHRASE + "\n")
    [path] = (out / "cur").iterdir()
    assert path.read_bytes() == b"Subject: offline\n\nbody\n"
