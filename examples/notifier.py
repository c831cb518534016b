"""Tells of new mail as it comes: a line on the terminal and, with --desktop, a notice of the desktop.

Run it while the bitmask daemon runs; Ctrl-C ends it.

python examples/notifier.py alice@example.test [--mailbox NAME] [--desktop] [--count N] [--home DIR]
"""

from __future__ import annotations

import argparse
import asyncio
import html
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from leap.mail import Account, AccountError, Message


async def arrivals(account: Account, mailbox: str) -> AsyncIterator[Message]:
    """Every message that comes into a mailbox from now on, each once."""
    changes = account.changes()  # before the first look, so that nothing is missed in between
    collection = await account.collection(mailbox)
    status = await collection.status()
    print(f"{account.address}: {status.unseen} unread in {collection.mailbox.name}", flush=True)
    validity, following = status.uid_validity, int(status.uid_next)
    async for change in changes:
        if change.mailbox_id != collection.mailbox.mailbox_id:
            continue
        now = await collection.status()
        if now.uid_validity != validity:  # the index was made anew: its uids mean others now
            validity, following = now.uid_validity, now.uid_next
            continue
        for row in await collection.rows(first=following):
            following = row.uid + 1
            if message := await collection.by_uid(row.uid):  # unless it is gone again
                yield message


async def sentences(message: Message) -> tuple[str, str]:
    """Who wrote, and about what, of strangers: nothing in it can move the cursor of a terminal."""
    sender = ", ".join(map(str, (await message.envelope()).from_)) or "unknown"
    about = await message.subject() or "(no subject)"
    if (await message.security()).encryption == "end-to-end":
        about = f"🔒 {about}"
    return plain(sender), plain(about)


def plain(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


async def notify_desktop(title: str, text: str) -> None:
    """notify-send takes a few HTML tags in the text; those of a stranger mean nothing."""
    program = await asyncio.create_subprocess_exec(
        "notify-send", "--app-name=bitmask", "--icon=mail-unread", "--", title, html.escape(text)
    )
    await program.wait()


async def run(options: argparse.Namespace) -> None:
    told = 0
    async with await Account.open(options.address, home=options.home) as account:
        async for message in arrivals(account, options.mailbox):
            sender, about = await sentences(message)
            print(f"{message.date:%H:%M}  {sender}: {about}", flush=True)
            if options.desktop:
                await notify_desktop(sender, about)
            told += 1
            if told == options.count:
                return


def main() -> int:
    parser = argparse.ArgumentParser(description="Tell of new mail as it comes.")
    parser.add_argument("address")
    parser.add_argument("--mailbox", default="INBOX")
    parser.add_argument("--desktop", action="store_true", help="also with notify-send")
    parser.add_argument("--count", type=int, help="end after so many")
    parser.add_argument("--home", type=Path, help="bitmask's folder")
    try:
        asyncio.run(run(parser.parse_args()))
    except AccountError as error:
        print(f"notifier: {error}", file=sys.stderr)
        return 1
    except FileNotFoundError:
        print("notifier: --desktop needs notify-send (Debian: libnotify-bin).", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
