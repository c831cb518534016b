"""Lists the newest messages of an inbox, and waits for more with --follow. Run it while the bitmask daemon runs.

python examples/read_inbox.py alice@example.test [--home DIR] [--count N] [--follow]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from leap.mail import Account, AccountError, Message

MARKS = {"end-to-end": "🔒", "provider": "  ", "local": "✎ ", "undecryptable": "⚠ ", "none": "  "}


async def show(message: Message) -> None:
    security = await message.security()
    signers = [
        verdict.signer or verdict.fingerprint
        for verdict in security.signatures
        if verdict.state == "good"
    ]
    new = " " if "\\Seen" in message.flags else "*"
    print(
        f"{new}{MARKS[security.encryption]} {message.date:%d %b %H:%M}  {await message.header('From') or 'unknown'}"
    )
    print(f"     {await message.subject() or '(no subject)'}")
    if preview := await message.preview():
        print(f"     {preview[:90]}")
    if signers:
        print(f"     signed by {', '.join(signers)}")


async def read(address: str, home: Path | None, count: int, follow: bool) -> None:
    async with await Account.open(address, home=home) as account:
        inbox = await account.collection("INBOX")
        changes = account.changes()  # from here on nothing is missed
        print(f"{account.address}: {await inbox.count()} messages, {await inbox.unseen()} unread\n")
        newest = 0
        for message in await inbox.window(0, count):
            newest = max(newest, message.uid)
            await show(message)
        if not follow:
            return
        async for change in changes:
            if change.mailbox_id != inbox.mailbox.mailbox_id:
                continue
            for row in await inbox.rows(first=newest + 1):
                newest = row.uid
                if message := await inbox.by_uid(row.uid):
                    await show(message)


def main() -> int:
    parser = argparse.ArgumentParser(description="List the newest messages of an inbox.")
    parser.add_argument("address")
    parser.add_argument("--home", type=Path, help="bitmask's folder")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--follow", action="store_true", help="wait for new mail")
    options = parser.parse_args()
    try:
        asyncio.run(read(options.address, options.home, options.count, options.follow))
    except AccountError as error:
        print(f"read_inbox: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
