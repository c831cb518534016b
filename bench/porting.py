"""Import of a Maildir of mails of 10 kB, a second run of it, and exports, with the library alone; medians of `RUNS`.

The mail is indexed as it comes (mailbox index, metadata); files are in the page cache, nothing is synced meanwhile.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from bench.incoming import mail
from leap.mail.local import OwnedAccount
from leap.mail.porting.batches import FileBatches
from leap.mail.porting.eml import FolderSource
from leap.mail.porting.exporting import ExportOptions, export_mail
from leap.mail.porting.importing import ImportOptions, import_mail
from leap.mail.porting.maildir import MaildirSource
from leap.mail.porting.maildir_writer import MaildirTarget
from leap.mail.porting.mbox_writer import MboxTarget
from leap.mail.porting.report import PortingReport
from leap.mail.porting.writing import ExportTarget

MESSAGES, SIZE = 10_000, 10_000
RUNS = 3


async def _timed(work: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


async def _export(account: OwnedAccount, target: ExportTarget) -> None:
    infos = await account.list_mailboxes()
    await export_mail(account, target, infos, ExportOptions(), PortingReport())


async def _measure(folder: Path, messages: int) -> dict[str, dict[str, Any]]:
    source = folder / "mail"
    (source / "cur").mkdir(parents=True)
    for number in range(messages):
        name = f"{1_600_000_000 + number}.{number}:2,S"
        (source / "cur" / name).write_bytes(mail(number, SIZE).replace(b"\r\n", b"\n"))
    times: dict[str, list[float]] = {}
    for run in range(RUNS):
        account = await OwnedAccount.open_path(folder / f"{run}.db", bytes(32), "a@example.test")
        at = folder / f"out{run}"

        def bring(account: OwnedAccount = account) -> Awaitable[None]:
            report = PortingReport()
            maildir = FileBatches(MaildirSource(source))
            return import_mail(account, maildir, ImportOptions(), report)

        def mbox(account: OwnedAccount = account, at: Path = at) -> Awaitable[None]:
            box = FileBatches(FolderSource(at / "mbox"))
            return import_mail(account, box, ImportOptions(into="Again"), PortingReport())

        for name, work in (("import", bring), ("import again", bring)):
            times.setdefault(name, []).append(await _timed(work))
        targets: list[tuple[str, ExportTarget]] = [
            ("export to a Maildir", MaildirTarget(at / "maildir")),
            ("export to it again", MaildirTarget(at / "maildir")),
            ("export to an mbox", MboxTarget(at / "mbox")),
        ]
        for name, target in targets:

            def out(
                account: OwnedAccount = account, target: ExportTarget = target
            ) -> Awaitable[None]:
                return _export(account, target)

            times.setdefault(name, []).append(await _timed(out))
        times.setdefault("import of that mbox", []).append(await _timed(mbox))
        await account.close()
    return {
        name: {
            "messages": messages,
            "messages/s": messages / statistics.median(found),
            "seconds": statistics.median(found),
            "best": min(found),
        }
        for name, found in times.items()
    }


def run(messages: int = MESSAGES) -> dict[str, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        return uvloop.run(_measure(Path(folder), messages))
