"""Plays IMAP transcripts against sessions over an account in memory, without sockets.

A line "C: ..." is sent by the client, "S: ..." must be the next line of the answer; "C2:" and "S2:" belong to a second
session on the same account. "…" in an expected line stands for anything. All that a session says must be expected.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence

from leap.mail.contract import INBOX, AccountBackend, MailboxId, NewMessage
from leap.mail.imap.session.session import Session
from leap.mail.imap.wire.framing import CommandReader
from leap.mail.imap.wire.limits import DEFAULT_LIMITS, Limits
from leap.mail.memory import MemoryAccount

USER, PASSWORD = "alice@example.test", "correct-horse-battery"


def mail(subject: str = "Hello", body: str = "One line.\r\n", extra: str = "") -> bytes:
    text = (
        f"From: Alice <alice@example.test>\r\nTo: Bob <bob@example.test>\r\nSubject: {subject}\r\n"
        f"Date: Mon, 02 Nov 2026 10:00:00 +0100\r\nMessage-ID: <{len(body)}@example.test>\r\n{extra}\r\n{body}"
    )
    return text.encode()


class Talk:
    """One client's session, and everything it was told."""

    def __init__(
        self, account: AccountBackend | None = None, *, limits: Limits = DEFAULT_LIMITS
    ) -> None:
        self.account = account or MemoryAccount(now=lambda: 1_800_000_000)
        self.said = bytearray()
        self.closed = False
        self.waited: list[float] = []
        self.reader = CommandReader(limits)
        self.session = Session(self, self._authenticate, limits=limits, sleep=self._sleep)

    async def _authenticate(self, user: str, password: str) -> AccountBackend | None:
        return self.account if (user, password) == (USER, PASSWORD) else None

    async def _sleep(self, seconds: float) -> None:
        self.waited.append(seconds)

    def write(self, data: bytes) -> None:
        if not self.closed:
            self.said += data

    async def drain(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    async def send(self, data: bytes) -> bytes:
        """What the session answers to these octets."""
        self.reader.feed(data)
        session = self.session
        while not session.ended:
            if session.expected_line is not None:
                line = self.reader.next_line()
                if line is None:
                    break
                await session.handle_line(line)
            else:
                event = self.reader.next_command()
                if event is None:
                    break
                await session.handle(event)
            self.reader.authenticated = session.account is not None
        return self.take()

    def take(self) -> bytes:
        said = bytes(self.said)
        self.said.clear()
        return said

    async def log_in(self, mailbox: str | None = None) -> Talk:
        assert b" OK " in await self.send(f"login LOGIN {USER} {PASSWORD}\r\n".encode())
        if mailbox is not None:
            assert b"OK [READ-WRITE]" in await self.send(f"sel SELECT {mailbox}\r\n".encode())
        return self

    async def end(self) -> None:
        await self.session.close()


async def settled() -> None:
    """Lets every task do what it can do now."""
    for _ in range(30):
        await asyncio.sleep(0)


async def fill(
    account: AccountBackend,
    raws: Sequence[bytes],
    *,
    flags: Sequence[str] = (),
    mailbox: MailboxId = INBOX,
    at: int = 1_793_000_000,
) -> None:
    new = [
        NewMessage(raw=raw, flags=tuple(flags), internal_date=at + i, zone=60)
        for i, raw in enumerate(raws)
    ]
    await account.append(mailbox, new)


_STEP = re.compile(r"\s*([CS])(\d?):(?: (.*))?")


async def play(
    transcript: str,
    *,
    account: AccountBackend | None = None,
    mailbox: str | None = "INBOX",
    log_in: bool = True,
    recent_gone: bool = True,
    limits: Limits = DEFAULT_LIMITS,
) -> dict[str, Talk]:
    """Plays a transcript; the sessions are logged in, with `mailbox` selected, before it begins."""
    account = account or MemoryAccount(now=lambda: 1_800_000_000)
    if recent_gone:
        await account.claim_recent(INBOX)
    steps: list[tuple[str, str, list[str]]] = []
    for line in transcript.splitlines():
        if not line.strip():
            continue
        match = _STEP.fullmatch(line)
        assert match, f"not a line of a transcript: {line}"
        kind, who, text = match[1], match[2] or "1", match[3] or ""
        if steps and steps[-1][:2] == (kind, who):
            steps[-1][2].append(text)
        else:
            steps.append((kind, who, [text]))
    talks: dict[str, Talk] = {}
    for who in sorted({step[1] for step in steps}):
        talks[who] = Talk(account, limits=limits)
        if log_in:
            await talks[who].log_in(mailbox)
    try:
        for kind, who, lines in steps:
            talk = talks[who]
            if kind == "C":
                before = talk.take()
                said = await talk.send("".join(f"{line}\r\n" for line in lines).encode())
                talk.said += before + said
            else:
                await settled()
                _compare(talk.take(), lines)
        await settled()
        for who, talk in talks.items():
            assert talk.take() == b"", f"session {who} said more than the transcript"
    finally:
        for talk in talks.values():
            await talk.end()
    return talks


def _compare(said: bytes, expected: list[str]) -> None:
    got = said.decode("utf-8", "replace").removesuffix("\r\n").split("\r\n")
    patterns = [".*".join(map(re.escape, line.split("…"))) for line in expected]
    fits = len(got) == len(patterns) and all(
        re.fullmatch(pattern, line) for pattern, line in zip(patterns, got, strict=True)
    )
    if not fits:
        text = "\n".join(["expected:", *expected, "said:", *got])
        raise AssertionError(text)
