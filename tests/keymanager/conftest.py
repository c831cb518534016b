"""People and peers of the key manager's tests: alice, bob, eve, a clock, a directory, and Debian's gpg."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from leap.keymanager.keys import KeyManager
from leap.keymanager.merges import MERGES
from leap.keymanager.openpgp import SecretKey, generate
from leap.soledad.errors import Unreachable
from leap.soledad.store import Soledad
from tests.conftest import needs_program

BIRTH = 1_760_000_000  # the people's keys were made then
ALICE, BOB = "alice@example.test", "bob@example.test"
DAY = 86_400


@pytest.fixture(scope="session")
def alice() -> SecretKey:
    return generate("alice@example.test", name="Alice", now=lambda: BIRTH)


@pytest.fixture(scope="session")
def bob() -> SecretKey:
    return generate("bob@example.test", now=lambda: BIRTH)


@pytest.fixture(scope="session")
def eve() -> SecretKey:
    return generate("eve@evil.test", now=lambda: BIRTH)


@pytest.fixture
def now() -> Callable[[], float]:
    """A day after the keys were made."""
    return lambda: BIRTH + 86_400.0


class FakeDirectory:
    """A provider's directory in memory; `down` makes it unreachable."""

    def __init__(self) -> None:
        self.keys: dict[str, bytes] = {}
        self.put: list[bytes] = []
        self.asked: list[str] = []
        self.down = False

    async def find_certificate(self, address: str, /) -> bytes | None:
        self.asked.append(address)
        if self.down:
            raise Unreachable("the provider does not answer")
        return self.keys.get(address)

    async def put_certificate(self, certificate: bytes, /) -> None:
        if self.down:
            raise Unreachable("the provider does not answer")
        self.put.append(certificate)


class Time:
    def __init__(self) -> None:
        self.at = float(BIRTH + DAY)

    def __call__(self) -> float:
        return self.at


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Soledad]:
    store = await Soledad.open(tmp_path / "alice.db", bytes(32), merges=MERGES)
    yield store
    await store.close()


@pytest.fixture
def directory() -> FakeDirectory:
    return FakeDirectory()


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def keys(store: Soledad, directory: FakeDirectory, clock: Time) -> KeyManager:
    return KeyManager(store, "Alice@Example.test", directory, now=clock)


class Gpg:
    """Debian's gpg with a home of its own; the folder is short because its sockets lie there."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *arguments: str, data: bytes = b"", ok: bool = True) -> bytes:
        """Runs gpg; answers its standard output."""
        return self.run(*arguments, data=data, ok=ok).stdout

    def run(
        self, *arguments: str, data: bytes = b"", ok: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--yes", "--no-tty"]
        command += ["--pinentry-mode", "loopback", "--trust-model", "always", "--status-fd", "2"]
        done = subprocess.run(
            [*command, *arguments], input=data, capture_output=True, timeout=60, check=False
        )
        assert not ok or done.returncode == 0, done.stderr.decode("utf-8", "replace")
        return done

    def make_key(self, address: str, *parts: str, passphrase: str = "") -> None:
        """A key by gpg; `parts` as in `--quick-gen-key`: algorithm, usage, expiry."""
        self("--passphrase", passphrase, "--quick-gen-key", address, *parts)

    def close(self) -> None:
        subprocess.run(
            ["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=False, timeout=30
        )


@pytest.fixture(scope="module")
def gpg() -> Iterator[Gpg]:
    needs_program("gpg")
    with gpg_at_work() as peer:
        yield peer


@contextmanager
def gpg_at_work() -> Iterator[Gpg]:
    """gpg with a new home, which is gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="g-", dir="/tmp"))
    # else its agent measures first, and each use of a locked key takes the tenth of a second it aims at
    (home / "gpg-agent.conf").write_text("s2k-count 65536\n")
    peer = Gpg(home)
    yield peer
    peer.close()
    shutil.rmtree(home, ignore_errors=True)
