"""A mail reader for the terminal, on one page: lists, reads, searches, flags, answers. Run it while the daemon runs.

    ↑ ↓ or k j    up, down           /   search (docs/search.md); empty: all of the mailbox
    Enter         read               f   flag, or take the flag away
    Space, b      a page on, back    u   unread, or read
    q, Escape     back, then out     r   answer with $EDITOR; R answers everyone

python examples/reader.py alice@example.test [--mailbox NAME] [--home DIR]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shlex
import signal
import sys
import tempfile
import termios
import tty
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from leap.mail import Account, AccountError, Message, MessageCollection

NAMES = {b"\x1b[A": "up", b"\x1bOA": "up", b"\x1b[B": "down", b"\x1bOB": "down", b"\x1b[5~": "page up",
         b"\x1b[6~": "page down", b"\r": "enter", b"\n": "enter", b"\x1b": "escape", b"\x7f": "rubout",
         b"\x08": "rubout"}  # fmt: skip
COMMANDS = {"up": "k", "down": "j", "page up": "b", "page down": " ", "escape": "q"}
KEY = re.compile(rb"\x1b(?:\[[0-9;]*[A-Za-z~]|O[A-Z])?|[\x00-\x7f]|[\xc0-\xff][\x80-\xbf]*")
SHOWN = 500  # newest messages of a mailbox, or of what was found
FIELDS = ("From", "To", "Cc", "Date", "Subject")
SECURITY = {
    "end-to-end": "encrypted end to end",
    "provider": "encrypted by the provider only",
    "undecryptable": "could not be decrypted",
    "local": "put here by you",
    "none": "not encrypted",
}


def plain(text: str) -> str:
    """Text of strangers: nothing in it can move the cursor or change colours."""
    return "".join(c if c.isprintable() or c == "\n" else " " for c in text)


class Keyboard:
    """Single keys from the terminal, as they are struck."""

    def __init__(self) -> None:
        self._keys: asyncio.Queue[str] = asyncio.Queue()
        self._terminal = sys.stdin.fileno()
        self._settings = termios.tcgetattr(self._terminal)

    def start(self) -> None:
        tty.setcbreak(self._terminal)
        asyncio.get_running_loop().add_reader(self._terminal, self._read)

    def stop(self) -> None:
        """The terminal is again as it was found."""
        asyncio.get_running_loop().remove_reader(self._terminal)
        termios.tcsetattr(self._terminal, termios.TCSADRAIN, self._settings)

    def _read(self) -> None:
        octets = os.read(self._terminal, 4096)
        if not octets:
            raise SystemExit(1)  # the terminal is gone
        for key in KEY.findall(octets):
            self.put(NAMES.get(key) or key.decode("utf-8", "replace"))

    def put(self, key: str) -> None:
        """ "" is no key: whoever waits for one looks anew."""
        self._keys.put_nowait(key)

    async def get(self) -> str:
        return await self._keys.get()

    async def command(self) -> str:
        key = await self.get()
        return COMMANDS.get(key, key)


class Reader:
    def __init__(self, account: Account, collection: MessageCollection) -> None:
        self.account, self.collection = account, collection
        self.screen = Console(highlight=False)
        self.keyboard = Keyboard()
        self.messages: list[Message] = []
        self.at = 0
        self.query = ""
        self.note = ""

    async def load(self) -> None:
        """The messages to show, newest first. The marked one stays marked, wherever it is now."""
        marked = self.messages[self.at].row_id if self.messages else None
        if self.query:
            found = (await self.account.search(self.query, SHOWN)).found
            self.messages = await self.account.open_found(found)
        else:
            self.messages = await self.collection.window(0, SHOWN)
        last = max(0, len(self.messages) - 1)
        places = (at for at, one in enumerate(self.messages) if one.row_id == marked)
        self.at = next(places, min(self.at, last))

    async def draw_list(self) -> None:
        room = max(1, self.screen.height - 3)
        first = max(0, min(self.at - room // 2, len(self.messages) - room))
        table = Table.grid(padding=(0, 2), expand=True)
        for width in (2, 12, 28):
            table.add_column(width=width, no_wrap=True)
        table.add_column(ratio=1, no_wrap=True)
        for message in self.messages[first : first + room]:
            new, flagged = "\\Seen" not in message.flags, "\\Flagged" in message.flags
            table.add_row(
                f"{'*' if new else ' '}{'!' if flagged else ' '}",
                f"{message.date:%d %b %H:%M}",
                Text(plain(", ".join(map(str, (await message.envelope()).from_)))),
                Text(plain(await message.subject())),
                style="reverse" if message is self.messages[self.at] else "bold" if new else "",
            )
        where = f"/{self.query}" if self.query else self.collection.mailbox.name
        self.draw(Text(plain(f"{self.account.address}  {where}"), "bold cyan"), table)

    def draw(self, *what: RenderableType) -> None:
        self.screen.clear()
        self.screen.print(Group(*what, Text(plain(self.note), "yellow", end="")), end="")

    async def run(self) -> None:
        await self.load()
        while True:
            await self.draw_list()
            key = await self.keyboard.command()
            self.note = "" if key else self.note
            page = max(1, self.screen.height - 4)
            if key == "q" and not self.query:
                return
            try:
                match key:
                    case "" | "q":
                        self.query = "" if key else self.query
                        await self.load()
                    case "/":
                        self.query = await self.ask("/")
                        await self.load()
                    case "j" | "k" | " " | "b":
                        step = {"j": 1, "k": -1, " ": page, "b": -page}[key]
                        self.at = max(0, min(self.at + step, len(self.messages) - 1))
                    case "enter" if self.messages:
                        await self.read(self.messages[self.at])
                    case _ if self.messages:
                        await self.act(key, self.messages[self.at])
            except AccountError as error:
                self.note = str(error)

    async def ask(self, prompt: str) -> str:
        """A line typed at the bottom; Escape gives an empty one."""
        line = ""
        while True:
            print(f"\x1b[{self.screen.height};1H\x1b[K{prompt}{line}", end="", flush=True)
            key = await self.keyboard.get()
            if key in ("enter", "escape"):
                return line.strip() if key == "enter" else ""
            line = line[:-1] if key == "rubout" else line + plain(key) if len(key) == 1 else line

    async def act(self, key: str, message: Message) -> None:
        """What can be done to a message in the list and while it is read."""
        match key:
            case "f" | "u":
                flag = {"f": "\\Flagged", "u": "\\Seen"}[key]
                await (message.remove_flags if flag in message.flags else message.add_flags)(flag)
            case "r" | "R":
                await self.answer(message, everyone=key == "R")

    async def read(self, message: Message) -> None:
        security = await message.security()
        await message.add_flags("\\Seen")
        head = [
            f"{name}: {value}"
            for name, value in await message.headers()
            if name.capitalize() in FIELDS
        ]
        signers = [
            one.signer or one.fingerprint for one in security.signatures if one.state == "good"
        ]
        head.append(f"({', signed by '.join([SECURITY[security.encryption], *signers])})")
        head += [f"[{one.attachment_name or 'a file'}]" for one in await message.attachments()]
        text = Text(plain("\n".join(head)), "cyan") + Text(plain(f"\n\n{await message.text()}"))
        top = 0
        while True:
            lines = text.wrap(self.screen, self.screen.width)
            page = max(1, self.screen.height - 2)
            top = max(0, min(top, len(lines) - page))
            self.draw(*lines[top : top + page])
            match key := await self.keyboard.command():
                case "q":
                    return
                case "j" | "k" | " " | "enter" | "b":
                    top += {"j": 1, "k": -1, "b": -page}.get(key, page)
                case _ if key:
                    self.note = ""
                    await self.act(key, message)

    async def answer(self, message: Message, *, everyone: bool) -> None:
        draft = await self.account.reply(message, everyone=everyone)
        draft.text = await self.edit(f"\n\n{draft.text}")
        people = plain(", ".join(draft.recipients))
        if (
            not (draft.text.strip() and people)
            or await self.ask(f"Send to {people}? [y/n] ") != "y"
        ):
            self.note = "Not sent."
            return
        await draft.send()  # which also keeps it in Sent, and marks the other one as answered
        self.note = f"Sent to {people}."

    async def edit(self, text: str) -> str:
        """The text after the person's editor had it. Where there is a place in memory it never is on the disk."""
        memory = [
            path
            for path in (os.environ.get("XDG_RUNTIME_DIR", ""), "/dev/shm")
            if os.path.isdir(path)
        ]
        with tempfile.TemporaryDirectory(dir=memory[0] if memory else None) as folder:
            path = Path(folder) / "answer.txt"
            path.write_text(text, "utf-8")
            self.screen.clear()
            self.keyboard.stop()
            try:
                editor = shlex.split(os.environ.get("EDITOR") or "vi")
                process = await asyncio.create_subprocess_exec(*editor, str(path))
                return path.read_text("utf-8", "replace") if await process.wait() == 0 else ""
            finally:
                self.keyboard.start()


async def follow(account: Account, keyboard: Keyboard) -> None:
    """New mail, or a flag set elsewhere, is seen at once."""
    async for _ in account.changes():
        keyboard.put("")


async def run(options: argparse.Namespace) -> None:
    async with await Account.open(options.address, home=options.home) as account:
        reader = Reader(account, await account.collection(options.mailbox))
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGWINCH, reader.keyboard.put, "")
        following = asyncio.create_task(follow(account, reader.keyboard))
        try:
            with reader.screen.screen(hide_cursor=False):
                reader.keyboard.start()
                await reader.run()
        finally:
            reader.keyboard.stop()
            following.cancel()


def main() -> int:
    parser = argparse.ArgumentParser(description="Read mail in the terminal.")
    parser.add_argument("address")
    parser.add_argument("--mailbox", default="INBOX")
    parser.add_argument("--home", type=Path, help="bitmask's folder")
    options = parser.parse_args()
    if not sys.stdin.isatty():
        parser.error("it needs a terminal")
    try:
        asyncio.run(run(options))
    except AccountError as error:
        print(f"reader: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
