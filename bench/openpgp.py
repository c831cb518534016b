"""The OpenPGP engine beside gpg: one mail encrypted and signed, opened and verified; and large ones.

Both do the same work on the same keys (Ed25519 and Curve25519) in one run, alternating, so that a busy machine
slows both. gpg is measured as programs use it: one process a mail, its agent running, without compression, since
ours does not compress either.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from leap.keymanager.openpgp import SecretKey, decrypt, encrypt, generate, verify_signatures

MAIL = 30_000
LARGE = 5_000_000
ROUNDS = 31


def run() -> dict[str, dict[str, Any]]:
    """Medians in milliseconds, MB/s for the large ones, and how many times faster than gpg."""
    alice, bob = generate("alice@example.test"), generate("bob@example.test")
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(prefix="b-", dir="/tmp") as folder:
        gpg = _Gpg(Path(folder), [alice, bob]) if shutil.which("gpg") else None
        try:
            rows |= _mail(alice, bob, gpg, MAIL, ROUNDS, "30 kB")
            rows |= _mail(alice, bob, gpg, LARGE, 7, "5 MB")
        finally:
            if gpg is not None:
                gpg.close()
    return rows


def _mail(
    alice: SecretKey, bob: SecretKey, gpg: _Gpg | None, size: int, rounds: int, label: str
) -> dict[str, dict[str, Any]]:
    data = os.urandom(size // 2).hex().encode()[:size]  # text-like: armored by nobody else
    message = encrypt(data, [bob.certificate], alice)

    def close() -> None:
        encrypt(data, [bob.certificate], alice)

    def open_() -> None:
        opened = decrypt(message, [bob])
        verdicts = verify_signatures(opened.plaintext, opened.signatures, [alice.certificate])
        assert [verdict.state for verdict in verdicts] == ["good"]

    rows = {}
    for what, ours, theirs in (
        (f"encrypt+sign {label}", close, (lambda: gpg.close_mail(data)) if gpg else None),
        (f"decrypt+verify {label}", open_, (lambda: gpg.open_mail(message)) if gpg else None),
    ):
        mine, other = _alternate(ours, theirs, rounds)
        row: dict[str, Any] = {"ours ms": mine * 1e3, "MB/s": size / mine / 1e6}
        if other is not None:
            row |= {"gpg ms": other * 1e3, "times faster": other / mine}
        rows[what] = row
    return rows


def _alternate(
    ours: Callable[[], object], theirs: Callable[[], object] | None, rounds: int
) -> tuple[float, float | None]:
    mine, others = [], []
    ours()
    if theirs is not None:
        theirs()
    for _ in range(rounds):
        ours()  # starting gpg empties the processor's caches, which a daemon at work has not to refill
        mine.append(_seconds(ours))
        if theirs is not None:
            others.append(_seconds(theirs))
    return statistics.median(mine), statistics.median(others) if others else None


def _seconds(work: Callable[[], object]) -> float:
    before = time.perf_counter()
    work()
    return time.perf_counter() - before


class _Gpg:
    def __init__(self, home: Path, keys: list[SecretKey]) -> None:
        self._home = home
        home.chmod(0o700)
        for key in keys:
            self._run("--import", data=key.to_bytes())

    def _run(self, *arguments: str, data: bytes) -> bytes:
        command = ["gpg", "--homedir", str(self._home), "--batch", "--no-tty", "--quiet"]
        command += ["--trust-model", "always", "--compress-algo", "none", *arguments]
        return subprocess.run(command, input=data, capture_output=True, check=True).stdout

    def close_mail(self, data: bytes) -> None:
        who = ("-u", "alice@example.test", "-r", "bob@example.test")
        self._run("--armor", "--encrypt", "--sign", *who, data=data)

    def open_mail(self, message: bytes) -> None:
        self._run("--decrypt", data=message)

    def close(self) -> None:
        kill = ["gpgconf", "--homedir", str(self._home), "--kill", "all"]
        subprocess.run(kill, check=False)
