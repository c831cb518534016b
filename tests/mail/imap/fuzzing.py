"""Fuzzing of the grammar and of whole sessions; the seeds are the client lines of all transcripts in this folder.

Nothing may raise, answer SERVERBUG, hang, or hold more than the limits allow; and how a stream of octets was cut into
pieces on its way may change nothing.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
import tracemalloc
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from leap.mail.imap.wire.errors import ImapSyntaxError
from leap.mail.imap.wire.framing import CommandReader, RawCommand
from leap.mail.imap.wire.limits import DEFAULT_LIMITS
from leap.mail.imap.wire.parsing import parse_command
from leap.mail.memory import MemoryAccount
from tests.mail.imap.talk import PASSWORD, USER, Talk, fill, mail

PATIENCE = 20.0  # seconds for one stream: more is a hang
LIMITS = replace(
    DEFAULT_LIMITS, line=4_096, literal=1_024, message=20_000, messages_together=30_000
)
MOST_HELD = LIMITS.line + LIMITS.messages_together + LIMITS.literals_together + 65_536
_CLIENT_LINE = re.compile(r"^\s*C\d?: (.+)$", re.MULTILINE)
_PIECES = (
    b" ", b"(", b")", b'"', b"{", b"}", b"{3}\r\n", b"{3+}\r\nabc", b"{99999999999}\r\n", b"{20001+}\r\n",
    b"~{2+}\r\n\x00\x01",
    b"\r\n", b"\n", b"\r", b"\x00", b"\xff\xfe", b"*", b"%", b"\\", b"[", b"]", b"<0.0>", b"<4294967295.1>", b"1:*",
    b"4294967295", b"4294967296", b"18446744073709551616", b"0", b"$", b"*:*", b"1:4294967295", b",", b"NIL", b"&AAA-",
    b"&", b"NOT NOT OR ", b"(((((((((((((((((((", b"x" * 300, b"1," * 400, b"BODY[1.2.3.4.MIME]", b"+", b"\\Seen",
    b"RETURN (SAVE)", b"CHARSET UTF-8 ", b"UID ", b"DONE\r\n", b"=",
)  # fmt: skip


@lru_cache(maxsize=1)
def seeds() -> list[bytes]:
    """The commands of all transcripts, without their tags."""
    found: set[bytes] = set()
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        for line in _CLIENT_LINE.findall(path.read_text()):
            _, _, command = line.replace("\\\\", "\\").partition(" ")
            if command and "{" not in line.partition(" ")[0]:
                found.add(command.encode())
    commands = sorted(found)
    assert len(commands) > 250, "the transcripts are not where they were"
    return commands


def mutated(command: bytes, chance: random.Random) -> bytes:
    """The command with a few things wrong; now and then with none."""
    made = bytearray(command)
    for _ in range(chance.choice((0, 1, 1, 2, 4))):
        at = chance.randrange(len(made) + 1)
        match chance.randrange(6):
            case 0:
                made[at:at] = chance.choice(_PIECES)
            case 1:
                del made[at : at + chance.choice((1, 1, 4))]
            case 2:
                made[at : at + 1] = bytes([chance.randrange(256)])
            case 3:
                other = chance.choice(seeds())
                made[at:] = other[chance.randrange(len(other)) :]
            case 4:
                made[at:at] = made[at : at + chance.randrange(30)]
            case _:
                words = bytes(made).split(b" ")
                words[chance.randrange(len(words))] = chance.choice(_PIECES)
                made[:] = b" ".join(words)
    return bytes(made)


@dataclass
class Fuzzed:
    streams: int = 0
    commands: int = 0
    parsed: int = 0
    octets: int = 0
    slowest: float = 0.0
    held: int = 0
    grown: int = 0


def fuzz_grammar(count: int, seed: int) -> Fuzzed:
    """Parses `count` mutated commands; only ImapSyntaxError may come of it."""
    chance, report = random.Random(seed), Fuzzed()
    for _ in range(count):
        text = b"t " + mutated(chance.choice(seeds()), chance)
        literals = tuple(
            chance.choice((b"", b"abc", b"\x00\xff\r\n" * 9)) for _ in range(chance.randrange(4))
        )
        began = time.perf_counter()
        try:
            parse_command(RawCommand(text, literals))
        except ImapSyntaxError:
            pass
        except Exception as error:
            raise AssertionError(f"seed {seed}: {text!r} with {literals}") from error
        else:
            report.parsed += 1
        report.slowest = max(report.slowest, time.perf_counter() - began)
        report.commands += 1
    return report


def make_stream(chance: random.Random) -> bytes:
    """What a client gone mad might send in one connection."""
    lines = []
    if chance.random() < 0.85:
        lines.append(f"a LOGIN {USER} {PASSWORD}".encode())
        lines.append(
            chance.choice((b"b SELECT INBOX", b"b EXAMINE INBOX", b"b ENABLE QRESYNC", b"b NOOP"))
        )
    for number in range(chance.randrange(1, 25)):
        lines.append(b"t%d " % number + mutated(chance.choice(seeds()), chance))
        if chance.random() < 0.1:
            lines.append(b"DONE")
    stream = b"\r\n".join(lines) + b"\r\n"
    return stream[: chance.randrange(len(stream))] if chance.random() < 0.2 else stream


def pieces_of(stream: bytes, chance: random.Random) -> list[bytes]:
    cuts = sorted(chance.randrange(len(stream) + 1) for _ in range(chance.choice((0, 1, 5, 40))))
    return [stream[low:high] for low, high in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


async def play_stream(pieces: list[bytes]) -> tuple[bytes, int]:
    """Everything a new session on a new account says to these octets, and the most it held."""
    account = MemoryAccount(now=lambda: 1_800_000_000)
    await fill(account, [mail(), mail("Two", "x\r\n" * 200), b"\x00\r", b""])
    talk = Talk(account, limits=LIMITS)
    said, held = bytearray(), 0
    try:
        for piece in pieces:
            said += await talk.send(piece)
            held = max(held, talk.reader.held)
        assert b"SERVERBUG" not in said
        if not talk.session.ended:
            said += await _still_answers(talk)
    finally:
        await talk.end()
        await account.close()
    return bytes(said), held


async def _still_answers(talk: Talk) -> bytes:
    """Whatever the session waits for is given; then it must answer, or have ended."""
    said = bytearray()
    for _ in range(LIMITS.literal_count):
        if talk.session.ended:
            return bytes(said)
        said += await talk.send(b"x" * min(talk.reader._wanted, 1 << 16) or b"\r\nzz NOOP\r\n")
        if b"zz OK" in said[-200:]:
            return bytes(said)
        if (
            talk.reader._wanted > 1 << 24
        ):  # it was refused, and is dropped as it comes: for ever, nearly
            return bytes(said)
    raise AssertionError("the session answers no more")


def fuzz_sessions(count: int, seed: int) -> Fuzzed:
    """Plays `count` streams whole and in pieces."""
    chance, report = random.Random(seed), Fuzzed()
    tracemalloc.start()
    try:
        asyncio.run(play_stream([b"a NOOP\r\n"]))
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(count):
            stream = make_stream(chance)
            cut = pieces_of(stream, chance)
            began = time.perf_counter()
            try:
                whole, held = _run([stream])
                in_pieces, held_in_pieces = _run(cut)
            except Exception as error:
                raise AssertionError(f"seed {seed}: {stream!r}") from error
            report.slowest = max(report.slowest, time.perf_counter() - began)
            assert whole == in_pieces, (
                f"seed {seed}: the cuts of {[len(piece) for piece in cut]} matter: {stream!r}"
            )
            report.held = max(report.held, held, held_in_pieces)
            assert report.held < MOST_HELD + len(stream), (
                f"seed {seed}: {report.held} octets held: {stream!r}"
            )
            report.streams += 1
            report.octets += len(stream)
        after, peak = tracemalloc.get_traced_memory()
        report.grown = after - before
        assert peak - before < 64 << 20, f"seed {seed}: {peak - before} octets of memory at once"
        assert report.grown < 8 << 20, f"seed {seed}: memory grew by {report.grown}"
    finally:
        tracemalloc.stop()
    return report


def _run(pieces: list[bytes]) -> tuple[bytes, int]:
    return asyncio.run(asyncio.wait_for(play_stream(pieces), PATIENCE))


def fuzz_framing(count: int, seed: int) -> int:
    """Feeds random streams to the framing alone, before and after the log-in; answers the most octets it held."""
    chance, most = random.Random(seed), 0
    for turn in range(count):
        reader = CommandReader(LIMITS)
        reader.authenticated = bool(turn % 2)
        for piece in pieces_of(make_stream(chance), chance):
            reader.feed(piece)
            while reader.next_command() is not None:
                pass
            most = max(most, reader.held)
    return most
