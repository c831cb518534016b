"""kill -9 of a server in the middle of APPEND, STORE, COPY, MOVE and EXPUNGE, again and again on one store.

What was answered with OK is there afterwards, down to the octet (a killed process loses nothing that WAL with
synchronous=NORMAL has committed: only a power cut may). Of the commands that were under way a first few are carried
out whole, the others not at all. UIDVALIDITY stays, UIDNEXT and HIGHESTMODSEQ never fall, and no uid is given twice.
"""

from __future__ import annotations

import asyncio
import copy
import hashlib
import random
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tests.conftest import ROOT
from tests.mail.imap.stress.answers import flags_of, items_of, number_of, read_response
from tests.mail.imap.talk import PASSWORD, USER, mail
from tests.scenarios.world import Device

BOXES = ("INBOX", "Archive")
FLAGS = ("\\Seen", "\\Flagged", "\\Deleted", "kw")
_CODE = re.compile(rb"\[(UIDVALIDITY|UIDNEXT|HIGHESTMODSEQ) (\d+)\]")
_APPENDUID = re.compile(rb"\[APPENDUID (\d+) (\d+)\]")
_FETCH = re.compile(rb"\* \d+ FETCH ")


@dataclass
class Box:
    """A mailbox as it must be: uid -> (hash of the octets, flags)."""

    uid_next: int = 1
    messages: dict[int, tuple[bytes, frozenset[str]]] = field(default_factory=dict)

    def put(self, digest: bytes, flags: frozenset[str]) -> None:
        self.messages[self.uid_next] = (digest, flags)
        self.uid_next += 1


Boxes = dict[str, Box]


@dataclass(frozen=True)
class Step:
    """One command of a client that has INBOX selected."""

    verb: str
    uids: tuple[int, ...] = ()
    flags: frozenset[str] = frozenset()
    raw: bytes = b""
    target: str = "INBOX"

    def text(self) -> bytes:
        uids, flags = ",".join(map(str, self.uids)), " ".join(sorted(self.flags))
        match self.verb:
            case "APPEND":
                return (
                    f"APPEND {self.target} ({flags}) ".encode()
                    + b"{%d+}\r\n" % len(self.raw)
                    + self.raw
                )
            case "STORE":
                return f"UID STORE {uids} +FLAGS.SILENT ({flags})".encode()
            case "EXPUNGE":
                return b"EXPUNGE"
            case _:
                return f"UID {self.verb} {uids} {self.target}".encode()

    def apply(self, boxes: Boxes) -> None:
        inbox, target = boxes["INBOX"], boxes[self.target]
        here = [uid for uid in self.uids if uid in inbox.messages]
        match self.verb:
            case "APPEND":
                target.put(hashlib.sha256(self.raw).digest(), self.flags)
            case "STORE":
                for uid in here:
                    digest, flags = inbox.messages[uid]
                    inbox.messages[uid] = (digest, flags | self.flags)
            case "EXPUNGE":
                for uid, (_, flags) in list(inbox.messages.items()):
                    if "\\Deleted" in flags:
                        del inbox.messages[uid]
            case _:
                for uid in here:
                    target.put(*inbox.messages[uid])
                    if self.verb == "MOVE":
                        del inbox.messages[uid]


@dataclass
class Killed:
    kills: int = 0
    answered: int = 0
    under_way: int = 0  # commands whose answer never came
    carried_out: int = 0  # of them
    uids: int = 0


@dataclass(frozen=True)
class Place:
    """Where a server listens, and who logs in."""

    host: str
    port: int
    user: str
    password: str


class Victim(Protocol):
    """A process that serves one store by IMAP, to be killed and started again."""

    def start(self) -> Place: ...
    def kill(self) -> None: ...


class Child:
    """A server on a store and nothing else: tests.mail.imap.kill_server."""

    def __init__(self, path: Path, fewest: int | None = None) -> None:
        """Changes of `fewest` messages or more are promised, if it is given."""
        self.path = path
        self._more = [] if fewest is None else [str(fewest)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Place:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.mail.imap.kill_server", str(self.path), *self._more],
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        assert self._process.stdout is not None
        return Place("127.0.0.1", int(self._process.stdout.readline()), USER, PASSWORD)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None


class Daemon:
    """A whole daemon which syncs with its provider; alice has an account on it."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def start(self) -> Place:
        if not self.device.process.alive:
            self.device.restart()
        imap = self.device.logins["alice"]["imap"]
        return Place(imap["host"], imap["port"], imap["user"], imap["password"])

    def kill(self) -> None:
        self.device.process.kill()


class Torment:
    def __init__(self, victim: Victim, seed: int) -> None:
        self.victim = victim
        self.seed = seed
        self.chance = random.Random(seed)
        self.boxes: Boxes = {name: Box() for name in BOXES}
        self.validity: dict[str, int] = {}
        self.highest: dict[str, int] = dict.fromkeys(BOXES, 0)
        self.report = Killed()
        self.writer: asyncio.StreamWriter | None = None
        self.left: list[Step] = []  # of the last batch, without an answer
        self.told_uids: dict[str, list[int]] = {}  # by APPENDUID

    async def run(self, kills: int) -> Killed:
        try:
            await self.start()
            await self.look()
            for _ in range(kills):
                for _ in range(self.chance.randrange(4)):
                    await self.batch(kill=False)
                await self.batch(kill=True)
                await self.start()
                await self.look()
        except AssertionError as error:
            raise AssertionError(f"seed {self.seed}, kill {self.report.kills}: {error}") from error
        finally:
            self.kill()
        self.report.uids = sum(box.uid_next - 1 for box in self.boxes.values())
        return self.report

    # -- the server

    async def start(self) -> None:
        place = await asyncio.to_thread(self.victim.start)
        self.reader, self.writer = await asyncio.open_connection(
            place.host, place.port, limit=1 << 24
        )
        await read_response(self.reader)
        await self.command(f'LOGIN {place.user} "{place.password}"'.encode())

    def kill(self) -> None:
        self.victim.kill()
        if self.writer is not None:
            self.writer.transport.abort()

    async def command(self, text: bytes) -> list[bytes]:
        assert self.writer is not None
        self.writer.write(b"c " + text + b"\r\n")
        said = []
        while not (line := await read_response(self.reader)).startswith(b"c "):
            assert line, "the server went by itself"
            said.append(line)
        assert line.startswith(b"c OK"), line
        return said

    # -- steps

    def steps(self) -> list[Step]:
        chance, boxes = self.chance, copy.deepcopy(self.boxes)
        steps = []
        for _ in range(chance.choice((1, 1, 3, 6))):
            uids = sorted(boxes["INBOX"].messages)
            verb = chance.choice(("APPEND", "APPEND", "STORE", "COPY", "MOVE", "EXPUNGE"))
            if not uids:
                verb = "APPEND"
            some = tuple(sorted(chance.sample(uids, min(len(uids), chance.choice((1, 3, 20))))))
            flags = frozenset(chance.sample(FLAGS, 2))
            if verb == "APPEND":
                raw = mail(
                    f"{chance.random()}", "a line of it\r\n" * chance.choice((1, 100, 20_000))
                )
                step = Step(
                    "APPEND", flags=flags - {"\\Deleted"}, raw=raw, target=chance.choice(BOXES)
                )
            else:
                step = Step(
                    verb, some, flags, target="INBOX" if verb in ("STORE", "EXPUNGE") else "Archive"
                )
            step.apply(boxes)
            steps.append(step)
        return steps

    async def batch(self, *, kill: bool) -> None:
        """Sends some commands at once; the server may be killed before they are answered."""
        steps = self.steps()
        assert self.writer is not None
        self.writer.write(
            b"".join(b"t%d " % at + step.text() + b"\r\n" for at, step in enumerate(steps))
        )
        reading = asyncio.create_task(self._answers(len(steps)))
        if kill:
            await asyncio.wait(
                [reading], timeout=self.chance.random() * self.chance.choice((0.003, 0.02, 0.06))
            )
            self.kill()
            self.report.kills += 1
        answered = await reading
        if not kill:
            assert answered == len(steps)
        for at, step in enumerate(steps):
            if at < answered:
                step.apply(self.boxes)
        self.report.answered += answered
        self.left = steps[answered:]
        self.report.under_way += len(self.left)

    async def _answers(self, count: int) -> int:
        answered = 0
        while answered < count:
            try:
                line = await read_response(self.reader)
            except (ConnectionError, asyncio.IncompleteReadError):
                break
            if not line:
                break
            if line.startswith(b"t%d " % answered):
                assert line.startswith(b"t%d OK" % answered), line
                self._told(line)
                answered += 1
        return answered

    def _told(self, line: bytes) -> None:
        if match := _APPENDUID.search(line):
            name = next(name for name, known in self.validity.items() if known == int(match[1]))
            self.told_uids.setdefault(name, []).append(int(match[2]))

    # -- looking

    async def look(self) -> None:
        """The store is as it was when so many of the commands under way were carried out, and one of these."""
        there: Boxes = {}
        for name in ("Archive", "INBOX"):  # INBOX stays selected
            there[name] = await self._look_at(name)
        possible = copy.deepcopy(self.boxes)
        for carried_out, step in enumerate([None, *self.left]):
            if step is not None:
                step.apply(possible)
            if possible == there:
                self.boxes = possible
                self.report.carried_out += carried_out
                self.left = []
                break
        else:
            apart = {
                name: (
                    sorted(self.boxes[name].messages),
                    sorted(there[name].messages),
                    there[name].uid_next,
                )
                for name in BOXES
            }
            raise AssertionError(f"answered and lost, or carried out in part: {apart}; {self.left}")
        for name, uids in self.told_uids.items():
            assert len(set(uids)) == len(uids), "a uid was given twice"
            assert there[name].uid_next > max(uids)

    async def _look_at(self, name: str) -> Box:
        said = await self.command(b"SELECT " + name.encode())
        codes = {match[1]: int(match[2]) for line in said if (match := _CODE.search(line))}
        assert self.validity.setdefault(name, codes[b"UIDVALIDITY"]) == codes[b"UIDVALIDITY"]
        assert codes[b"HIGHESTMODSEQ"] >= self.highest[name], "HIGHESTMODSEQ fell"
        self.highest[name] = codes[b"HIGHESTMODSEQ"]
        box = Box(codes[b"UIDNEXT"])
        if any(line == b"* 0 EXISTS\r\n" for line in said):
            return box
        for line in await self.command(b"FETCH 1:* (FLAGS RFC822.SIZE BODY.PEEK[])"):
            if match := _FETCH.match(line):
                items = items_of(line[match.end() :])
                body = items["BODY[]"]
                assert isinstance(body, bytes)
                assert len(body) == number_of(items["RFC822.SIZE"])
                flags = flags_of(items["FLAGS"]) - {"\\Recent"}
                box.messages[number_of(items["UID"])] = (hashlib.sha256(body).digest(), flags)
        return box


async def torment(victim: Victim, kills: int, seed: int) -> Killed:
    """Kills a server on a new store so many times. Raises AssertionError, whose text has the seed."""
    return await Torment(victim, seed).run(kills)
