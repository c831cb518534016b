"""Answers mail while its owner is away, as RFC 3834 asks: never a list, a machine, a bounce or oneself, and nobody more
often than once a week.

Whom it answered, and up to where it has looked, is kept in a file: mail that came while it did not run is answered when
it runs again. At its very first start it begins with what comes from then on.

python examples/auto_responder.py alice@example.test STATE-FILE --text "I am back on Monday." [--days N] [--home DIR]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

from leap.mail import Account, AccountError, ContentUnavailable, MessageCollection, NoSuchMessage
from leap.mail.message import Message
from leap.mail.message.compose import field
from leap.mail.message.new_message import new_message
from leap.mail.message.quoting import reply

DAY = 86_400
MACHINES = re.compile(
    r"(mailer-daemon|postmaster|owner-.*|.*-(request|owner|bounces?)|(no|do-?not)-?reply)"
)


def whom_to_answer(mail: Message, own: str) -> str | None:
    """The address an answer to this mail goes to; None when there must be no answer (RFC 3834 2)."""
    if any(one.key.startswith("list-") for one in mail.fields):
        return None
    if _word(mail, "precedence") in ("bulk", "junk", "list"):
        return None
    if _word(mail, "auto-submitted") not in ("", "no"):  # RFC 3834 5
        return None
    if mail.field("x-auto-response-suppress") or _word(mail, "content-type") == "multipart/report":
        return None
    named = {_untagged(one.address) for name in ("to", "cc") for one in mail.addresses(name)}
    if own not in named:
        return None  # a list, or a blind copy: whoever wrote does not expect an answer from this person
    # RFC 3834 4: to the envelope's sender, who is nobody for bounces
    path = mail.addresses("return-path" if mail.field("return-path") else "from")
    if len(path) != 1 or not path[0].domain:
        return None
    address = path[0].address
    senders = [_untagged(address), *(_untagged(one.address) for one in mail.addresses("from"))]
    if own in senders or any(MACHINES.fullmatch(one.rpartition("@")[0]) for one in senders):
        return None
    return address


def _untagged(address: str) -> str:
    """alice+shop@example.test is alice@example.test."""
    local, _, domain = address.lower().rpartition("@")
    return f"{local.partition('+')[0]}@{domain}"


def _word(mail: Message, name: str) -> str:
    """The value of a field in lower case, without parameters and comments."""
    found = mail.field(name)
    return re.split(r"[;(\s]", found.text.strip().lower(), maxsplit=1)[0] if found else ""


def answer(mail: Message, own: str, recipient: str, text: str) -> bytes:
    """The answer, marked so that no machine answers it."""
    begun = reply(mail, own=[own])
    made = new_message(
        sender=("", own),
        to=[("", recipient)],
        subject=f"Auto: {mail.subject}",  # RFC 3834 3.1.5
        text=text,
        in_reply_to=begun.in_reply_to,
        references=begun.references,
        seconds=time.time(),
    )
    return field("Auto-Submitted", "auto-replied") + made  # RFC 3834 3.1.7


class State:
    """What must outlive the program: {"validity", "next" uid, "answered": {address: seconds}}."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.answered: dict[str, float] = {}
        self.place: tuple[int, int] | None = None  # UIDVALIDITY and the first uid not looked at
        if path.exists():
            kept: dict[str, Any] = json.loads(path.read_text())
            self.answered, self.place = kept["answered"], (kept["validity"], kept["next"])

    def save(self) -> None:
        """Whole or not at all."""
        assert self.place is not None
        kept = {"validity": self.place[0], "next": self.place[1], "answered": self.answered}
        part = self.path.with_name(self.path.name + ".part")
        with open(part, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            json.dump(kept, file)
            file.flush()
            os.fsync(file.fileno())
        part.replace(self.path)


async def read_header(inbox: MessageCollection, uid: int) -> Message | None:
    """The header of a message as a message without a body; None when it is gone."""
    try:
        message = await inbox.by_uid(uid)
        return (
            Message(await message.raw(0, (await message.metadata()).header_size))
            if message
            else None
        )
    except NoSuchMessage:
        return None


async def answer_new(
    account: Account, inbox: MessageCollection, state: State, text: str, days: float
) -> None:
    """Looks at every message not looked at before. Who is answered is written down first: rather no answer than two."""
    status = await inbox.status()
    if state.place is None or state.place[0] != status.uid_validity:
        state.place = (status.uid_validity, status.uid_next)
        state.save()
    for row in await inbox.rows(first=state.place[1]):
        try:
            mail = await read_header(inbox, row.uid)
        except ContentUnavailable:
            return  # at the provider, which cannot be reached: it is looked at when something happens again
        now = time.time()
        state.place = (status.uid_validity, row.uid + 1)
        state.answered = {one: at for one, at in state.answered.items() if now - at < days * DAY}
        recipient = whom_to_answer(mail, account.address) if mail else None
        old = now - row.internal_date > days * DAY  # moved here out of another mailbox, say
        if mail is None or recipient is None or old or recipient.lower() in state.answered:
            state.save()
            continue
        state.answered[recipient.lower()] = now
        state.save()
        try:
            await account.send(answer(mail, account.address, recipient, text), [recipient])
            print(f"answered {recipient}", flush=True)
        except (
            AccountError,
            ValueError,
        ) as error:  # policy forbids it, or it is an address nobody can write to
            print(f"not answered: {error}", file=sys.stderr, flush=True)


async def run(options: argparse.Namespace) -> None:
    state = State(options.state)
    async with await Account.open(options.address, home=options.home) as account:
        changes = account.changes()
        inbox = await account.collection("INBOX")
        await answer_new(account, inbox, state, options.text, options.days)
        print("waiting", flush=True)
        async for change in changes:
            if change.mailbox_id == inbox.mailbox.mailbox_id:
                await answer_new(account, inbox, state, options.text, options.days)


def main() -> int:
    parser = argparse.ArgumentParser(description="Answer mail while its owner is away.")
    parser.add_argument("address")
    parser.add_argument("state", type=Path, help="the file of whom it answered")
    parser.add_argument("--text", required=True)
    parser.add_argument("--days", type=float, default=7, help="nobody is answered again sooner")
    parser.add_argument("--home", type=Path, help="bitmask's folder")
    try:
        asyncio.run(run(parser.parse_args()))
    except (AccountError, OSError) as error:
        print(f"auto_responder: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
