"""`bitmask doctor` as a person or a script uses it, with a daemon and a provider as processes."""

from __future__ import annotations

import imaplib
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.bitmask.test_cli import PASSPHRASE, Run, _where, as_json, made, run
from tests.scenarios.world import World, append, fetched

assert made, run

ALICE, BOB = "alice@example.test", "bob@example.test"
RAW = b"Subject: hello %d\r\nFrom: alice@example.test\r\n\r\nbody %d\r\n"
EXPORT = "an export's own passphrase"


def imap(settings: dict[str, Any]) -> imaplib.IMAP4:
    server = settings["imap"]
    client = imaplib.IMAP4(server["host"], server["port"], timeout=30)
    client.login(server["user"], server["password"])
    return client


def messages(client: imaplib.IMAP4, mailbox: str) -> list[tuple[bytes, bool]]:
    client.select(mailbox)
    _, data = client.uid("FETCH", "1:*", "(BODY.PEEK[] FLAGS)")
    bodies = fetched(data)
    _, [seen] = client.uid("SEARCH", "SEEN")
    read = {int(uid) for uid in seen.split()}
    return [(raw, uid in read) for uid, raw in sorted(bodies.items())]


def validity(client: imaplib.IMAP4, mailbox: str) -> int:
    _, [line] = client.status(mailbox, "(UIDVALIDITY)")
    return int(line.split(b"UIDVALIDITY ")[1].rstrip(b")"))


@pytest.fixture(scope="module")
def alice(made: World, run: Run) -> dict[str, Any]:
    created = as_json(
        run("user", "create", ALICE, *_where(made), "--json", stdin=PASSPHRASE + "\n")
    )
    client = imap(created)
    client.create("Work")
    for n in range(3):
        append(client, "INBOX (\\Seen)" if n == 1 else "INBOX", RAW % (n, n))
    append(client, "Work", RAW % (9, 9) + random.Random(9).randbytes(300_000).hex().encode())
    client.logout()
    run("sync", "now", ALICE)
    return created


def test_all_is_well(run: Run, alice: dict[str, Any]) -> None:
    report = as_json(run("doctor", "verify", ALICE, "--json"))
    assert report["clean"]
    assert report["provider"] == "checked"
    assert report["checked"]["rows"] == 4
    assert report["checked"]["sampled"] == 8
    assert "Everything is as it should be." in run("doctor", "verify", ALICE, "--local").stdout


def test_an_account_moves_into_another_one(
    made: World, run: Run, alice: dict[str, Any], tmp_path: Path
) -> None:
    bob = as_json(run("user", "create", BOB, *_where(made), "--json", stdin=PASSPHRASE + "\n"))
    path = tmp_path / "alice.export"
    told = as_json(
        run("doctor", "export", str(path), "--account", ALICE, "--json", stdin=EXPORT + "\n")
    )
    assert (told["messages"], told["bytes"]) == (4, path.stat().st_size)
    assert path.stat().st_mode & 0o777 == 0o600
    again = run("doctor", "export", str(path), "--account", ALICE, stdin=EXPORT + "\n", code=1)
    assert "choose another name" in again.stderr
    run("doctor", "import", str(path), "--account", BOB, stdin="not that one\n", code=3)
    broken = tmp_path / "broken"
    broken.write_bytes(path.read_bytes()[:-1])
    refused = run("doctor", "import", str(broken), "--account", BOB, stdin=EXPORT + "\n", code=1)
    assert "damaged" in refused.stderr
    for expected in (4, 0):
        taken = as_json(
            run("doctor", "import", str(path), "--account", BOB, "--json", stdin=EXPORT + "\n")
        )
        assert (taken["messages"], taken["from"]) == (expected, ALICE)
    one, other = imap(alice), imap(bob)
    for mailbox in ("INBOX", "Work"):
        assert messages(other, mailbox) == messages(one, mailbox) != []
    one.logout()
    other.logout()
    run("sync", "now", BOB)
    assert as_json(run("doctor", "verify", BOB, "--json"))["clean"]
    assert (
        "were here already"
        in run("doctor", "import", str(path), "--account", BOB, stdin=EXPORT + "\n").stdout
    )


def test_rebuild_logs_mail_programs_out_and_mints_a_larger_uidvalidity(
    run: Run, alice: dict[str, Any]
) -> None:
    client = imap(alice)
    before, old = messages(client, "INBOX"), validity(client, "Work")
    assert "were derived anew" in run("doctor", "rebuild", ALICE).stdout
    assert client.file.readline().startswith(b"* BYE")
    client.shutdown()
    client = imap(alice)
    assert sorted(messages(client, "INBOX")) == sorted(before)
    assert validity(client, "Work") > old
    client.logout()
    assert as_json(run("doctor", "verify", ALICE, "--json"))["clean"]


def test_compact_says_what_it_gave_back(run: Run, alice: dict[str, Any]) -> None:
    freed = as_json(run("doctor", "compact", ALICE, "--json"))
    assert freed["after"] <= freed["before"]
    assert not freed["too_large"]
    assert "bytes were given back" in run("doctor", "compact", ALICE).stdout


def test_damage_is_told_by_exit_code_and_sentence_and_repaired(
    made: World, run: Run, alice: dict[str, Any]
) -> None:
    [file] = (made.folder / "home/accounts" / ALICE / "store.db-blobs").glob("*/*")
    data = file.read_bytes()
    file.write_bytes(data[:-1])
    report = as_json(run("doctor", "verify", ALICE, "--json", code=9))
    [finding] = report["findings"]
    assert (finding["kind"], finding["what"]) == ("blob-damaged", file.name)
    assert finding["sentence"] in run("doctor", "verify", ALICE, code=9).stdout
    assert "(asked for again)" in run("doctor", "verify", ALICE, "--repair").stdout
    client = imap(alice)
    [(raw, _)] = messages(client, "Work")
    assert len(raw) > 400_000
    client.logout()
    assert file.read_bytes() == data
    assert as_json(run("doctor", "verify", ALICE, "--json"))["clean"]


def test_without_the_provider_what_is_here_is_checked(
    made: World, run: Run, alice: dict[str, Any]
) -> None:
    made.provider.stop()
    done = run("doctor", "verify", ALICE, "--json", code=4)
    report = json.loads(done.stdout)
    assert report["clean"]
    assert report["provider"] not in ("checked", "not asked")
