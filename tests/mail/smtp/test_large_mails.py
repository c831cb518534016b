"""Large mails on real sockets: they wait in a sealed file, not in memory, and what cannot be kept is refused."""

from __future__ import annotations

import asyncio
import errno
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from leap.mail.smtp import Limits
from leap.soledad import sealed_file
from tests.mail.smtp.conversation import DecidingHandler, config
from tests.mail.smtp.test_transport import serving, talk

MEGABYTE = 1024 * 1024
LINE = b"0123456789" * 7 + b"\r\n"
LARGE = config(max_size=60 * MEGABYTE)
BEGIN = b"EHLO c\r\nMAIL FROM:<a@x.test>\r\nRCPT TO:<b@x.test>\r\n"

_SERVER = """
import asyncio, sys
from leap.mail.smtp import Reply, SmtpConfig, serve_smtp

class Handler:
    async def sender(self, session, address, params): return None
    async def recipient(self, session, address): return None
    async def message(self, session, envelope, raw): return Reply(250, "2.0.0", str(len(raw)))

async def main():
    server = await serve_smtp(Handler, SmtpConfig("mx.test", 60 * 1024 * 1024))
    print(server.address[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await server.close()

asyncio.run(main())
"""


def resident(pid: int, name: str = "VmRSS") -> int:
    """Octets."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition(f"{name}:")[2].split()[0]) * 1024


async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *pieces: bytes) -> bytes:
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    while True:
        line = await reader.readline()
        if line[3:4] != b"-":
            return line


async def test_mails_of_50_megabytes_do_not_lie_in_memory_while_they_come() -> None:
    body = LINE * (50 * MEGABYTE // len(LINE))
    pipe = asyncio.subprocess.PIPE
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _SERVER, stdin=pipe, stdout=pipe
    )
    try:
        assert server.stdout is not None
        port = int(await server.stdout.readline())
        connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
        for one in connections:
            assert (await say(*one)).startswith(b"220")
            for command in (b"EHLO c\r\n", b"MAIL FROM:<a@x.test>\r\n", b"RCPT TO:<b@x.test>\r\n"):
                assert (await say(*one, command)).startswith(b"250")
        before = resident(server.pid)
        chunk = b"BDAT %d\r\n" % len(body)
        for one in connections:
            assert (await say(*one, chunk, body)).startswith(b"250")
        grown = resident(server.pid) - before
        assert grown < 32 * MEGABYTE, f"4 mails of 50 MB have come, and memory grew by {grown}"
        for one in connections:
            said = await say(*one, b"BDAT 0 LAST\r\n")
            assert said == b"250 2.0.0 %d\r\n" % len(body)
            one[1].close()
        most = resident(server.pid, "VmHWM") - before
        assert most < 160 * MEGABYTE, f"at most two are whole in memory, and it grew by {most}"
    finally:
        await server.communicate(b"")


@pytest.mark.parametrize("how", ["DATA", "BDAT"])
async def test_a_large_mail_comes_whole_out_of_its_file(tmp_path: Path, how: str) -> None:
    body = b"".join(b"%08d\r\n" % number for number in range(400_000))
    async with serving(replace(LARGE, spool_folder=tmp_path)) as (server, handler):
        if how == "DATA":
            said = await talk(server, BEGIN + b"DATA\r\n", body, b".\r\n")
        else:
            half = len(body) // 2 + 3
            first, second = body[:half], body[half:]
            said = await talk(
                server,
                BEGIN + b"BDAT %d\r\n" % half + first,
                b"BDAT %d LAST\r\n" % len(second) + second,
            )
    assert said.endswith(b"250 2.0.0 Kept.\r\n")
    assert handler.mails[0][2] == body
    assert list(tmp_path.iterdir()) == []


async def test_a_full_disk_refuses_the_mail_and_the_conversation_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(file: int, data: object, at: int) -> int:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(sealed_file.os, "pwrite", full)
    async with serving(LARGE) as (server, handler):
        large = LINE * (4 * MEGABYTE // len(LINE))
        said = await talk(
            server, BEGIN + b"DATA\r\n", large, b".\r\n", BEGIN[8:] + b"DATA\r\nhi\r\n.\r\n"
        )
    assert b"\r\n452 4.3.1 Too much mail is under way here; try again later.\r\n" in said
    assert [mail[2] for mail in handler.mails] == [b"hi\r\n"]


async def test_a_damaged_file_is_a_4xx(monkeypatch: pytest.MonkeyPatch) -> None:
    written = os.pwrite

    def damage(file: int, data: memoryview, at: int) -> int:
        return written(file, bytes([data[0] ^ 1]) + bytes(data[1:]), at)

    monkeypatch.setattr(sealed_file.os, "pwrite", damage)
    async with serving(LARGE) as (server, handler):
        large = LINE * (4 * MEGABYTE // len(LINE))
        said = await talk(server, BEGIN + b"DATA\r\n", large, b".\r\n")
    assert said.endswith(b"451 4.3.0 Something failed here; try again later.\r\n")
    assert handler.mails == []


async def test_files_have_a_limit_together() -> None:
    limits = Limits(spool=2 * MEGABYTE)
    async with serving(replace(LARGE, limits=limits)) as (server, _):
        assert isinstance(server.address, tuple)
        first = await asyncio.open_connection(*server.address)
        await say(*first)
        for command in (b"EHLO c\r\n", b"MAIL FROM:<a@x.test>\r\n", b"RCPT TO:<b@x.test>\r\n"):
            await say(*first, command)
        large = LINE * (4 * MEGABYTE // len(LINE))
        assert (await say(*first, b"BDAT %d\r\n" % len(large), large)).startswith(b"250")
        said = await talk(server, BEGIN + b"DATA\r\n")
        assert said.endswith(b"452 4.3.1 Too much mail is under way here; try again later.\r\n")
        assert (await say(*first, b"RSET\r\n")).startswith(b"250")
        said = await talk(server, BEGIN + b"DATA\r\nhi\r\n.\r\n")
        assert said.endswith(b"250 2.0.0 Kept.\r\n")
        first[1].close()


async def test_only_so_many_large_mails_are_whole_in_memory_at_once() -> None:
    together = most = 0
    first_two = asyncio.Event()

    class Counting(DecidingHandler):
        async def message(self, session, envelope, raw):  # type: ignore[no-untyped-def]
            nonlocal together, most
            together += 1
            most = max(most, together)
            if together == 2:
                first_two.set()
            await first_two.wait()
            together -= 1
            return await super().message(session, envelope, raw)

    large = LINE * (3 * MEGABYTE // len(LINE))
    async with serving(LARGE, Counting()) as (server, handler):
        async with asyncio.timeout(20):
            await asyncio.gather(
                *(talk(server, BEGIN + b"DATA\r\n", large, b".\r\n") for _ in range(5)),
            )
    assert len(handler.mails) == 5
    assert most == 2


async def test_a_client_that_trickles_chunks_is_cut_off() -> None:
    timeouts = replace(LARGE.timeouts, command=30, data=0.2, data_rate=1_000_000)
    async with serving(replace(LARGE, timeouts=timeouts)) as (server, handler):
        assert isinstance(server.address, tuple)
        reader, writer = await asyncio.open_connection(*server.address)
        await say(reader, writer)
        for command in (b"EHLO c\r\n", b"MAIL FROM:<a@x.test>\r\n", b"RCPT TO:<b@x.test>\r\n"):
            await say(reader, writer, command)
        async with asyncio.timeout(10):
            while (said := await say(reader, writer, b"BDAT 2\r\nhi")).startswith(b"250"):
                pass
        assert said.startswith(b"421 4.4.2")
        writer.close()
    assert handler.mails == []


async def test_a_silent_client_between_two_chunks_is_cut_off() -> None:
    timeouts = replace(LARGE.timeouts, command=30, data=0.2)
    async with serving(replace(LARGE, timeouts=timeouts)) as (server, _):
        assert isinstance(server.address, tuple)
        reader, writer = await asyncio.open_connection(*server.address)
        writer.write(BEGIN + b"BDAT 2\r\nhi")
        async with asyncio.timeout(10):
            assert (await reader.read()).endswith(
                b"421 4.4.2 Nothing came for too long; the connection is closed.\r\n"
            )
        writer.close()
