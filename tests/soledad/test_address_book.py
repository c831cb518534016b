"""The example of docs/soledad.md does what it says: alone, and between two devices over a real provider."""

import asyncio
import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from leap.soledad import enrol, vault
from leap.soledad.errors import WrongKey
from leap.soledad.secrets import floor_kdf_params
from tests.provider.world import opened, served

EXAMPLE = Path(__file__).parents[2] / "examples" / "address_book.py"
PASSPHRASE = "the quick brown fox"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The example as a module, with the weakest key derivation allowed."""
    monkeypatch.setattr(vault, "MEMORY_KIB", vault.MIN_MEMORY_KIB)
    monkeypatch.setattr(vault, "TIME_COST", vault.MIN_TIME_COST)
    monkeypatch.setitem(enrol.sign_up.__kwdefaults__, "kdf", floor_kdf_params)
    spec = importlib.util.spec_from_file_location("address_book", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Book:
    """Runs commands on one folder and answers what they print."""

    def __init__(self, example: Any, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.example, self.folder, self.capsys = example, folder, capsys

    async def __call__(self, *arguments: str, passphrase: str = PASSPHRASE) -> str:
        self.capsys.readouterr()
        options = self.example.parse([str(self.folder), *arguments])
        await asyncio.wait_for(self.example.run(options, passphrase), 60)
        return self.capsys.readouterr().out


async def test_alone(example: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book = Book(example, tmp_path, capsys)
    await book("add", "Älice Oak", "alice@example.test", "friends")
    await book("add", "Bob", "bob@example.test")
    await book("add", "älice oak", "oak@example.test", "friends", "tennis")
    assert await book("find") == (
        "Bob <bob@example.test>\nälice oak <oak@example.test>  [friends, tennis]\n"
    )
    assert (await book("find", "TEN")).startswith("älice oak")
    assert (await book("watch", "--count", "1")).startswith("2: Bob")
    assert (await book("watch", "--count", "1")).startswith("3: älice oak")
    assert await book("remove", "ÄLICE OAK") == "1 removed\n"
    with pytest.raises(WrongKey):
        await book("find", passphrase="another one")
    assert "no provider" in await book("sync")
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"example.test" not in path.read_bytes()


async def test_as_a_program(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLE),
        str(tmp_path / "book"),
        "find",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(process.communicate(f"{PASSPHRASE}\n".encode()), 60)
    assert (process.returncode, output, errors) == (0, b"", b"")
    assert (tmp_path / "book").stat().st_mode & 0o077 == 0


async def test_on_two_devices(
    example: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    laptop = Book(example, tmp_path / "laptop", capsys)
    phone = Book(example, tmp_path / "phone", capsys)
    async with (
        opened(tmp_path / "provider") as provider,
        served(provider, tmp_path) as https,
    ):
        where = ("bob@example.test", "--provider", https.url, "--ca", str(https.ca_file))
        await laptop("add", "Alice", "alice@example.test")
        said = await laptop("sign-up", *where)
        assert len(said.splitlines()[1].split()) == 24
        assert said.endswith("0 came, 1 went\n")
        assert await phone("join", *where) == "1 came, 0 went\n"
        assert await phone("find", "al") == "Alice <alice@example.test>\n"
        assert "Alice" in await phone("watch", "--count", "1")
        watching = asyncio.ensure_future(phone("watch", "--count", "1"))
        await laptop("add", "Eve", "eve@example.test")
        await laptop("sync")
        await watching
        assert await phone("find", "eve@") == "Eve <eve@example.test>\n"
