"""The control socket: who may ask, and what becomes of bad requests and failing commands."""

from __future__ import annotations

import asyncio
import json
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from leap.bitmask.control import ControlError, NotRunning, ask
from leap.bitmask.home import Home, Lock
from leap.bitmask.local_api import CommandRefused, LocalApi, Progress
from leap.soledad.private_file import write_private


async def _echo(arguments: dict[str, Any], progress: Progress) -> Any:
    progress({"step": 1})
    return arguments


async def _refuse(arguments: dict[str, Any], progress: Progress) -> Any:
    raise CommandRefused("too-late", "It is too late.")


async def _break(arguments: dict[str, Any], progress: Progress) -> Any:
    raise RuntimeError("secret detail")


@pytest.fixture
async def home(tmp_path: Path) -> Any:
    home = Home(tmp_path)
    api = LocalApi(
        tmp_path / "control.sock", "token", {"echo": _echo, "refuse": _refuse, "break": _break}
    )
    await api.start()
    record = {"control": str(api.path), "accounts": "", "token": "token"}
    write_private(home.daemon_file, json.dumps(record).encode())
    lock = Lock(home.daemon_lock)
    assert lock.take()
    yield home
    lock.release()
    await api.close()


async def test_a_command_is_answered_after_its_progress(home: Home) -> None:
    steps: list[dict[str, Any]] = []
    assert await ask(home, "echo", on_progress=steps.append, a="b") == {"a": "b"}
    assert steps == [{"step": 1}]


async def test_a_refusal_keeps_its_word_and_sentence(home: Home) -> None:
    with pytest.raises(ControlError, match="too late") as caught:
        await ask(home, "refuse")
    assert caught.value.kind == "too-late"


async def test_a_failure_says_nothing_of_its_inside_and_the_daemon_goes_on(home: Home) -> None:
    with pytest.raises(ControlError) as caught:
        await ask(home, "break")
    assert "secret detail" not in str(caught.value)
    assert await ask(home, "echo") == {}


async def test_the_socket_is_for_its_owner_and_wants_the_token(home: Home) -> None:
    record = json.loads(home.daemon_file.read_bytes())
    assert stat.S_IMODE(Path(record["control"]).stat().st_mode) == 0o600
    write_private(home.daemon_file, json.dumps({**record, "token": "wrong"}).encode())
    with pytest.raises(ControlError, match="token"):
        await ask(home, "echo")


@pytest.mark.parametrize(
    "line", [b"\n", b"{}\n", b"[1]\n", b'{"token": 1, "command": 2}\n', b"\xff\n"]
)
async def test_a_line_that_is_no_request_is_refused(home: Home, line: bytes) -> None:
    reader, writer = await asyncio.open_unix_connection(
        json.loads(home.daemon_file.read_bytes())["control"]
    )
    writer.write(line)
    assert json.loads(await reader.readline())["kind"] == "bad-request"
    writer.close()
    await writer.wait_closed()


async def test_without_a_daemon_the_command_says_how_to_start_it(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="bitmask start"):
        await ask(Home(tmp_path), "ping")


async def test_a_copied_home_does_not_reach_the_daemon_of_the_original(
    home: Home, tmp_path: Path
) -> None:
    copy = Home(tmp_path / "copy")
    copy.prepare()
    for name in ("daemon.json", "daemon.lock"):
        shutil.copy(home.path / name, copy.path / name)
    with pytest.raises(NotRunning):
        await ask(copy, "echo")
    assert await ask(home, "echo") == {}
