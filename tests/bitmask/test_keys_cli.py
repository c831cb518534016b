"""`bitmask keys` about the keys of others, as a person or a script uses it, against a real daemon and provider."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from leap.bitmask.cli import key_options
from leap.bitmask.cli.main import main
from leap.keymanager.comparison import grouped
from leap.keymanager.openpgp import Certificate, SecretKey, generate
from leap.keymanager.openpgp.signature import SignatureType
from tests.keymanager.making import replaced, sign_on, user_id_of, with_more
from tests.scenarios.world import World, world

Run = Callable[..., Result]
BOB = "bob@elsewhere.test"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("keys")) as made:
        yield made


@pytest.fixture(scope="module")
def run(made: World) -> Iterator[Run]:
    """Runs the commands in this process: starting an interpreter for each would take most of the time."""
    home = made.folder / "home"

    def run(*arguments: str, stdin: str = "", code: int = 0) -> Result:
        done = CliRunner(env={"BITMASK_HOME": str(home)}).invoke(main, arguments, input=stdin)
        assert done.exit_code == code, (arguments, done.stdout, done.stderr, done.exception)
        return done

    where = ["--api", made.provider.said["api"], "--ca", made.provider.said["ca"]]
    run("user", "create", "alice@example.test", *where, stdin="correct horse battery\n")
    yield run
    run("stop")


@pytest.fixture(scope="module")
def bob() -> SecretKey:
    return generate(BOB)


@pytest.fixture(scope="module")
def bobs_file(made: World, bob: SecretKey) -> Path:
    file = made.folder / "bob.asc"
    file.write_bytes(bob.certificate.armored())
    return file


def as_json(done: Result) -> Any:
    assert len(done.stdout.splitlines()) == 1, done.stdout
    return json.loads(done.stdout)


def test_a_key_from_a_file_until_it_is_forgotten(
    run: Run, bob: SecretKey, bobs_file: Path, tmp_path: Path
) -> None:
    groups = grouped(bob.fingerprint)
    assert "no key is known for" in run("keys", "show", BOB, code=1).stderr.lower()

    taken = as_json(run("keys", "import", str(bobs_file), "--json"))["keys"]
    assert [(one["address"], one["taken"]) for one in taken] == [(BOB, True)]
    again = run("keys", "import", "-", stdin=bobs_file.read_text())
    assert again.stdout == f"taken: {groups} for {BOB}: it is an update of the same key.\n"
    compared = ("--verified", bob.fingerprint)
    secret = run("keys", "import", "-", *compared, stdin=bob.armored().decode(), code=2)
    assert "secret key" in secret.stderr

    shown = run("keys", "show", BOB).stdout
    assert groups in shown
    assert "weak chain: imported by you from bob.asc" in shown
    [found] = as_json(run("keys", "show", bob.fingerprint, "--json"))
    assert (found["level"], found["evidence"][0]["source"]) == ("weak-chain", "import")
    assert groups in run("keys", "list").stdout
    assert found["fingerprint"] in {
        k["fingerprint"] for k in as_json(run("keys", "list", "--json"))
    }

    compared = as_json(run("keys", "verify", BOB, "--json"))
    assert (len(compared["key"]["words"]), compared["verified"]) == (8, False)
    assert compared["key"]["qr"] == f"OPENPGP4FPR:{bob.fingerprint}"
    nobody_there = run("keys", "verify", BOB, code=1)
    assert " ".join(compared["key"]["words"]) in nobody_there.stdout
    assert "Nothing was decided" in nobody_there.stderr
    wrong = run("keys", "verify", BOB, "A" * 40, code=1)
    assert "is not that of the key of" in wrong.stderr
    assert "You verified" in run("keys", "verify", BOB, *groups.lower().split()).stdout
    run("keys", "verify", BOB, bob.fingerprint, "--undo", code=2)
    undone = as_json(run("keys", "verify", BOB, "--undo", "--json"))
    assert (undone["level"], undone["fingerprint"]) == ("weak-chain", bob.fingerprint)
    run("keys", "verify", BOB, "--keep", code=1)
    run("keys", "verify", BOB, "--accept", code=1)

    assert as_json(run("keys", "policy", BOB, "--json"))["policy"] == "default"
    assert "encrypted or not at all" in run("keys", "policy", BOB, "require").stdout
    assert as_json(run("keys", "policy", BOB, "--json"))["policy"] == "require"
    run("keys", "policy", BOB, "perhaps", code=2)

    blocked = as_json(run("keys", "block", BOB, "--reason", "lost", "--json"))
    assert [one["fingerprint"] for one in blocked["blocked"]] == [bob.fingerprint]
    assert "You blocked this key" in run("keys", "show", BOB).stdout
    assert "No key is blocked" in run("keys", "block", BOB, "--undo").stdout

    file = tmp_path / "out.asc"
    assert f"Written to {file}" in run("keys", "export", BOB, "--output", str(file)).stdout
    assert file.read_text().startswith("-----BEGIN PGP PUBLIC KEY BLOCK-----")
    assert "is there already" in run("keys", "export", BOB, "--output", str(file), code=1).stderr
    everybody = as_json(run("keys", "export", "--all", "--json"))
    assert len(everybody["keys"]) == everybody["armored"].count("BEGIN PGP PUBLIC") == 2
    run("keys", "export", "--all", BOB, code=2)

    run("keys", "delete", BOB, code=2)  # nobody there to say yes
    own = run("keys", "delete", "alice@example.test", "--yes", code=1).stderr
    assert own == "Error: alice@example.test is your own address: its keys are yours.\n"
    assert as_json(run("keys", "delete", BOB, "--yes", "--json"))["fingerprint"] == bob.fingerprint
    run("keys", "show", BOB, code=1)


def test_what_ones_own_mail_prefers_is_shown_and_set(run: Run) -> None:
    assert as_json(run("keys", "autocrypt", "--json"))["prefer_encrypt"] == "mutual"
    assert "nothing of what you prefer" in run("keys", "autocrypt", "nopreference").stdout
    assert as_json(run("keys", "autocrypt", "--json"))["prefer_encrypt"] == "nopreference"
    run("keys", "autocrypt", "never", code=2)
    assert "prefer to have encrypted mail" in run("keys", "autocrypt", "mutual").stdout


def test_finding_says_what_each_place_answered(run: Run) -> None:
    found = as_json(run("keys", "find", "nobody@example.test", "--json"))
    outcomes = {answer["source"]: answer["outcome"] for answer in found["answers"]}
    assert outcomes["ring"] == outcomes["directory"] == "none"
    assert "No key was found for" in run("keys", "find", "nobody@example.test").stdout


def test_a_key_compared_before_its_import_is_verified_and_a_change_is_told_everywhere(
    run: Run, bob: SecretKey, bobs_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = ["keys", "import", str(bobs_file), "--verified", grouped(bob.fingerprint)]
    assert "taken" in run(*both).stdout
    assert "fingerprint" in run("keys", "list").stdout
    assert as_json(run("status", "--json"))["accounts"][0]["key_alerts"] == []
    other = generate(BOB)
    run("keys", "import", str(bobs_file), "--verified", other.fingerprint, code=1)
    refused = run("keys", "import", "-", stdin=other.certificate.armored().decode(), code=1)
    assert refused.stdout.startswith("refused: ")

    offered = signed_by(bob, other).armored().decode()
    assert "so you decide" in run("keys", "import", "-", stdin=offered, code=1).stdout
    for command in (["status"], ["keys", "list"], ["keys", "show", BOB]):
        assert f"ATTENTION: The key of {BOB} may have changed" in run(*command).stdout
    [alert] = as_json(run("status", "--json"))["accounts"][0]["key_alerts"]
    assert f"bitmask keys verify {BOB} {other.fingerprint}" in alert

    monkeypatch.setattr(key_options, "somebody_answers", lambda: True)
    none = run("keys", "verify", BOB, stdin="n\nn\n", code=1)
    assert "ANOTHER KEY IS OFFERED" in none.stdout
    assert "Nothing was decided" in none.stderr
    run("keys", "delete", BOB, stdin="n\n", code=1)
    assert grouped(other.fingerprint) in run("keys", "verify", BOB, stdin="n\ny\n").stdout
    assert as_json(run("status", "--json"))["accounts"][0]["key_alerts"] == []
    [key] = as_json(run("keys", "show", BOB, "--json"))
    assert (key["fingerprint"], key["level"]) == (other.fingerprint, "fingerprint")


def signed_by(old: SecretKey, new: SecretKey) -> Certificate:
    component = user_id_of(new.certificate, BOB)
    at = int(time.time())
    vouched = sign_on(component, new.certificate, old, SignatureType.CERTIFY_GENERIC, at=at)
    return replaced(new.certificate, component, with_more(component, [vouched]))


def test_a_locked_account_and_a_daemon_that_does_not_run_are_told_apart(run: Run) -> None:
    """The last test of this file: afterwards nothing answers."""
    commands = (
        ["list"],
        ["show", BOB],
        ["find", BOB],
        ["export"],
        ["verify", BOB, "--undo"],
        ["refresh"],
        ["rotate"],
        ["revoke", "--yes"],
        ["delete", BOB, "--yes"],
        ["autocrypt"],
        ["sources"],
    )
    run("user", "logout", "alice@example.test")
    for command in commands:
        locked = run("keys", *command, code=1).stderr
        assert "`bitmask user auth alice@example.test`" in locked, command
    run("stop")
    for command in commands:
        assert "bitmask start" in run("keys", *command, code=6).stderr, command
