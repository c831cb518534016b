"""`bitmask mail queue`: a person sees what waits, calls it back, or sends it now."""

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
from leap.mail.rpc import serve_accounts
from tests.mail.travel import FakeProvider, Person, mail, open_person

ALICE, EVE, CAROL = "alice@example.test", "eve@elsewhere.test", "carol@elsewhere.test"


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
        with_key=False,
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


class Queue:
    """The command, on the home of the test."""

    def __init__(self, home: Path) -> None:
        self._home = str(home)

    async def __call__(self, *arguments: str, code: int = 0) -> str:
        line = ["--home", self._home, "mail", "queue", *arguments]
        done = await asyncio.to_thread(CliRunner().invoke, main, line)
        assert done.exit_code == code, (done.output, done.exception)
        return done.output

    async def json(self, *arguments: str) -> Any:
        return json.loads(await self(*arguments, "--json"))


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(tmp_path)


async def send(alice: Person, *to: str, body: bytes = b"hi\r\n") -> str:
    return await alice.account.submit(mail(to=to[0], body=body), ALICE, list(to))


async def test_what_waits_is_shown_with_the_reason_and_called_back(
    alice: Person, queue: Queue
) -> None:
    assert "No mail waits" in await queue("list")
    alice.provider.offline = True
    outbox_id = await send(alice, EVE)
    await alice.sender.process_due()
    listed = await queue("list")
    assert f"{outbox_id[:10]}  queued, tried once, next in" in listed
    assert "The secret plan" in listed
    assert "its key could not be looked up now" in listed
    assert "nobody got it" in await queue("cancel", outbox_id[:8])
    [entry] = (await queue.json("list"))["entries"]
    assert (entry["state"], entry["outbox_id"]) == ("cancelled", outbox_id)
    assert "cancelled before" in await queue("cancel", outbox_id, code=1)
    alice.provider.offline = False
    await alice.sender.process_due()
    assert alice.provider.submitted == []


async def test_some_of_them_have_it_and_it_says_who(alice: Person, queue: Queue) -> None:
    alice.provider.replies = {CAROL: (451, "4.2.0 Later")}
    outbox_id = await send(alice, EVE, CAROL)
    await alice.sender.process_due()
    assert await queue.json("retry") == {"tried": [outbox_id]}
    assert "1 mail is tried" in await queue("retry")
    said = await queue("cancel", outbox_id)
    assert f"sent      {EVE}  250" in said
    assert f"cancelled {CAROL}" in said
    assert "Too late" in await queue("cancel", outbox_id, code=1)
    assert "No mail waits" in await queue("list")
    assert [one["state"] for one in (await queue.json("list", "--all"))["entries"]] == ["sent"]


async def test_the_delay_is_set_and_a_mail_leaves_before_it(alice: Person, queue: Queue) -> None:
    assert "at once" in await queue("delay")
    assert await queue.json("delay", "600") == {"delay": 600}
    outbox_id = await send(alice, EVE)
    assert "waits 600 seconds" in await queue("list")
    assert "No mail" in await queue("retry")  # of what could not be sent
    await alice.sender.process_due()
    assert alice.provider.submitted == []
    assert "is tried now" in await queue("retry", outbox_id[:6])
    await alice.sender.process_due()
    assert len(alice.provider.submitted) == 1
    assert "not waiting: it is sent" in await queue("retry", outbox_id, code=1)
    await queue("delay", "3601", code=2)


async def test_a_mail_that_is_not_there_is_not_found(alice: Person, queue: Queue) -> None:
    for command in ("cancel", "retry"):
        assert "There is no mail abc" in await queue(command, "abc", code=1)
    first, second = await send(alice, EVE), await send(alice, EVE, body=b"other\r\n")
    same = next((n for n in range(32) if first[n] != second[n]), 0)
    if same:
        assert "Several" in await queue("cancel", first[:same], code=1)
