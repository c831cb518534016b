"""`twist --reactor asyncio leap-mail` from a built wheel: what a person gets who installs `leap-mail[twisted]`."""

from __future__ import annotations

import asyncio
import imaplib
import os
import subprocess
import sys
import sysconfig
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from leap.bitmask.control import ControlError, NotRunning, ask
from leap.bitmask.home import Home, Lock
from leap.bitmask.twist import Options
from leap.mail.local import open_mail_store
from leap.soledad.material import AccountMaterial
from leap.soledad.vault import create_vault
from tests.soledad.memory_provider import Account as SoledadAccount

ROOT = Path(__file__).resolve().parents[2]
ALICE = "alice@example.test"
PASSPHRASE = "correct horse battery"
PATIENCE = 30.0  # seconds, on a machine with much else to do
TWIST = [sys.executable, "-m", "twisted"]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Where a wheel that was just built is installed, beside the libraries of this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    found = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**found, "PYTHONPATH": f"{folder / 'site'}:{sysconfig.get_path('purelib')}"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return asyncio.run(make_home(tmp_path_factory.mktemp("home")))


async def make_home(folder: Path) -> Home:
    """Alice's, whose provider cannot be reached."""
    home = Home(folder)
    home.prepare()
    home.account(ALICE).mkdir()
    key = await create_vault(home.vault(ALICE), PASSPHRASE)
    provider = SoledadAccount(folder)
    device, secrets = provider.enrol("laptop"), provider.secrets
    material = AccountMaterial(
        account_id=secrets.account_id,
        address=ALICE,
        root_public=secrets.root_public,
        id_key=secrets.id_key,
        epochs=secrets.epochs,
        inbox_keys=secrets.inbox_keys,
        device=device,
        keyset=provider.provider.keyset,
        api_url="https://localhost:1",
        token="t",
    )
    async with await open_mail_store(home.store(ALICE), key) as store:
        await store.save_material(material)
    (folder / "passphrases").write_text(f"{ALICE}:{PASSPHRASE}\n")
    return home


@contextmanager
def twist(environment: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*TWIST, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


async def settings_of(home: Home, process: subprocess.Popen[str]) -> dict[str, Any]:
    """What a mail program needs, once the account is unlocked."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            found: dict[str, Any] = await ask(home, "mail-settings", address=ALICE)
        except (NotRunning, ControlError):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, "the account was not unlocked"
            await asyncio.sleep(0.05)
        else:
            return found


def log_in(settings: dict[str, Any]) -> bytes:
    with imaplib.IMAP4(settings["host"], settings["port"], timeout=PATIENCE) as client:
        client.login(settings["user"], settings["password"])
        return bytes(client.select("INBOX")[1][0] or b"")


@pytest.mark.parametrize("reactor", ["asyncio", "uvloop"])
async def test_the_plugin_of_the_wheel_serves_mail_programs_until_it_is_told_to_stop(
    reactor: str, home: Home, environment: dict[str, str]
) -> None:
    options = [
        "--imap-port",
        "0",
        "--smtp-port",
        "0",
        "--passphrases",
        str(home.path / "passphrases"),
    ]
    with twist(
        environment, "--reactor", reactor, "leap-mail", "--home", str(home.path), *options
    ) as process:
        settings = await settings_of(home, process)
        assert await asyncio.to_thread(log_in, settings["imap"]) == b"0"
        if reactor == "asyncio":
            await ask(home, "stop")
        else:
            process.terminate()
        said, _ = await asyncio.to_thread(process.communicate, timeout=PATIENCE)
    assert process.returncode == (0 if reactor == "asyncio" else -15)
    assert "IMAP listens on 127.0.0.1" in said
    assert "is unlocked" in said
    assert "Traceback" not in said
    assert not home.daemon_file.exists()
    lock = Lock(home.account(ALICE) / "lock")
    assert lock.take(), "the account was not closed"
    lock.release()


def said_by(environment: dict[str, str], *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [*TWIST, *arguments], env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    return done.returncode, done.stdout + done.stderr


def test_the_wrong_reactor_is_told_in_one_sentence(
    environment: dict[str, str], tmp_path: Path
) -> None:
    code, said = said_by(environment, "--reactor", "select", "leap-mail", "--home", str(tmp_path))
    assert code == 1
    assert said == "leap-mail runs on asyncio: start it with `twist --reactor asyncio leap-mail`.\n"


def test_help_names_the_options() -> None:
    said = str(Options())
    assert all(option in said for option in ("--home=", "--imap-port=", "--passphrases="))
    assert "--reactor asyncio" in said


def test_a_home_in_use_is_told_in_one_sentence(environment: dict[str, str], tmp_path: Path) -> None:
    lock = Lock(tmp_path / "daemon.lock")
    assert lock.take()
    code, said = said_by(environment, "--reactor", "asyncio", "leap-mail", "--home", str(tmp_path))
    lock.release()
    assert (code, said) == (1, f"leap-mail: A bitmask runs on {tmp_path} already.\n")
