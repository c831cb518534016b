"""Clients that keep mail between sessions by QRESYNC: whatever happened while they were away, they come out right.

Two such clients and others change one mailbox. Each client keeps flags by uid, applies FETCH, VANISHED and VANISHED
(EARLIER), and remembers only what it was told to be the highest modseq. It may be cut off in the middle of anything.
"""

from __future__ import annotations

import asyncio
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.contract import INBOX, AccountBackend, MailboxId
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, fill, mail, settled

_FETCH = re.compile(rb"\* \d+ FETCH \(UID (\d+) FLAGS \(([^)]*)\)(?: MODSEQ \((\d+)\))?\)")
_VANISHED = re.compile(rb"\* VANISHED (\(EARLIER\) )?([\d:,]+)")
_HIGHEST = re.compile(rb".* OK \[HIGHESTMODSEQ (\d+)\].*")


class Keeper:
    """A client with a memory, and a connection now and then."""

    def __init__(self, account: AccountBackend) -> None:
        self.account = account
        self.talk: Talk | None = None
        self.kept: dict[int, frozenset[bytes]] = {}
        self.modseq = 0

    def hear(self, said: bytes, *, numbered: bool = False) -> None:
        for line in said.split(b"\r\n"):
            assert b" EXPUNGE" not in line, "a client of QRESYNC is told by VANISHED"
            if match := _FETCH.fullmatch(line):
                assert match[3] is not None, "flags without their modseq"
                self.kept[int(match[1])] = frozenset(match[2].split()) - {b"\\Recent"}
            elif match := _VANISHED.fullmatch(line):
                assert not (numbered and not match[1]), "VANISHED during a command with numbers"
                for piece in match[2].split(b","):
                    low, _, high = piece.partition(b":")
                    for uid in range(int(low), int(high or low) + 1):
                        self.kept.pop(uid, None)
            elif match := _HIGHEST.fullmatch(line):
                self.modseq = int(match[1])

    async def come(self, matched: bool) -> None:
        if self.talk is not None:
            return
        self.talk = await Talk(self.account).log_in()
        await self.talk.send(b"e ENABLE QRESYNC\r\n")
        if self.modseq and self.kept:  # who has nothing asks for everything
            uids = b",".join(b"%d" % uid for uid in sorted(self.kept))
            match = b" (1:%d %s)" % (len(self.kept), uids) if matched else b""
            parameters = b"1 %d 1:%d%s" % (self.modseq, max(self.kept), match)
            self.hear(await self.talk.send(b"s SELECT INBOX (QRESYNC (%s))\r\n" % parameters))
            highest = max(self.kept, default=0)
            self.hear(await self.talk.send(b"f UID FETCH %d:* (FLAGS MODSEQ)\r\n" % (highest + 1)))
        else:
            self.hear(await self.talk.send(b"s SELECT INBOX\r\n"))
            self.hear(await self.talk.send(b"f UID FETCH 1:* (FLAGS MODSEQ)\r\n"))

    async def go(self) -> None:
        if self.talk is not None:
            await self.talk.end()
            self.talk = None

    async def do(self, command: bytes) -> None:
        if self.talk is not None:
            numbered = command.split()[0] in (b"FETCH", b"STORE", b"SEARCH")
            self.hear(await self.talk.send(b"t " + command + b"\r\n"), numbered=numbered)

    async def check(self) -> None:
        await self.go()
        await self.come(matched=False)
        truth = {
            row.uid: frozenset(flag.encode() for flag in row.flags)
            for row in await self.account.rows(INBOX)
        }
        assert self.kept == truth
        await self.go()


ACTS = st.sampled_from(
    [
        b"come", b"come matched", b"go", b"STORE 1 +FLAGS (\\Deleted)", b"STORE 1:2 +FLAGS (\\Seen)",
        b"UID STORE 2:4 (UNCHANGEDSINCE 7) +FLAGS (\\Deleted)", b"UID STORE 1:* -FLAGS (\\Seen)", b"EXPUNGE",
        b"FETCH 1 (FLAGS MODSEQ)", b"SEARCH MODSEQ 5", b"UID EXPUNGE 1:3", b"MOVE 1 Archive", b"UID MOVE 2:3 Archive",
        b"MOVE * INBOX", b"NOOP", b"REPLACE * INBOX {1+}\r\nx", b"APPEND INBOX (\\Deleted) {1+}\r\nx", b"COPY 1 INBOX",
        b"UID FETCH 1:* (FLAGS) (CHANGEDSINCE 6 VANISHED)",
    ]
)  # fmt: skip


@pytest.mark.parametrize("expunged_kept", [50_000, 1])
@given(acts=st.lists(st.tuples(st.integers(0, 2), ACTS), max_size=40))
@settings(max_examples=40, deadline=None)
def test_who_comes_back_has_what_is_there(
    expunged_kept: int, acts: list[tuple[int, bytes]]
) -> None:
    async def run() -> None:
        account = MemoryAccount(expunged_kept=expunged_kept)
        await fill(account, [mail()] * 4)
        clients = [Keeper(account), Keeper(account)]
        for client in clients:
            await client.come(False)
        await settled()
        try:
            for who, act in acts:
                if who == 2:  # sync, or incoming mail
                    if act.startswith(b"APPEND"):
                        await fill(account, [mail()], flags=["\\Flagged"])
                    else:
                        uids = [row.uid for row in await account.rows(INBOX)][:2]
                        await account.move(INBOX, uids, MailboxId("junk"))
                elif act.startswith(b"come"):
                    await clients[who].come(act.endswith(b"matched"))
                elif act == b"go":
                    await clients[who].go()
                else:
                    await clients[who].do(act)
            for client in clients:
                await client.check()
        finally:
            for client in clients:
                await client.go()

    asyncio.run(asyncio.wait_for(run(), 30))
