"""Clients which keep a model of the mailbox by what they are told, as programs do: it must come out true.

Three sessions and the account itself change one mailbox in random order. Each client applies EXISTS, EXPUNGE and FETCH
as they come; after a NOOP its model is compared with the account.
"""

from __future__ import annotations

import asyncio
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from leap.mail.contract import INBOX, MailboxId
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import Talk, fill, mail, settled

_FETCH = re.compile(rb"\* (\d+) FETCH \(UID (\d+) FLAGS \(([^)]*)\)\)")
_EXPUNGE = re.compile(rb"\* (\d+) EXPUNGE")
_EXISTS = re.compile(rb"\* (\d+) EXISTS")


class Client:
    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.messages: list[tuple[int, frozenset[bytes]] | None] = []
        self.unsure = False  # it changed flags without being told the outcome

    def hear(self, said: bytes, numbered: bool) -> None:
        for line in said.split(b"\r\n"):
            if match := _EXPUNGE.fullmatch(line):
                assert not numbered, "EXPUNGE during a command with sequence numbers"
                del self.messages[int(match[1]) - 1]
            elif match := _EXISTS.fullmatch(line):
                count = int(match[1])
                assert count > len(self.messages), "EXISTS tells of arrivals only"
                self.messages += [None] * (count - len(self.messages))
            elif match := _FETCH.fullmatch(line):
                place, uid = int(match[1]) - 1, int(match[2])
                flags = frozenset(match[3].split()) - {b"\\Recent"}
                known = self.messages[place]
                assert known is None or known[0] == uid, "a number stood for another message"
                self.messages[place] = (uid, flags)

    async def do(self, command: bytes) -> None:
        numbered = command.split()[0] in (b"FETCH", b"STORE", b"SEARCH", b"SORT", b"THREAD")
        self.hear(await self.talk.send(b"t " + command + b"\r\n"), numbered)
        self.unsure |= b".SILENT" in command

    async def check(self, account: MemoryAccount) -> None:
        await self.do(b"NOOP")
        if None in self.messages or self.unsure:
            await self.do(b"FETCH 1:* FLAGS")
        truth = [
            (row.uid, frozenset(flag.encode() for flag in row.flags))
            for row in await account.rows(INBOX)
        ]
        assert self.messages == truth


ACTS = st.sampled_from(
    [
        b"APPEND INBOX {1+}\r\nx",
        b"APPEND INBOX (\\Deleted) {1+}\r\nx",
        b"STORE 1 +FLAGS (\\Deleted)",
        b"STORE 1:2 +FLAGS.SILENT (\\Seen)",
        b"STORE * FLAGS (a)",
        b"UID STORE 2:4 +FLAGS (\\Deleted)",
        b"UID STORE 1:* -FLAGS.SILENT (\\Seen)",
        b"FETCH 1 FLAGS",
        b"UID FETCH 3:* FLAGS",
        b"SEARCH ALL",
        b"EXPUNGE",
        b"UID EXPUNGE 1:3",
        b"MOVE 1 Archive",
        b"UID MOVE 2:3 Archive",
        b"COPY 1 INBOX",
        b"MOVE * INBOX",
        b"REPLACE 1 INBOX {1+}\r\nx",
        b"UID REPLACE 3 Archive {1+}\r\nx",
        b"SORT (SUBJECT) UTF-8 ALL",
        b"THREAD REFERENCES UTF-8 ALL",
        b"NOOP",
        b"CHECK",
        b"IDLE",
    ]
)


@given(st.lists(st.tuples(st.integers(0, 3), ACTS), max_size=40))
@settings(max_examples=40, deadline=None)
def test_every_model_comes_out_true(acts: list[tuple[int, bytes]]) -> None:
    async def run() -> None:
        account = MemoryAccount()
        await fill(account, [mail()] * 4)
        clients = []
        for _ in range(3):
            client = Client(Talk(account))
            await client.talk.log_in()
            client.hear(await client.talk.send(b"s SELECT INBOX\r\n"), False)
            clients.append(client)
        await settled()
        try:
            for who, act in acts:
                if who == 3:  # sync, or incoming mail
                    if act.startswith(b"APPEND"):
                        await fill(account, [mail()], flags=["\\Flagged"])
                    else:
                        uids = [row.uid for row in await account.rows(INBOX)][:2]
                        await account.move(INBOX, uids, MailboxId("junk"))
                elif act == b"IDLE":
                    client = clients[who]
                    client.hear(await client.talk.send(b"t IDLE\r\n"), False)
                    await fill(account, [mail()])
                    await settled()
                    client.hear(client.talk.take(), False)
                    client.hear(await client.talk.send(b"DONE\r\n"), False)
                else:
                    await clients[who].do(act)
            for client in clients:
                await client.check(account)
        finally:
            for client in clients:
                await client.talk.end()

    asyncio.run(asyncio.wait_for(run(), 30))
