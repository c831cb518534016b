"""`bitmask mail import`: messages from a file, a Maildir or an mbox, into a mailbox of a running account."""

from __future__ import annotations

import datetime
import email.utils
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from leap.bitmask.control import ControlError, NotRunning, daemon_record
from leap.bitmask.home import Home
from leap.mail.account import Account
from leap.mail.contract import AccountError, MailboxExists, NewMessage, TooLarge
from leap.soledad.wire import MAX_MESSAGE_BYTES

BATCH_MESSAGES = 100
BATCH_BYTES = 8 * 1024 * 1024

# The info part of a Maildir file name: unique ":2," flags (cr.yp.to/proto/maildir.html).
_MAILDIR_FLAGS = {
    "D": "\\Draft",
    "F": "\\Flagged",
    "R": "\\Answered",
    "S": "\\Seen",
    "T": "\\Deleted",
}
# RFC 4155: a line "From ", an address, a date; only after an empty line or at the start.
_FROM_LINE = re.compile(rb"(?:\A|(?<=\n\n)|(?<=\n\r\n))From [^\r\n]*\r?\n")


def with_crlf(data: bytes) -> bytes:
    """Line ends as the network has them (RFC 5322 2.1); nothing else changes. A bare CR stays what it is."""
    return re.sub(rb"(?<!\r)\n", b"\r\n", data)


def read_mail(path: Path) -> Iterator[tuple[str, NewMessage]]:
    """(name of the source, message) of everything at `path`; raises OSError for what cannot be read."""
    if path.is_dir():
        yield from _maildir(path)
        return
    data = path.read_bytes()
    if data.startswith(b"From "):
        yield from _mbox(path.name, data)
    else:
        yield path.name, NewMessage(raw=with_crlf(data), internal_date=int(path.stat().st_mtime))


def _maildir(path: Path) -> Iterator[tuple[str, NewMessage]]:
    folders = [path / name for name in ("cur", "new") if (path / name).is_dir()] or [path]
    for folder in folders:
        for entry in sorted(folder.iterdir()):
            if not entry.is_file() or entry.name.startswith("."):
                continue
            _, _, info = entry.name.partition(":2,")
            flags = tuple(flag for letter, flag in _MAILDIR_FLAGS.items() if letter in info)
            date = int(entry.stat().st_mtime)
            yield (
                entry.name,
                NewMessage(raw=with_crlf(entry.read_bytes()), flags=flags, internal_date=date),
            )


def _mbox(name: str, data: bytes) -> Iterator[tuple[str, NewMessage]]:
    starts = [(match.start(), match.end()) for match in _FROM_LINE.finditer(data)]
    for number, (begin, body) in enumerate(starts, 1):
        end = starts[number][0] if number < len(starts) else len(data)
        raw = data[body:end]
        raw = raw[:-2] if raw.endswith(b"\r\n\r\n") else raw[:-1] if raw.endswith(b"\n\n") else raw
        raw = re.sub(rb"(?m)^>(>*From )", rb"\1", raw)  # mboxrd: one level of quoting comes off
        date = _mbox_date(data[begin:body])
        yield f"{name} message {number}", NewMessage(raw=with_crlf(raw), internal_date=date)


def _mbox_date(line: bytes) -> int | None:
    """The date of a From line, which has no zone: taken as UTC (RFC 4155)."""
    words = line.decode("ascii", "replace").split()
    for format_, text in (
        ("%a %b %d %H:%M:%S %Y", " ".join(words[-5:])),
        ("%a, %d %b %Y %H:%M:%S", " ".join(words[2:7])),
    ):
        try:
            return int(
                datetime.datetime.strptime(text, format_).replace(tzinfo=datetime.UTC).timestamp()
            )
        except ValueError:
            continue
    parsed = email.utils.parsedate_tz(" ".join(words[2:]))
    return email.utils.mktime_tz(parsed) if parsed is not None else None


def _no_mail(raw: bytes) -> str | None:
    """Why this cannot be a mail, or None. A mail begins with a field (RFC 5322 2.2), odd ones after some lines."""
    if not raw.strip():
        return "it is empty"
    start = raw[:4096]
    if re.search(rb"(?m)^[!-9;-~]+[ \t]*:", start) is None:
        return "it has no header fields"
    return None


async def import_mail(home: Home, address: str, path: Path, mailbox: str) -> dict[str, Any]:
    """Appends all mail at `path`; answers how many went in and which did not, and why.

    Raises ControlError when the account or the path cannot be used at all.
    """
    imported = 0
    refused: list[dict[str, str]] = []
    try:
        account = await Account.open(address, home=home.path)
    except AccountError as error:
        if daemon_record(home) is None:
            raise NotRunning from error
        raise ControlError("locked", str(error)) from error
    try:
        try:
            await account.add_mailbox(mailbox)
        except MailboxExists:
            pass
        target = await account.collection(mailbox)
        batch: list[NewMessage] = []
        for name, message in read_mail(path):
            if (why := _no_mail(message.raw)) is not None:
                refused.append({"what": name, "why": why})
                continue
            if len(message.raw) > MAX_MESSAGE_BYTES:
                size = len(message.raw) / 1024**2
                refused.append({"what": name, "why": f"{size:.0f} MB; the limit is 50 MB"})
                continue
            batch.append(message)
            if len(batch) >= BATCH_MESSAGES or sum(len(m.raw) for m in batch) >= BATCH_BYTES:
                imported += len(await target.add_many(batch))
                batch = []
        if batch:
            imported += len(await target.add_many(batch))
    except TooLarge as error:
        raise ControlError("too-large", str(error)) from error
    except AccountError as error:
        raise ControlError(
            "account", f"{error} ({imported} messages were imported before.)"
        ) from error
    except OSError as error:
        raise ControlError(
            "import", f"Cannot read {error.filename or path}: {error.strerror}."
        ) from error
    finally:
        await account.close()
    if not imported and refused:
        what = refused[0]
        raise ControlError("import", f"Nothing was imported: {what['what']}: {what['why']}.")
    return {"imported": imported, "refused": refused, "mailbox": mailbox}
