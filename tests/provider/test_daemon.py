"""The provider as a process: ready, restarted on the same ports, ended in time, and failing in one sentence."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner

from leap.provider import cli
from leap.provider.folder import BadFolder, prepare_folder, save_state
from leap.soledad.enrol import sign_up
from leap.soledad.remote.client import ProviderClient
from leap.soledad.secrets import floor_kdf_params
from tests.provider.process import fails, running, start
from tests.provider.world import DOMAIN, PASSPHRASE

pytestmark = pytest.mark.scenario


async def test_it_serves_ends_in_time_and_comes_up_on_the_same_ports(tmp_path: Path) -> None:
    data = tmp_path / "data"
    ready_file = tmp_path / "ready.json"
    async with running(data, "--ready-file", str(ready_file)) as child:
        assert json.loads(ready_file.read_text()) == child.ready
        assert child.ready["pid"] == child.process.pid
        assert child.ready["data"] == str(data)
        ca_file = Path(child.ready["ca"])
        async with ProviderClient(child.ready["api"], ca_file=ca_file) as client:
            await sign_up(client, f"alice@{DOMAIN}", PASSPHRASE, "laptop", kdf=floor_kdf_params)
            info = await client.info()
            assert [info.submission_host, info.submission_port] == child.ready["submission"]
            streams = [client.events() for _ in range(3)]
            for stream in streams:
                await anext(stream)
            began = time.monotonic()
            assert await child.end() == 0
            assert time.monotonic() - began < 3
            for stream in streams:
                await stream.aclose()
    for path in [data, *data.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
    again = await start(data)
    try:
        for name in ("api", "ca", "data", "mx", "submission"):
            assert again.ready[name] == child.ready[name]
    finally:
        assert await again.end(signal.SIGINT) == 0
    assert "Traceback" not in (tmp_path / "data.log").read_text()


async def test_when_a_remembered_port_is_taken_another_one_is_used(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with running(data) as child:
        port = child.ready["mx"][1]
        assert await child.end() == 0
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        async with running(data) as again:
            assert again.ready["mx"][1] != port
            assert again.ready["api"] == child.ready["api"]
            assert await again.end() == 0


async def test_a_port_in_use_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        code, said = await fails(
            "--data", str(tmp_path / "data"), "--domain", DOMAIN, "--api-port", port
        )
    assert (code, said) == (1, f"leap-provider: port {port} on 127.0.0.1 is in use\n")


async def test_a_folder_is_served_once_and_for_one_domain(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with running(data):
        code, said = await fails("--data", str(data), "--domain", DOMAIN)
        assert (code, said.count("\n")) == (1, 1)
        assert f"another leap-provider is running on {data}" in said


async def test_events_and_a_slow_body_do_not_hold_the_end_up(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as child:
        trust = ssl.create_default_context(cafile=child.ready["ca"])
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust)) as session:
            never = asyncio.get_running_loop().create_future()

            async def body() -> object:
                yield b"x"
                await never

            url = child.ready["api"] + "/1/login/start"
            request = asyncio.create_task(session.post(url, data=body()))
            async with session.get(child.ready["api"] + "/provider") as reply:
                assert reply.status == 200
            began = time.monotonic()
            assert await child.end() == 0
            assert time.monotonic() - began < 3
            never.cancel()
            request.cancel()
            await asyncio.gather(request, return_exceptions=True)


# --- without a process ---------------------------------------------------------------------------------


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[int, str]]]:
    """`leap-provider serve` in this process, which must fail: exit code and what it says."""
    monkeypatch.setattr("leap.provider.daemon._raise_file_limit", lambda: None)
    mask = os.umask(0)

    def run(data: Path, *arguments: str, domain: str = DOMAIN) -> tuple[int, str]:
        result = CliRunner().invoke(
            cli.main, ["serve", "--data", str(data), "--domain", domain, *arguments]
        )
        return result.exit_code, result.output

    yield run
    os.umask(mask)


def test_what_prevents_it_is_one_sentence(
    tmp_path: Path, serving: Callable[..., tuple[int, str]]
) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "holiday.jpg").write_text("")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "provider.sqlite").write_bytes(b"garbage " * 1000)
    prepare_folder(tmp_path / "other", "other.test")
    new = tmp_path / "new"
    nowhere = str(tmp_path / "none" / "x.pem")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        cases = [
            (tmp_path / "file", [], "is a file, not a folder"),
            (tmp_path / "file" / "below", [], "Not a directory"),
            (tmp_path / "full", [], "is not empty"),
            (tmp_path / "broken", [], "is damaged"),
            (tmp_path / "other", [], "is the folder of other.test, not of example.test"),
            (new, ["--mx-port", port], f"port {port} on 127.0.0.1 is in use"),
            (new, ["--submission-port", port], f"port {port} on 127.0.0.1 is in use"),
            (new, ["--host", "203.0.113.9"], "203.0.113.9 is not an address of this machine"),
            (new, ["--tls-cert", nowhere, "--tls-key", nowhere], "No such file"),
            (new, ["--ready-file", nowhere], "cannot tell that it is ready"),
        ]
        for data, arguments, sentence in cases:
            code, said = serving(data, *arguments)
            assert code == 1, said
            assert said.startswith("leap-provider: "), said
            assert sentence in said
            assert said.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["serve"],
        ["serve", "--data", "x"],
        ["serve", "--data", "x", "--domain", "not a domain"],
        ["serve", "--data", "x", "--domain", "-x.test"],
        ["serve", "--data", "x", "--domain", "exämple.test"],
        ["serve", "--data", "x", "--domain", "a.test", "--api-port", "70000"],
        ["serve", "--data", "x", "--domain", "a.test", "--route", "b.test"],
        ["serve", "--data", "x", "--domain", "a.test", "--route", "b.test=host"],
        ["serve", "--data", "x", "--domain", "a.test", "--route", "b.test=host:0"],
        ["serve", "--data", "x", "--domain", "a.test", "--route", "b.test=host:x"],
        ["serve", "--data", "x", "--domain", "a.test", "--tls-cert", "c.pem"],
        ["serve", "--data", "x", "--domain", "a.test", "--public-name", "a b"],
        ["other"],
    ],
)
def test_wrong_usage_has_exit_code_2(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(cli.main, arguments)
    assert result.exit_code == 2
    assert "Error: " in result.output
    assert "Traceback" not in result.output
    assert os.listdir(tmp_path) == []


def test_routes_are_read() -> None:
    assert cli._route("Other.test=127.0.0.1:2526") == ("other.test", ("127.0.0.1", 2526))
    assert cli._route("other.test=[::1]:25") == ("other.test", ("::1", 25))


def test_a_folder_is_not_taken_over(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "holiday.jpg").write_text("")
    with pytest.raises(BadFolder):
        prepare_folder(tmp_path, DOMAIN)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    assert os.listdir(tmp_path) == ["holiday.jpg"]


def test_what_a_first_start_left_is_taken_up(tmp_path: Path) -> None:
    (tmp_path / "provider.json.12ab34cd.new").write_text("{")
    assert prepare_folder(tmp_path, DOMAIN).ports == {}


def test_ports_are_remembered(tmp_path: Path) -> None:
    state = prepare_folder(tmp_path / "new", DOMAIN)
    state.ports = {"api": 4430}
    save_state(tmp_path / "new", state)
    assert prepare_folder(tmp_path / "new", DOMAIN).ports == {"api": 4430}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 9, "domain": "example.test"}'])
def test_a_damaged_state_is_one_sentence(tmp_path: Path, text: str) -> None:
    (tmp_path / "provider.json").write_text(text)
    with pytest.raises(BadFolder):
        prepare_folder(tmp_path, DOMAIN)
