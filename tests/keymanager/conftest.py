"""People and peers of the key manager's tests: alice, bob, eve, a clock that stands, and Debian's gpg."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from leap.keymanager.openpgp import SecretKey, generate
from tests.conftest import needs_program

BIRTH = 1_760_000_000  # the people's keys were made then


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
    home = Path(tempfile.mkdtemp(prefix="g-", dir="/tmp"))
    peer = Gpg(home)
    yield peer
    peer.close()
    shutil.rmtree(home, ignore_errors=True)
