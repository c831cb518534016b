"""A mail program on a socket that believes all it is told, and complains of what cannot be true."""

from __future__ import annotations

import asyncio
import re
from collections import deque
from dataclasses import dataclass

from tests.mail.imap.stress.answers import numbers_in, read_response
from tests.mail.imap.stress.model import Model, Moment
from tests.mail.imap.stress.truth import RECENT, Truth
from tests.mail.imap.talk import PASSWORD, USER

PATIENCE = 30.0  # seconds for one response: more is a hang
_NUMBERED = re.compile(rb"\* (\d+) (EXISTS|RECENT|EXPUNGE)\r\n")
_FETCH = re.compile(rb"\* (\d+) FETCH ")
_VANISHED = re.compile(rb"\* VANISHED (\(EARLIER\) )?([\d,:]+)\r\n")
_SEARCH = re.compile(rb"\* SEARCH((?: \d+)*)(?: \(MODSEQ \d+\))?\r\n")
_CODE = re.compile(rb"(?:\* |[a-z]\d+ )OK \[(UIDVALIDITY|UIDNEXT|HIGHESTMODSEQ) (\d+)\]")
_MAILBOX_ID = re.compile(rb"\* OK \[MAILBOXID \(([^)]+)\)\]")
_COPYUID = re.compile(rb"OK \[COPYUID (\d+) ([\d,:]+) ([\d,:]+)\]")
_APPENDUID = re.compile(rb"OK \[APPENDUID (\d+) ([\d,:]+)\]")
_MODIFIED = re.compile(rb"\[MODIFIED ([\d,:]+)\]")


class Cut(Exception):
    """The server ended the connection, as it may when the selected mailbox is deleted."""


@dataclass
class Kept:
    """What a client of QRESYNC remembers of a mailbox from one connection to the next."""

    name: str
    validity: int
    highest: int
    flags: dict[int, frozenset[str]]


class Client:
    """`kind` is plain, condstore or qresync; the model is None while no mailbox is selected."""

    sessions = 0

    def __init__(self, name: str, kind: str, truth: Truth, address: tuple[str, int]) -> None:
        self.name, self.kind, self.truth, self.address = name, kind, truth, address
        self.model: Model | None = None
        self.kept: dict[str, Kept] = {}
        self.selected_name = ""
        self.log: deque[str] = deque(maxlen=60)
        self.told_highest = False
        self.commands = 0
        self.connections = 0
        self._tag = 0
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._opening: Model | None = None

    # -- the connection

    @property
    def connected(self) -> bool:
        return self._writer is not None

    async def connect(self) -> None:
        host, port = self.address
        self._reader, self._writer = await asyncio.open_connection(host, port, limit=1 << 24)
        self.connections += 1
        Client.sessions += 1
        self.session = Client.sessions
        self.model = None
        assert (await self._read()).startswith(b"* OK ")
        assert b" OK " in await self.command(f"LOGIN {USER} {PASSWORD}".encode())
        if self.kind == "qresync":
            assert b" OK " in await self.command(b"ENABLE QRESYNC")

    async def hang_up(self) -> None:
        """Ends the connection without a word; what was learned is kept."""
        self.keep()
        self.model = None
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None
            self.log.append("-- hung up")

    def keep(self) -> None:
        """Remembers the mailbox, as a program with a cache on disk does."""
        model = self.model
        if model is None or self.kind != "qresync" or not model.validity:
            return
        if not model.complete() or not model.messages:
            self.kept.pop(self.selected_name, None)
            return
        flags = {one.uid: one.flags for one in model.messages if one.uid and one.flags is not None}
        self.kept[self.selected_name] = Kept(
            self.selected_name, model.validity, model.highest, flags
        )

    async def _read(self) -> bytes:
        assert self._reader is not None
        try:
            said = await asyncio.wait_for(read_response(self._reader), PATIENCE)
        except (ConnectionError, asyncio.IncompleteReadError):
            said = b""
        except TimeoutError:
            raise AssertionError(f"nothing was said for {PATIENCE} s") from None
        self.log.append("S: " + said[:300].decode("utf-8", "replace").rstrip())
        if not said or said.startswith(b"* BYE"):
            assert b"Something went wrong" not in said
            self.model = None
            if self._writer is not None:
                self._writer.transport.abort()
                self._writer = None
            raise Cut
        assert b"SERVERBUG" not in said, said
        return said

    def _send(self, octets: bytes) -> None:
        assert self._writer is not None
        assert self._reader is not None
        waiting = bytes(self._reader._buffer)  # type: ignore[attr-defined]
        assert not waiting or b"* BYE" in waiting, f"said between commands: {waiting[:200]!r}"
        self.log.append("C: " + octets[:200].decode("utf-8", "replace").rstrip())
        self._writer.write(octets)

    def next_tag(self) -> bytes:
        self._tag += 1
        self.commands += 1
        return b"t%d" % self._tag

    # -- commands

    async def command(
        self, text: bytes, *, moment: Moment | None = None, literal: bytes | None = None
    ) -> bytes:
        """Sends a command and gives its tagged answer; a literal is sent when it was invited."""
        return (await self.commands_at_once([text], moment, literal))[0]

    async def commands_at_once(
        self, texts: list[bytes], moment: Moment | None = None, literal: bytes | None = None
    ) -> list[bytes]:
        """Sends all before it reads; the answers come in order."""
        tags = [self.next_tag() for _ in texts]
        lines = [tag + b" " + text + b"\r\n" for tag, text in zip(tags, texts, strict=True)]
        self._send(b"".join(lines))
        answers = []
        for tag, text in zip(tags, texts, strict=True):
            now = moment or Moment(expunges=not text.startswith((b"FETCH", b"STORE", b"SEARCH")))
            while True:
                said = await self._read()
                if said.startswith(b"+"):
                    assert literal is not None, "a continuation that nobody asked for"
                    assert self._writer is not None
                    self._writer.write(literal + b"\r\n")
                    literal = None
                elif said.startswith(tag + b" "):
                    self._codes(said)
                    answers.append(said)
                    break
                else:
                    self.hear(said, now)
        if self.model is not None:
            self.model.check_order()
        return answers

    async def idle(self, seconds: float) -> None:
        """Listens for a while; everything may be told."""
        tag = self.next_tag()
        self._send(tag + b" IDLE\r\n")
        moment = Moment(expunges=True, idle=True)
        assert (await self._read()).startswith(b"+ ")
        until = asyncio.get_running_loop().time() + seconds
        reading = asyncio.create_task(self._read())
        try:
            while True:
                left = until - asyncio.get_running_loop().time()
                done, _ = await asyncio.wait([reading], timeout=max(0, left))
                if not done:
                    break
                self.hear(reading.result(), moment)
                reading = asyncio.create_task(self._read())
            assert self._writer is not None
            self._writer.write(b"DONE\r\n")
            self.log.append("C: DONE")
            while not (said := await reading).startswith(tag + b" "):
                self.hear(said, moment)
                reading = asyncio.create_task(self._read())
            assert b" OK " in said
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def select(self, name: str, *, read_only: bool = False, condstore: bool = False) -> None:
        """Selects; a client of QRESYNC says what it remembers, and has all again by that."""
        self.keep()
        knows = self.kind != "plain"
        kept = self.kept.get(name)
        model = Model(self.truth, self.session, knows, self.kind == "qresync")
        model.read_only = read_only
        self._opening = model
        parameters = b""
        if kept is not None:
            greatest = max(kept.flags)
            parameters = b" (QRESYNC (%d %d 1:%d))" % (
                kept.validity,
                max(1, kept.highest),
                greatest,
            )
        elif condstore:
            parameters = b" (CONDSTORE)"
        verb = b"EXAMINE " if read_only else b"SELECT "
        told = dict(self.truth.highest)
        said = await self.command(
            verb + name.encode() + parameters, moment=Moment(expunges=False, select=True)
        )
        self._opening = None
        if b" OK " not in said:
            assert self.model is None, "the old mailbox is still selected"
            self.kept.pop(name, None)
            return
        assert self.model is model, "nothing was said of the mailbox"
        assert (b"[READ-ONLY]" in said) == read_only
        assert model.uid_next > told.get(model.validity, 0), "UIDNEXT is below a uid that was told"
        self.selected_name = name
        if kept is not None and kept.validity == model.validity:
            self._recall(model, kept)

    def _recall(self, model: Model, kept: Kept) -> None:
        """Puts what was remembered at its places; the server said what is different."""
        still = sorted(set(kept.flags) - model.earlier)
        assert len(still) <= len(model.messages), "fewer messages than are remembered"
        for one, uid in zip(model.messages, still, strict=False):
            assert one.uid in (None, uid), f"uid {one.uid} stands where {uid} is remembered"
            one.uid = uid
            if one.flags is None:
                one.flags = kept.flags[uid]
        model.check_order()

    # -- hearing

    def hear(self, said: bytes, moment: Moment) -> None:
        if said.startswith(b"* OK [CLOSED]"):
            self.model = None
            return
        if self.model is None and moment.select:
            self.model = self._opening
        self._codes(said)
        model = self.model
        if match := _NUMBERED.fullmatch(said):
            assert model is not None, "no mailbox is selected"
            count = int(match[1])
            match match[2]:
                case b"EXISTS":
                    model.exists(count, moment)
                case b"RECENT":
                    model.recent(count)
                case _:
                    model.expunge(count, moment)
        elif match := _FETCH.match(said):
            assert model is not None, "no mailbox is selected"
            model.fetch(int(match[1]), said[match.end() :], moment)
        elif match := _VANISHED.fullmatch(said):
            assert model is not None, "no mailbox is selected"
            model.vanished(match[2], match[1] is not None, moment)
        elif match := _SEARCH.fullmatch(said):
            moment.searched = [int(number) for number in match[1].split()]
            assert moment.searched == sorted(set(moment.searched))
        else:
            assert said.startswith(
                (b"* OK ", b"* FLAGS ", b"* STATUS ", b"* LIST ", b"* CAPABILITY", b"* ENABLED")
            ), said

    def _codes(self, said: bytes) -> None:
        model = self.model
        if model is None:
            return
        if match := _MAILBOX_ID.match(said):
            model.mailbox_id = match[1].decode()
        elif match := _CODE.match(said):
            value = int(match[2])
            match match[1]:
                case b"UIDVALIDITY":
                    assert 1 <= value < 2**32
                    model.validity = value
                case b"UIDNEXT":
                    model.uid_next = value
                case _:
                    model.told_highest(value)
                    self.told_highest = True

    # -- what the answers say

    async def append(self, mailbox: str, raw: bytes, flags: str, invited: bool) -> bytes:
        told = dict(self.truth.highest)
        head = f"APPEND {mailbox} ({flags}) ".encode()
        if invited:
            said = await self.command(head + b"{%d}" % len(raw), literal=raw)
        else:
            said = await self.command(head + b"{%d+}\r\n" % len(raw) + raw)
        if match := _APPENDUID.search(said):
            validity, uid = int(match[1]), int(match[2])
            self.truth.was_placed(validity, uid, told.get(validity, 0))
            self.truth.saw_content(validity, uid, raw)
        else:
            assert b" NO [TRYCREATE]" in said, said
        return said

    async def transfer(self, verb: str, numbers: str, target: str, by_uid: bool) -> None:
        """COPY or MOVE; the uids of the answer are believed by everyone from now on."""
        model = self.model
        assert model is not None
        told = dict(self.truth.highest)
        before, whole = set(model.known()), all(one.uid is not None for one in model.messages)
        here = model.validity
        text = f"{'UID ' if by_uid else ''}{verb} {numbers} {target}".encode()
        untagged: list[bytes] = []
        heard = self.hear

        def hear(said: bytes, moment: Moment) -> None:
            untagged.append(said)
            heard(said, moment)

        self.hear = hear  # type: ignore[method-assign]
        try:
            said = await self.command(text)
        finally:
            del self.hear
        match = _COPYUID.search(b"".join([*untagged, said]) if verb == "MOVE" else said)
        if match is None:
            assert b" NO [" in said or b"nothing" in said, said
            return
        validity = int(match[1])
        source, goal = numbers_in(match[2]), numbers_in(match[3])
        assert len(source) == len(goal), "COPYUID with other counts"
        if whole:
            assert set(source) <= before, "COPYUID names what was not asked for"
        for old, new in zip(source, goal, strict=True):
            self.truth.was_placed(validity, new, told.get(validity, 0))
            self.truth.was_copied((here, old), (validity, new))
        if verb == "MOVE":
            assert b" OK " in said, said
            left = set(source) & set(model.known())
            assert not left, f"moved, and still there: {left}"

    async def store(
        self, numbers: list[int], by_uid: bool, op: str, silent: bool, flags: set[str], since: int
    ) -> None:
        """STORE, judged by RFC 3501 6.4.6 and RFC 7162 3.1.3; a silent one is carried out in the model."""
        model = self.model
        assert model is not None
        chosen = {
            one.uid: one
            for place, one in enumerate(model.messages, 1)
            if (one.uid if by_uid else place) in numbers and one.uid is not None
        }
        modifier = f"(UNCHANGEDSINCE {since}) " if since else ""
        text = (
            f"{'UID ' if by_uid else ''}STORE {','.join(map(str, numbers))} {modifier}"
            f"{op}FLAGS{'.SILENT' if silent else ''} ({' '.join(sorted(flags))})"
        ).encode()
        moment = Moment(expunges=by_uid)
        said = await self.command(text, moment=moment)
        assert b" OK " in said or b"[EXPUNGEISSUED]" in said or b"[MODIFIED" in said, said
        modified = numbers_in(found[1]) if (found := _MODIFIED.search(said)) else []
        for uid, one in chosen.items():
            if (uid if by_uid else numbers_of(model, uid)) in modified or one.flags is None:
                continue
            heard = moment.flagged.get(uid)
            if heard is None and silent:
                had = one.flags - {RECENT}
                one.flags = {"": flags, "+": had | flags, "-": had - flags}[op] | (
                    one.flags & {RECENT}
                )
            elif heard is None:
                # its message is gone: by number the command ends with NO, by uid it was told so
                gone = model.find(uid) is None if by_uid else b" NO " in said
                assert gone, f"STORE said nothing of uid {uid}"

    async def noop(self) -> None:
        assert b" OK " in await self.command(b"NOOP")


def numbers_of(model: Model, uid: int) -> int:
    """The place of a uid, 0 when it is not there."""
    return next((place for place, one in enumerate(model.messages, 1) if one.uid == uid), 0)
