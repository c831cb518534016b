"""`bitmask mail import` and `export`, at the daemon or in the command itself where no daemon runs.

Arguments are plain values from the control socket; paths are absolute, for the daemon stands elsewhere.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from leap.bitmask.doctor import told
from leap.bitmask.local_api import Command, CommandRefused, Progress, text, text_or_none
from leap.bitmask.sentences import sentence
from leap.mail.contract import AccountError, MailboxInfo, StorageFull
from leap.mail.local import LocalAccount
from leap.mail.mailboxes import check_name
from leap.mail.porting.batches import FileBatches, MailSource
from leap.mail.porting.eml import FolderSource
from leap.mail.porting.exporting import ExportOptions, LineEnds, export_mail
from leap.mail.porting.imap_client import ImapServerAddress
from leap.mail.porting.imap_source import ImapSource
from leap.mail.porting.importing import ImportOptions, import_mail
from leap.mail.porting.maildir_writer import MaildirTarget
from leap.mail.porting.mbox_kinds import KINDS, MboxKind
from leap.mail.porting.mbox_writer import MboxTarget
from leap.mail.porting.mixed_folders import MixedSource
from leap.mail.porting.report import PortingReport
from leap.mail.porting.writing import ExportTarget

if TYPE_CHECKING:
    from leap.bitmask.sessions import AccountSessions

LINE_ENDS: tuple[LineEnds, ...] = get_args(LineEnds)


def porting_commands(sessions: AccountSessions) -> dict[str, Command]:
    """The commands by name."""

    async def import_(arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
        session = sessions.get(text(arguments, "address"))
        if session.engine.status.provisional:
            raise CommandRefused(
                "provisional",
                "This device has not fetched the account for the first time yet; import when it has.",
            )
        return await import_into(session.account, arguments, progress)

    async def export(arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
        session = sessions.get(text(arguments, "address"))
        return await export_from(session.account, arguments, progress)

    return {"mail-import": import_, "mail-export": export}


async def import_into(
    account: LocalAccount, arguments: dict[str, Any], progress: Progress
) -> dict[str, Any]:
    """Imports the file or folder `path`, or the account `imap`. `kind`: of mbox files. Raises CommandRefused."""
    kind = text_or_none(arguments, "kind")
    if kind is not None and kind not in KINDS:
        raise CommandRefused("bad-request", f"There is no kind of mbox {kind!r}.")
    options = ImportOptions(
        into=text_or_none(arguments, "mailbox"),
        dry_run=bool(arguments.get("dry_run")),
        again=bool(arguments.get("again")),
    )
    report = PortingReport()
    source: FolderSource | MixedSource | None = None
    with _refusals(report):
        if options.into is not None:
            check_name(options.into)
        if arguments.get("imap") is not None:
            mail: MailSource = ImapSource(
                _server(arguments["imap"]),
                account.store,
                into=options.into,
                anew=options.again,
                tell=report.tell,
            )
        else:
            path = Path(text(arguments, "path"))
            source = await asyncio.to_thread(_source, path, kind, report)
            mail = FileBatches(source)
        await import_mail(account, mail, options, report, progress=told(progress))
    if source is not None:
        report.kinds.update(source.kinds)
    return {"address": account.address, "imported": report.done, **report.as_json()}


def _server(given: dict[str, Any]) -> ImapServerAddress:
    """Host, port, user, password, `tls`, `starttls`; `ca`: certificates in PEM to trust in place of the system's."""
    port = given.get("port")
    if not isinstance(port, int) or not 0 < port < 65536:
        raise CommandRefused("bad-request", "The port is a number up to 65535.")
    context = None
    if given.get("tls", True):
        try:
            context = ssl.create_default_context(cadata=text_or_none(given, "ca"))
        except ssl.SSLError as error:
            raise CommandRefused("bad-request", "The file holds no certificate in PEM.") from error
    host, user = text(given, "host"), text(given, "user")
    starttls = bool(given.get("starttls"))
    return ImapServerAddress(host, port, user, text(given, "password"), context, starttls)


def _source(path: Path, kind: MboxKind | None, report: PortingReport) -> FolderSource | MixedSource:
    path = path.resolve()  # the one link that is followed is the one a person named
    path.stat()
    if path.is_dir():
        return MixedSource(path, kind, report.tell)
    return FolderSource(path, kind, report.tell)


async def export_from(
    account: LocalAccount, arguments: dict[str, Any], progress: Progress
) -> dict[str, Any]:
    """Exports all mailboxes, or the one named `mailbox`, to `path`. Raises CommandRefused."""
    path, to = Path(text(arguments, "path")), text(arguments, "format")
    line_ends = text_or_none(arguments, "line_ends") or "source"
    if line_ends not in LINE_ENDS:
        raise CommandRefused("bad-request", f"There are no line ends {line_ends!r}.")
    name = text_or_none(arguments, "mailbox")
    options = ExportOptions(line_ends=line_ends, dry_run=bool(arguments.get("dry_run")))
    report = PortingReport()
    with _refusals(report):
        chosen = _chosen(await account.list_mailboxes(), name)
        single = name is not None
        target: ExportTarget
        if to == "maildir":
            target = MaildirTarget(path, single=single)
        elif to == "mbox":
            target = MboxTarget(path, single=single, status=bool(arguments.get("status")))
        else:
            raise CommandRefused("bad-request", f"Mail cannot be exported to {to!r}.")
        await export_mail(account, target, chosen, options, report, progress=told(progress))
    return {
        "address": account.address,
        "path": str(path),
        "exported": report.done,
        **report.as_json(),
    }


def _chosen(infos: list[MailboxInfo], name: str | None) -> list[MailboxInfo]:
    if name is None:
        return infos
    wanted = "INBOX" if name.upper() == "INBOX" else name
    found = [info for info in infos if info.name == wanted]
    if not found:
        raise CommandRefused("no-mailbox", f"There is no mailbox {name}.")
    return found


@contextlib.contextmanager
def _refusals(report: PortingReport) -> Iterator[None]:
    """What stands in the way, as one sentence, with what was done before."""
    try:
        yield
    except StorageFull as error:
        raise CommandRefused("storage-full", _so_far(str(error), report)) from error
    except AccountError as error:
        raise CommandRefused("account", _so_far(str(error), report)) from error
    except OSError as error:
        kind = "storage-full" if error.errno == 28 else "files"
        where = f"{error.filename}: " if error.filename else ""
        what = sentence(OSError(f"{where}{error.strerror or error}"))
        raise CommandRefused(kind, _so_far(what, report)) from error


def _so_far(what: str, report: PortingReport) -> str:
    if not report.done:
        return what
    return f"{what} {report.done} messages were done before; run it again to go on."
