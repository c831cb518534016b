"""Whole programs: what the reactor's end leaves behind, the wrong reactor, and the example."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from leap.bitmask.home import Lock
from leap.mail import Account, NewMessage
from leap.mail.local import OwnedAccount
from leap.mail.memory import MemoryAccount
from leap.mail.rpc import serve_accounts
from tests.twisted.making import ALICE, RAW

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "twisted_notifier.py"
PATIENCE = 60.0  # seconds, on a machine with much else to do
STOPPING = """
import sys
from pathlib import Path
INSTALL
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from leap.mail import Account as AsyncAccount
from leap.mail.twisted import Account
from leap.mail.twisted.bridge import run
from tests.twisted.making import RAW, open_store

async def main():
    account = Account(AsyncAccount(await run(open_store(Path(sys.argv[1])))))
    inbox = await account.collection("INBOX")
    await inbox.add(RAW)
    changes = account.changes()
    changes.each(lambda change: None).addCallback(lambda _: print("the feed has ended"))
    inbox.add(RAW).addCallback(lambda added: inbox.add(RAW)).addCallback(lambda _: print("added"))
    reactor.stop()

reactor.callWhenRunning(lambda: Deferred.fromCoroutine(main()))
reactor.run()
"""
ASYNCIO = "from leap.mail.twisted import install; install()"
UVLOOP = "from leap.mail.twisted.on_uvloop import install; install()"
WRONG = """
from twisted.internet import reactor
from leap.mail.twisted import Account
Account.open("alice@example.test")
"""


@pytest.mark.parametrize("install", [ASYNCIO, UVLOOP], ids=["asyncio", "uvloop"])
async def test_what_was_begun_is_finished_before_the_reactor_stops(
    install: str, tmp_path: Path
) -> None:
    program = [sys.executable, "-W", "error", "-c", STOPPING.replace("INSTALL", install)]
    done = await asyncio.to_thread(
        subprocess.run,
        [*program, str(tmp_path / "store")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert sorted(done.stdout.splitlines()) == ["added", "the feed has ended"]
    backend = await OwnedAccount.open_path(tmp_path / "store" / "store.db", bytes(32), ALICE)
    async with Account(backend) as account:
        assert await (await account.collection("INBOX")).count() == 3


def test_the_wrong_reactor_is_named_with_what_to_do() -> None:
    done = subprocess.run([sys.executable, "-c", WRONG], capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("leap.mail.twisted.bridge.WrongReactor: leap.mail needs")
    assert "--reactor asyncio" in last
    assert "never awaited" not in done.stderr


async def test_the_example_tells_of_new_mail(tmp_path: Path) -> None:
    """At a daemon's socket, as when bitmask runs."""
    account = Account(MemoryAccount(ALICE))
    inbox = await account.collection("INBOX")
    await inbox.add(RAW)
    path = tmp_path / "accounts.sock"
    server = await serve_accounts(path, "token", {ALICE: account.backend}.get)
    record = {"control": "", "accounts": str(path), "token": "token"}
    (tmp_path / "daemon.json").write_text(json.dumps(record))
    lock = Lock(tmp_path / "daemon.lock")  # as a running daemon holds it
    assert lock.take()
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-W",
            "error",
            str(EXAMPLE),
            ALICE,
            "--home",
            str(tmp_path),
            "--count",
            "2",
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE):
            first = await process.stdout.readline()
            assert first == b"alice@example.test: 1 unread; waiting for more\n", first
            await inbox.add_many(NewMessage(raw=RAW.replace(b"Nests", b"%d" % i)) for i in (1, 2))
            rest = await process.stdout.read()
            assert await process.wait() == 0, rest
    finally:
        if process.returncode is None:
            process.kill()
        await server.close()
        lock.release()
    told = [f"New mail from Bob <bob@example.test>: {i}" for i in (1, 2)]
    assert rest.decode().splitlines() == told


def test_the_example_says_what_is_missing(tmp_path: Path) -> None:
    program = [sys.executable, str(EXAMPLE), ALICE, "--home", str(tmp_path)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert done.stderr.startswith("twisted_notifier: alice@example.test is not set up here")
    assert len(done.stderr.splitlines()) == 1


def test_the_documented_program_is_the_example() -> None:
    text = (ROOT / "docs" / "twisted.md").read_text()
    assert EXAMPLE.read_text().strip() in "\n".join(
        re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    )
