"""The OpenPGP engine beside gpg: one mail encrypted and signed, opened and verified; and large ones.

All do the same work with keys of one kind (Ed25519 and Curve25519) in one run, alternating, so that a busy machine
slows all. gpg is measured as programs use it: one process a mail, its agent running, without compression, since ours
does not compress either; and that in two ways:

* *open*: keys without a passphrase;
* *locked*: keys with a passphrase, as gpg makes them by itself. Its agent knows the passphrase and does not ask, but
  stretches it anew for each use of a private key.

Beside them stand the bare primitives (`bare_primitives`), which nothing on these libraries can beat, the same with keys
of version 6, and large mails that go to another process and back, as a program with an event loop has it done.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bench.bare_primitives import BarePrimitives
from leap.keymanager.openpgp import SecretKey, decrypt, encrypt, generate, verify_signatures
from leap.keymanager.openpgp.offload import Workers

MAIL = 30_000
LARGE = 5_000_000
ROUNDS = {MAIL: 31, LARGE: 7}
ALICE, BOB = "alice@example.test", "bob@example.test"
PASSPHRASE = "a passphrase"

Rows = dict[str, dict[str, Any]]
Work = Callable[[], object]


def run() -> Rows:
    """Medians in milliseconds, MB/s, and how many times faster than gpg."""
    rows: Rows = {}
    with ExitStack() as stack:
        peers = {}
        if shutil.which("gpg"):
            peers = {"open": stack.enter_context(_gpg()), "locked": stack.enter_context(_gpg())}
        keys = generate(ALICE), generate(BOB)
        modern = generate(ALICE, version=6), generate(BOB, version=6)
        for name, peer in peers.items():
            peer.take_keys(keys) if name == "open" else peer.make_keys()
        for size, label in ((MAIL, "30 kB"), (LARGE, "5 MB")):
            rows |= _mail(keys, peers, size, label)
            rows |= _mail(modern, {}, size, f"{label}, version 6")
        rows |= asyncio.run(_in_a_process(keys))
    return rows


def _text(size: int) -> bytes:
    return os.urandom(size // 2).hex().encode()[:size]  # text-like: armored by nobody else


def _mail(keys: tuple[SecretKey, SecretKey], peers: dict[str, _Gpg], size: int, label: str) -> Rows:
    alice, bob = keys
    data = _text(size)
    message = encrypt(data, [bob.certificate], alice)
    bare = BarePrimitives(data, version_2=bob.certificate.takes_seipd_v2)

    def open_() -> None:
        opened = decrypt(message, [bob])
        verdicts = verify_signatures(opened.plaintext, opened.signatures, [alice.certificate])
        assert [verdict.state for verdict in verdicts] == ["good"]

    closing: dict[str, Work] = {"bare": bare.close}
    opening: dict[str, Work] = {"bare": bare.open}
    for name, peer in peers.items():
        closing[f"gpg {name}"] = partial(peer.close_mail, data)
        opening[f"gpg {name}"] = partial(peer.open_mail, peer.close_mail(data))
    close = partial(encrypt, data, [bob.certificate], alice)
    return {
        f"encrypt+sign {label}": _row(size, close, closing),
        f"decrypt+verify {label}": _row(size, open_, opening),
    }


def _row(size: int, ours: Work, others: dict[str, Work]) -> dict[str, Any]:
    mine, theirs = _alternate(ours, others, ROUNDS[size])
    row: dict[str, Any] = {"ours ms": mine * 1e3, "MB/s": size / mine / 1e6}
    for name, seconds in theirs.items():
        row[f"{name} ms"] = seconds * 1e3
        if name != "bare":
            row[f"x {name}"] = seconds / mine
    return row


def _alternate(ours: Work, others: dict[str, Work], rounds: int) -> tuple[float, dict[str, float]]:
    mine: list[float] = []
    theirs: dict[str, list[float]] = {name: [] for name in others}
    for work in (ours, *others.values()):
        work()
    for number in range(rounds):
        ours()  # starting gpg empties the processor's caches, which a daemon at work has not to refill
        mine.append(_seconds(ours))
        for name, work in others.items():
            if name == "bare":
                work()
            if name != "gpg locked" or number < 7:  # half a second each
                theirs[name].append(_seconds(work))
    return statistics.median(mine), {k: statistics.median(v) for k, v in theirs.items()}


def _seconds(work: Work) -> float:
    before = time.perf_counter()
    work()
    return time.perf_counter() - before


async def _in_a_process(keys: tuple[SecretKey, SecretKey]) -> Rows:
    """As the event loop sees it: there and back through a pipe; the first time, the process is started."""
    alice, bob = keys
    data = _text(LARGE)
    closing, opening, first = [], [], []
    for _ in range(5):
        async with Workers() as workers:
            before = time.perf_counter()
            await workers.encrypt(data, [bob.certificate], alice)
            first.append(time.perf_counter() - before)
            before = time.perf_counter()
            message = await workers.encrypt(data, [bob.certificate], alice)
            closing.append(time.perf_counter() - before)
            before = time.perf_counter()
            opened = await workers.decrypt(message, [bob])
            await workers.verify_signatures(data, opened.signatures, [alice.certificate])
            opening.append(time.perf_counter() - before)
    rows = {
        "encrypt+sign 5 MB, other process": statistics.median(closing),
        "decrypt+verify 5 MB, other process": statistics.median(opening),
        "encrypt+sign 5 MB, process to be started": statistics.median(first),
    }
    return {what: {"ours ms": s * 1e3, "MB/s": LARGE / s / 1e6} for what, s in rows.items()}


@contextmanager
def _gpg() -> Iterator[_Gpg]:
    """A gpg with a home of its own; the folder is short because its sockets lie there."""
    with tempfile.TemporaryDirectory(prefix="b-", dir="/tmp") as folder:
        gpg = _Gpg(Path(folder))
        try:
            yield gpg
        finally:
            gpg.end()


class _Gpg:
    def __init__(self, home: Path) -> None:
        self._home = home
        home.chmod(0o700)
        (home / "gpg-agent.conf").write_text("allow-preset-passphrase\n")

    def _run(self, *arguments: str, data: bytes = b"") -> bytes:
        command = ["gpg", "--homedir", str(self._home), "--batch", "--no-tty", "--quiet"]
        command += ["--trust-model", "always", "--compress-algo", "none", *arguments]
        return subprocess.run(command, input=data, capture_output=True, check=True).stdout

    def take_keys(self, keys: tuple[SecretKey, ...]) -> None:
        """Our own keys, without a passphrase."""
        for key in keys:
            self._run("--import", data=key.to_bytes())

    def make_keys(self) -> None:
        """Keys of gpg's making, whose passphrase its agent remembers."""
        for address in (ALICE, BOB):
            ask = ("--pinentry-mode", "loopback", "--passphrase", PASSPHRASE)
            self._run(*ask, "--quick-gen-key", address, "future-default", "default", "1y")
        listing = self._run("--list-secret-keys", "--with-keygrip", "--with-colons").decode()
        for line in listing.splitlines():
            if line.startswith("grp:"):
                secret = PASSPHRASE.encode().hex()
                order = f"PRESET_PASSPHRASE {line.split(':')[9]} -1 {secret}"
                command = ["gpg-connect-agent", "--homedir", str(self._home), order, "/bye"]
                subprocess.run(command, check=True, capture_output=True)

    def close_mail(self, data: bytes) -> bytes:
        return self._run("--armor", "--encrypt", "--sign", "-u", ALICE, "-r", BOB, data=data)

    def open_mail(self, message: bytes) -> None:
        self._run("--decrypt", data=message)

    def end(self) -> None:
        kill = ["gpgconf", "--homedir", str(self._home), "--kill", "all"]
        subprocess.run(kill, check=False)
