"""Stores with all kinds of content in them, and ways to damage them behind the program's back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sqlcipher3 import dbapi2

from leap.soledad.maintenance import Report, verify
from leap.soledad.store import Soledad
from tests.soledad.memory_provider import Device
from tests.soledad.schemas import KEY

LARGE = 700_000  # sealed it is over blobs.local.FILE_SIZE


async def fill(device: Device, rows: int = 3) -> None:
    """Documents, one with a conflict; rows with small blobs and one with a large one."""
    for n in range(3):
        await device.put(f"d{n}", type="plain", n=n)
    await device.put("gone", n=0)

    def conflict(tx: Any) -> None:
        from leap.soledad.documents import Version

        stored = tx.load("d0")
        tx.edit(stored, "d0", '{"n":"mine"}', [Version("9:other", '{"n":"theirs"}')])

    await device.store.transact(conflict)
    for n in range(rows):
        body = os.urandom(LARGE) if n == 0 else f"body {n}".encode() * 50
        await device.add_blobs(f"r{n}", f"head {n}".encode(), body, date=n)


async def fill_and_sync(device: Device) -> None:
    """The same, with a deleted document, and all of it synced."""
    await fill(device)
    await device.sync()
    await device.store.transact(lambda tx: tx.delete("gone"))
    await device.sync()


async def classes(store: Soledad, **options: Any) -> set[str]:
    """Which classes of findings `verify` reports."""
    report: Report = await verify(store, **options)
    assert report.clean == (not report.findings)
    for finding in report.findings:
        assert finding.sentence.endswith(".")
        assert "\n" not in finding.sentence
    return set(report.counts)


def sql(path: Path, statement: str, *parameters: Any) -> None:
    """Changes a closed store."""
    connection = dbapi2.connect(str(path), isolation_level=None)
    connection.execute(f"PRAGMA key = \"x'{KEY.hex()}'\"")
    assert connection.execute(statement, parameters).rowcount != 0
    connection.close()


def scribble(path: Path, offset: int, data: bytes = b"scribble") -> None:
    """Overwrites octets of a file; a negative offset counts from the end."""
    with path.open("r+b") as file:
        file.seek(offset, os.SEEK_END if offset < 0 else os.SEEK_SET)
        file.write(data)


def blob_files(store_path: Path) -> list[Path]:
    folder = store_path.with_name(store_path.name + "-blobs")
    return sorted(path for path in folder.glob("*/*") if path.is_file())
