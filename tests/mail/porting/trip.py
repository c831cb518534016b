"""Shortcuts for the tests of import and export."""

from __future__ import annotations

from pathlib import Path

from leap.mail.contract import NewMessage
from leap.mail.local import LocalAccount, OwnedAccount
from leap.mail.porting.batches import FileBatches
from leap.mail.porting.eml import FolderSource
from leap.mail.porting.exporting import ExportOptions, LineEnds, export_mail
from leap.mail.porting.found import FileSource
from leap.mail.porting.importing import ImportOptions, import_mail
from leap.mail.porting.maildir_writer import MaildirTarget
from leap.mail.porting.mixed_folders import MixedSource
from leap.mail.porting.report import PortingReport
from leap.mail.porting.writing import ExportTarget

KEY = bytes(range(32))


async def open_account(path: Path) -> OwnedAccount:
    return await OwnedAccount.open_path(path, KEY, "alice@example.test")


async def bring_in(
    account: LocalAccount,
    where: Path | FileSource,
    *,
    into: str | None = None,
    dry_run: bool = False,
    again: bool = False,
    limit: int = 50 * 1024**2,
) -> PortingReport:
    report = PortingReport()
    source = where
    if isinstance(source, Path):
        kind = MixedSource if source.is_dir() else FolderSource
        source = kind(source, tell=report.tell)
    options = ImportOptions(into=into, dry_run=dry_run, again=again, limit=limit)
    await import_mail(account, FileBatches(source), options, report)
    return report


async def take_out(
    account: LocalAccount, target: ExportTarget | Path, *, line_ends: LineEnds = "source"
) -> PortingReport:
    report = PortingReport()
    if isinstance(target, Path):
        target = MaildirTarget(target)
    infos = await account.list_mailboxes()
    await export_mail(account, target, infos, ExportOptions(line_ends=line_ends), report)
    return report


async def stored(account: LocalAccount, mailbox: str = "INBOX") -> list[NewMessage]:
    """What a mailbox holds, as served."""
    infos = {info.name: info for info in await account.list_mailboxes()}
    out = []
    for row in await account.rows(infos[mailbox].mailbox_id):
        raw = await account.read(row.row_id)
        out.append(NewMessage(raw=raw, flags=row.flags, internal_date=row.internal_date))
    return out


def raws(messages: list[NewMessage]) -> list[bytes]:
    return [one.raw for one in messages]
