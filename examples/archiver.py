"""Keeps a copy of all mail of an account in a Maildir, and adds what is new whenever it runs.

Each message is one file with its exact octets, in the folder of the mailbox where it was first seen. The file's name
holds the message's id, which is the same in every mailbox and on every device: so nothing is kept twice, and
after an interruption it goes on where it was. What is deleted in the account stays in the archive.

python examples/archiver.py alice@example.test FOLDER [--follow] [--home DIR]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from leap.mail import (
    Account,
    AccountError,
    ContentUnavailable,
    MailboxInfo,
    Message,
    NoSuchMailbox,
    NoSuchMessage,
)

NAME = re.compile(r"-?\d+\.([0-9a-zA-Z]+)\.archive[,:]")
LETTERS = {  # https://cr.yp.to/proto/maildir.html
    "\\Draft": "D",
    "\\Flagged": "F",
    "\\Answered": "R",
    "\\Seen": "S",
    "\\Deleted": "T",
}


class Archive:
    """A Maildir whose folders ".Work.2026" are mailboxes "Work/2026", as Dovecot and Courier have them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._make(root)
        self._there = set(self._ids())

    def _ids(self) -> Iterator[str]:
        """The messages in it, also those whose file a mail program has moved or flagged since."""
        for folder in (self.root, *self.root.glob(".*")):
            for part in ("cur", "new"):
                if (folder / part).is_dir():
                    yield from (
                        found[1]
                        for name in os.listdir(folder / part)
                        if (found := NAME.match(name))
                    )

    def __contains__(self, message_id: str) -> bool:
        return message_id in self._there

    def add(self, mailbox: str, message: Message, octets: bytes) -> None:
        """Writes a message. It comes whole into "cur" or not at all, and is on the disk when this returns."""
        folder = self.root / _folder_name(mailbox)
        self._make(folder)
        name = f"{message.row.internal_date}.{message.id}.archive,S={len(octets)}"
        letters = "".join(sorted(LETTERS[flag] for flag in message.flags if flag in LETTERS))
        with open(folder / "tmp" / name, "wb") as file:
            file.write(octets)
            file.flush()
            os.fsync(file.fileno())
        (folder / "tmp" / name).rename(folder / "cur" / f"{name}:2,{letters}")
        self._there.add(message.id)

    @staticmethod
    def _make(folder: Path) -> None:
        for path in (folder, folder / "cur", folder / "new", folder / "tmp"):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)


def _folder_name(mailbox: str) -> str:
    """INBOX is the Maildir itself. What a file system, or the format, would trip over is percent-encoded."""
    if mailbox == "INBOX":
        return ""
    plain = re.sub(r"[^\w -]", lambda found: f"%{ord(found[0]):02x}", mailbox.replace("/", "\0"))
    return "." + plain.replace("%00", ".")


async def archive_mailbox(
    account: Account, mailbox: MailboxInfo, archive: Archive
) -> tuple[int, int]:
    """Adds what is missing; answers how many were added, and how many could not be read now."""
    added = missed = 0
    try:
        async for message in await account.collection(mailbox.mailbox_id):
            if message.id in archive:
                continue
            try:
                octets = await message.raw()
            except NoSuchMessage:
                continue  # deleted a moment ago
            except (
                ContentUnavailable
            ):  # at the provider, which cannot be reached: the next run asks again
                missed += 1
                continue
            await asyncio.to_thread(archive.add, mailbox.name, message, octets)
            added += 1
    except NoSuchMailbox:
        pass  # so was the whole mailbox
    return added, missed


async def run(options: argparse.Namespace) -> bool:
    """Whether everything is in the archive."""
    archive = await asyncio.to_thread(Archive, options.folder)
    complete = True
    async with await Account.open(options.address, home=options.home) as account:
        changes = account.changes()
        for mailbox in await account.mailboxes():
            complete &= await _tell(account, mailbox, archive)
        print(
            "complete" if complete else "incomplete: run it again when the provider can be reached",
            flush=True,
        )
        if options.follow:
            async for change in changes:
                for mailbox in await account.mailboxes():
                    if mailbox.mailbox_id == change.mailbox_id:
                        await _tell(account, mailbox, archive)
    return complete


async def _tell(account: Account, mailbox: MailboxInfo, archive: Archive) -> bool:
    added, missed = await archive_mailbox(account, mailbox, archive)
    if added or missed:
        print(
            f"{mailbox.name}: {added} added" + (f", {missed} unavailable" if missed else ""),
            flush=True,
        )
    return not missed


def main() -> int:
    parser = argparse.ArgumentParser(description="Keep a copy of all mail in a Maildir.")
    parser.add_argument("address")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--follow", action="store_true", help="stay, and add mail as it comes")
    parser.add_argument("--home", type=Path, help="bitmask's folder")
    try:
        return 0 if asyncio.run(run(parser.parse_args())) else 1
    except (AccountError, OSError) as error:
        print(f"archiver: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
