"""A second device of a large account: from the passphrase to mail that can be read, through the daemon's IMAP server.

Provider, daemon, IMAP and the delaying proxy are processes of their own; TLS is on. All messages have header record
and content (1.5 kB) at the provider. Measured from the command `user auth`, which stretches the passphrase, logs in,
enrols the device and waits for the first pull.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.lag import read_lag
from bench.large_account import make_account
from bench.machine import cpu_seconds, resident_mb
from tests.scenarios.world import PASSPHRASES, Device, Process, World, world

MESSAGES = int(os.environ.get("BENCH_MESSAGES", "100000"))
RUNS = int(os.environ.get("BENCH_RUNS", "3"))
UNTIL = os.environ.get("BENCH_UNTIL", "headers")  # or "newest", or "contents": what is waited for
DELAYS = (0.0, 0.025)  # seconds each way
NEWEST = 200  # messages a mail program shows first
PATIENCE = 300.0
PERSON, ADDRESS = "alice", "alice@example.test"


@contextmanager
def line(api: str, delay: float, folder: Path) -> Iterator[str]:
    """The address under which the provider is reached over a line with that delay."""
    if not delay:
        yield api
        return
    parts = urlsplit(api)
    arguments = ["bench.delay", str(parts.hostname), str(parts.port), str(delay)]
    proxy = Process(arguments, folder / "delay.log")
    try:
        yield f"https://{parts.hostname}:{proxy.start()['port']}"
    finally:
        proxy.kill()


class Memory:
    """The most that a process and its children had in memory while this was open, in MB."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.most = 0.0

    def _watch(self) -> None:
        while not self._end.wait(0.25):
            try:
                self.most = max(self.most, resident_mb(self._pid))
            except OSError:  # a child ended while it was looked at
                continue

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def probed(device: Device, folder: Path) -> Path:
    """Makes the device's daemon run with the probe; where this writes to."""
    file = folder / f"{device.name}.lag"
    arguments = device.process.arguments
    if arguments[0] != "bench.lag":
        device.process.arguments = ["bench.lag", str(file), *arguments[1:]]
    return file


def _once(made: World, folder: Path, delay: float) -> dict[str, float]:
    device = Device(made, "second")
    shutil.rmtree(device.home.path, ignore_errors=True)
    probe = probed(device, folder)
    said = made.provider.said
    with line(said["api"], delay, folder) as api:
        device.start()
        pid = device.process.pid
        try:
            with Memory(pid) as memory:
                took = _measured(device, api, Path(said["ca"]).read_text(), probe)
            took["MB"] = memory.most
            took["CPU s"] = cpu_seconds(pid)
            return took
        finally:
            device.process.stop()


def _measured(device: Device, api: str, ca: str, probe: Path) -> dict[str, float]:
    took: dict[str, float] = {}
    began = time.perf_counter()

    def note(what: str) -> None:
        took[what] = time.perf_counter() - began

    device.logins[PERSON] = device.ask(
        "user-auth",
        address=ADDRESS,
        passphrase=PASSPHRASES[PERSON],
        api=api,
        ca=ca,
        device_name="second",
    )
    note("answered s")
    _until(lambda: _stored(device) == MESSAGES)
    note("pages s")
    with device.imap(PERSON) as imap:
        _, data = imap.select("INBOX", readonly=True)
        count = int(data[0] or b"0")
        _, found = imap.fetch(f"{max(1, count - NEWEST + 1)}:{count}", "(UID FLAGS ENVELOPE)")
        assert len(found) == min(NEWEST, count), len(found)
        note("newest headers s")
        _, found = imap.fetch(str(count), "(BODY.PEEK[])")
        assert isinstance(found[0], tuple)
        assert len(found[0][1]) > 1000
        note("newest mail s")
    lag = read_lag(device.process.pid, probe)
    took["lag p99 ms"], took["worst ms"] = lag["p99"] * 1e3, lag["worst"] * 1e3
    if UNTIL == "newest":
        return took
    _until(lambda: device.ask("sync-status", address=ADDRESS)["blobs_to_fetch"] <= MESSAGES, 1)
    note("all headers s")
    if UNTIL == "contents":
        _until(lambda: device.ask("sync-status", address=ADDRESS)["blobs_to_fetch"] == 0, 1)
        note("all contents s")
    lag = read_lag(device.process.pid, probe)
    took["then p99 ms"], took["then worst ms"] = lag["p99"] * 1e3, lag["worst"] * 1e3
    return took


def _stored(device: Device) -> int:
    boxes = device.ask("mail-status", address=ADDRESS)["mailboxes"]
    return sum(box["messages"] for box in boxes)


def _until(holds: Any, pause: float = 0.1) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("the first sync does not end")
        time.sleep(pause)


def run() -> dict[str, dict[str, Any]]:
    """One row a line: medians of the runs, each with a new device."""
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name, world(Path(name)) as made:
        folder, said = Path(name), made.provider.said
        began = time.perf_counter()
        asyncio.run(
            make_account(
                folder, said["api"], Path(said["ca"]), ADDRESS, PASSPHRASES[PERSON], MESSAGES
            )
        )
        rows["(making it)"] = {"pages s": time.perf_counter() - began}
        for delay in DELAYS:
            runs = [_once(made, folder, delay) for _ in range(RUNS)]
            rows[f"{delay * 1000:.0f} ms each way"] = {
                what: statistics.median(one[what] for one in runs) for what in runs[0]
            }
    return rows
