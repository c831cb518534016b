"""Tells of each new mail on standard output, with Twisted. Run it while the bitmask daemon runs, or give --passphrase.

python examples/twisted_notifier.py alice@example.test [--home DIR] [--count N] [--passphrase]
"""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path

from leap.mail.twisted import install

install()  # Twisted's asyncio reactor, before anything imports another one

from twisted.internet.defer import Deferred  # noqa: E402
from twisted.internet.task import react  # noqa: E402

from leap.mail import AccountError, Change  # noqa: E402
from leap.mail.twisted import Account, Message, MessageCollection  # noqa: E402


async def tell(message: Message) -> None:
    sender = await message.header("From") or "somebody"
    print(f"New mail from {sender}: {await message.subject() or '(no subject)'}", flush=True)


class Notifier:
    """Knows up to which uid it has told, so that nothing is told twice or left out."""

    def __init__(self, inbox: MessageCollection, told: int) -> None:
        self.inbox = inbox
        self.told = told
        self.count = 0

    async def look(self, change: Change) -> None:
        if change.mailbox_id != self.inbox.mailbox.mailbox_id:
            return
        for row in await self.inbox.rows(first=self.told + 1):
            self.told = row.uid
            if message := await self.inbox.by_uid(row.uid):
                await tell(message)
                self.count += 1


async def notify(address: str, home: Path | None, passphrase: str | None, count: int) -> None:
    async with await Account.open(address, home=home, passphrase=passphrase) as account:
        inbox = await account.collection("INBOX")
        changes = account.changes()  # from here on nothing is missed
        notifier = Notifier(inbox, (await inbox.status()).uid_next - 1)
        print(f"{account.address}: {await inbox.unseen()} unread; waiting for more", flush=True)
        async for change in changes:
            await notifier.look(change)
            if count and notifier.count >= count:
                return


def main() -> None:
    parser = argparse.ArgumentParser(description="Tell of new mail.")
    parser.add_argument("address")
    parser.add_argument("--home", type=Path, help="bitmask's folder")
    parser.add_argument("--count", type=int, default=0, help="end after so many mails")
    parser.add_argument("--passphrase", action="store_true", help="ask; opens the store itself")
    options = parser.parse_args()
    passphrase = getpass.getpass("Passphrase: ") if options.passphrase else None

    def run(reactor: object) -> Deferred[None]:
        done = notify(options.address, options.home, passphrase, options.count)
        return Deferred.fromCoroutine(done).addErrback(lambda failure: say(failure.value))

    react(run)


def say(error: BaseException) -> None:
    if not isinstance(error, AccountError):
        raise error
    print(f"twisted_notifier: {error}", file=sys.stderr)
    raise SystemExit(1)


if __name__ == "__main__":
    main()
