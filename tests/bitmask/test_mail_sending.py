"""`bitmask mail sending`, `bitmask mail addresses`, and what `mail show` and `mail queue` say of how a mail went."""

from __future__ import annotations

import asyncio
import fcntl
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from leap.bitmask.cli.main import main
from leap.mail.outbox_contract import SendingRules
from leap.mail.rpc import serve_accounts
from tests.mail.travel import FakeProvider, Person, mail, open_person

ALICE, EVE = "alice@example.test", "eve@elsewhere.test"


@pytest.fixture
async def alice(tmp_path: Path) -> AsyncIterator[Person]:
    """An account at a daemon that runs on the home `tmp_path`."""
    folder = tmp_path / "accounts" / ALICE
    folder.mkdir(parents=True)
    (folder / "vault.json").write_text("{}")
    person = await open_person(
        FakeProvider(),
        folder,
        "alice",
        clock=time.time,  # type: ignore[arg-type]
    )
    server = await serve_accounts(tmp_path / "s", "token", {ALICE: person.account}.get)
    record = {"control": "", "accounts": str(server.path), "token": "token"}
    (tmp_path / "daemon.json").write_text(json.dumps(record))
    with (tmp_path / "daemon.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield person
    await server.close()
    await person.close()


class Mail:
    """`bitmask mail`, on the home of the test."""

    def __init__(self, home: Path) -> None:
        self._home = str(home)

    async def __call__(self, *arguments: str, code: int = 0) -> str:
        line = ["--home", self._home, "mail", *arguments]
        done = await asyncio.to_thread(CliRunner().invoke, main, line)
        assert done.exit_code == code, (done.output, done.exception)
        return done.output

    async def json(self, *arguments: str) -> Any:
        return json.loads(await self(*arguments, "--json"))


@pytest.fixture
def bitmask(tmp_path: Path) -> Mail:
    return Mail(tmp_path)


async def test_rules_are_shown_set_one_by_one_and_kept(alice: Person, bitmask: Mail) -> None:
    shown = await bitmask("sending")
    assert "encrypted whenever a key is found" in shown
    assert "nothing is sent (--mixed refuse)" in shown
    shown = await bitmask("sending", "--mixed", "split", "--sign", "on")
    assert "the others encrypted mail" in shown
    await bitmask("sending", "--encrypt", "require", "--subject-tags", "on", "--replies", "allow")
    await bitmask("sending", "--sent-copies", "off")
    assert await alice.outgoing.sending_rules() == SendingRules(
        encrypt="require",
        sign=True,
        mixed="split",
        replies="allow",
        subject_tags=True,
        sent_copies=False,
    )
    found = await bitmask.json("sending")
    assert (found["address"], found["encrypt"], found["sign"]) == (ALICE, "require", True)
    await bitmask("sending", "--mixed", "guess", code=2)


async def test_the_addresses_are_shown(alice: Person, bitmask: Mail) -> None:
    await alice.outgoing.identities.keep_aliases(["sales@example.test"])
    assert (await bitmask("addresses")).split() == [ALICE, "sales@example.test"]
    assert (await bitmask.json("addresses"))["addresses"] == [ALICE, "sales@example.test"]


async def test_how_a_mail_went_is_shown_in_the_queue_and_with_the_copy_in_sent(
    alice: Person, bitmask: Mail
) -> None:
    alice.provider.replies[EVE] = (550, "5.1.1 No such user")
    await alice.account.submit(mail(to="fay@elsewhere.test"), ALICE, ["fay@elsewhere.test", EVE])
    await alice.sender.process_due()
    listed = await bitmask("queue", "list", "--all")
    assert "failed    eve@elsewhere.test  550 5.1.1 No such user  (readable)" in listed
    found = await bitmask.json("search", "in:sent")
    shown = await bitmask("show", found["messages"][0]["id"])
    assert "Sent: fay@elsewhere.test: handed on, readable\n" in shown
    assert "Sent: eve@elsewhere.test: not delivered, readable (550)\n" in shown
