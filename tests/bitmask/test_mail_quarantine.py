"""`bitmask mail quarantine`: a person sees what could not be opened and why, tries again, and takes it out."""

from __future__ import annotations

import asyncio
import json
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from leap.bitmask.home import Home, Lock
from leap.bitmask.local_api import LocalApi, Progress
from leap.bitmask.quarantine_commands import quarantine_commands
from leap.soledad.inbox_seal import InboxPrivateKey, generate_inbox_key, seal_to_inbox
from leap.soledad.private_file import write_private
from tests.bitmask.command import bitmask
from tests.mail.travel import NOW, FakeProvider, Person, mail, open_person

ALICE = "alice@example.test"


class World:
    """An account at a daemon's control socket, with one mail for a key that is elsewhere and one that is no seal."""

    def __init__(self, home: Path, alice: Person, key: InboxPrivateKey, raw: bytes) -> None:
        self.home, self.alice, self.key, self.raw = home, alice, key, raw

    async def __call__(self, *arguments: str, code: int = 0) -> str:
        done = await asyncio.to_thread(
            bitmask, self.home, "mail", "quarantine", *arguments, code=code
        )
        return done.stdout + done.stderr

    async def listed(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(await self("list", "--json"))
        return found


@pytest.fixture
async def quarantine(tmp_path: Path) -> AsyncIterator[World]:
    folder = tmp_path / "accounts" / ALICE
    folder.mkdir(parents=True)
    (folder / "vault.json").write_text("{}")
    alice = await open_person(FakeProvider(), folder, "alice", with_key=False)
    material = alice.store.material
    assert material is not None
    key, raw = generate_inbox_key(int(NOW)), mail(body=b"For another key.\r\n")
    alice.provider.put(ALICE, key.key_id, seal_to_inbox(raw, key.public, material.account_id))
    alice.provider.put(ALICE, "k", b"no seal at all")
    assert await alice.incoming.process_once() == 2
    session = SimpleNamespace(incoming=alice.incoming, store=alice.store)
    sessions: Any = SimpleNamespace(get=lambda address: session)
    plain = quarantine_commands(sessions)

    def command(name: str) -> Any:
        async def run(arguments: dict[str, Any], progress: Progress) -> Any:
            return await plain[name](arguments)

        return run

    api = LocalApi(tmp_path / "c", "token", {name: command(name) for name in plain})
    await api.start()
    record = {"control": str(api.path), "accounts": "", "token": "token"}
    home = Home(tmp_path)
    write_private(home.daemon_file, json.dumps(record).encode())
    lock = Lock(home.daemon_lock)
    assert lock.take()
    yield World(tmp_path, alice, key, raw)
    lock.release()
    await api.close()
    await alice.close()


async def test_what_could_not_be_opened_is_listed_and_shown_with_the_reason(
    quarantine: World,
) -> None:
    listed = await quarantine.listed()
    assert {one["key_id"] for one in listed} == {quarantine.key.key_id, "k"}
    said = await quarantine("list")
    for one in listed:
        assert one["reason"]
        assert f"{one['id'][:10]}  " in said
        assert one["reason"] in said
        shown = await quarantine("show", one["id"][:10])
        assert one["id"] in shown
        assert "not on this device" in shown
    assert "no mail zz in quarantine" in await quarantine("show", "zz", code=1)


async def test_it_is_opened_when_its_key_came_and_then_it_is_gone_from_here(
    quarantine: World,
) -> None:
    assert "stays" in await quarantine("retry")
    material = quarantine.alice.store.material
    assert material is not None
    keys = [*material.inbox_keys, quarantine.key]
    await quarantine.alice.store.save_material(msgspec.structs.replace(material, inbox_keys=keys))
    [waiting] = [one for one in await quarantine.listed() if one["key_is_here"]]
    assert "1 mail was opened and is in INBOX." in await quarantine("retry", waiting["id"][:8])
    [message] = await quarantine.alice.messages()
    assert b"For another key." in message
    assert [one["key_id"] for one in await quarantine.listed()] == ["k"]


async def test_it_is_written_to_a_file_of_its_owner_sealed_or_as_it_came(
    quarantine: World, tmp_path: Path
) -> None:
    [mine] = [one for one in await quarantine.listed() if one["key_id"] == quarantine.key.key_id]
    sealed, clear = tmp_path / "sealed", tmp_path / "clear.eml"
    assert "It is sealed" in await quarantine("export", mine["id"], str(sealed))
    assert b"For another key" not in sealed.read_bytes()
    assert "exists already" in await quarantine("export", mine["id"], str(sealed), code=1)
    assert "cannot be written" in await quarantine("export", mine["id"], "/no/such/place", code=1)
    material = quarantine.alice.store.material
    assert material is not None
    keys = [*material.inbox_keys, quarantine.key]
    await quarantine.alice.store.save_material(msgspec.structs.replace(material, inbox_keys=keys))
    assert "as it arrived" in await quarantine("export", mine["id"], str(clear))
    assert clear.read_bytes() == quarantine.raw
    assert stat.S_IMODE(clear.stat().st_mode) == 0o600
